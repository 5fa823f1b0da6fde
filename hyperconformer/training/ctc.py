"""The CTC loss of logits, without a copy of them: what backward needs is computed from them anew."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconformer.constants import BLANK

# Logits that are in float32 at a time: on a CPU what stays in its cache, elsewhere enough to fill the device.
CPU_PIECE, DEVICE_PIECE = 1 << 18, 1 << 24


def ctc_loss(logits_btv: Tensor, tokens_bl: Tensor, lengths_b: Tensor, token_lengths_b: Tensor) -> Tensor:
    """Negative log-likelihood of each utterance's tokens in nats, keeping little but the logits for backward.

    An utterance's paths touch only the blank and its own tokens, so the recursion runs over the log-probs of
    these columns; all others enter by their sum alone, and their gradient is the softmax. Equal to
    :func:`plain_ctc_loss` in value and gradient, also for logits of minus infinity, where that one's
    gradient is not a number.

    Parameters
    ----------
    logits_btv : Tensor, shape (B, T, V), any float type
        Half precision is summed in float32, a piece at a time.
    tokens_bl : Tensor, shape (B, L), long
        References without blanks; what stands beyond a reference's end is not read.
    lengths_b : Tensor, shape (B,), long
        Frames.
    token_lengths_b : Tensor, shape (B,), long

    Returns
    -------
    Tensor, shape (B,), float32 or better
        Zero, with a gradient of zero, where no path of that many frames has these tokens.

    References
    ----------
    Graves et al., Connectionist temporal classification, ICML 2006: the gradient for the logits (equation 16)
    is the softmax minus the posterior of each label.

    Examples
    --------
    >>> logits = torch.zeros(1, 2, 4, requires_grad=True)
    >>> loss = ctc_loss(logits, torch.tensor([[3]]), torch.tensor([2]), torch.tensor([1]))
    >>> loss  # three paths of sixteen: (3, 3), (3, blank) and (blank, 3)
    tensor([1.6740], grad_fn=<_CTCLossBackward>)
    >>> torch.autograd.grad(loss.sum(), logits)[0][0, 0]  # 1/4, less 1/3 for the blank and 2/3 for token 3
    tensor([-0.0833,  0.2500,  0.2500, -0.4167])
    """
    # A compiler weighs by itself what to keep, and cannot look into a backward written by hand.
    learns = torch.is_grad_enabled() and logits_btv.requires_grad
    if not learns or torch.compiler.is_compiling():
        return plain_ctc_loss(logits_btv, tokens_bl, lengths_b, token_lengths_b)
    loss_b: Tensor = _CTCLoss.apply(logits_btv, tokens_bl, lengths_b, token_lengths_b)
    return loss_b


def plain_ctc_loss(
    logits_btv: Tensor, tokens_bl: Tensor, lengths_b: Tensor, token_lengths_b: Tensor
) -> Tensor:
    """What :func:`ctc_loss` computes, by PyTorch's own means: the slow truth.

    Parameters
    ----------
    logits_btv : Tensor, shape (B, T, V)
    tokens_bl : Tensor, shape (B, L), long
    lengths_b, token_lengths_b : Tensor, shape (B,), long

    Returns
    -------
    Tensor, shape (B,), float32 or better

    Examples
    --------
    >>> plain_ctc_loss(torch.zeros(1, 2, 4), torch.tensor([[3]]), torch.tensor([2]), torch.tensor([1]))
    tensor([1.6740])
    """
    return F.ctc_loss(
        logits_btv.to(_wide(logits_btv)).log_softmax(dim=-1).transpose(0, 1),
        tokens_bl,
        lengths_b,
        token_lengths_b,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _rows(x_btv: Tensor) -> int:
    """Frames that make a piece."""
    piece = CPU_PIECE if x_btv.device.type == "cpu" else DEVICE_PIECE
    return max(1, piece // x_btv.shape[2])


def _alphabets(tokens_bl: Tensor, token_lengths_b: Tensor) -> tuple[Tensor, Tensor]:
    """Each utterance's own labels, (B, L + 1), the blank first; and where each of them stands first in it."""
    inside_bl = torch.arange(tokens_bl.shape[1], device=tokens_bl.device) < token_lengths_b[:, None]
    labels_bc = F.pad(torch.where(inside_bl, tokens_bl, BLANK), (1, 0), value=BLANK)
    first_bc = (labels_bc[:, :, None] == labels_bc[:, None, :]).byte().argmax(dim=2)
    return labels_bc, first_bc


class _CTCLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits_btv: Tensor, tokens_bl: Tensor, lengths_b: Tensor, token_lengths_b: Tensor
    ) -> Tensor:
        device, frames, dtype = logits_btv.device, logits_btv.shape[1], _wide(logits_btv)
        pieces = logits_btv.flatten(0, 1).split(_rows(logits_btv))
        sum_bt = torch.cat([x.to(dtype).logsumexp(dim=1) for x in pieces]).view(logits_btv.shape[:2])
        labels_bc, first_bc = _alphabets(tokens_bl, token_lengths_b.to(tokens_bl.device))
        labels_btc, first_btc = (x_bc[:, None].expand(-1, frames, -1) for x_bc in (labels_bc, first_bc))
        log_probs_btc = logits_btv.gather(2, labels_btc).to(dtype) - sum_bt[:, :, None]
        with torch.enable_grad():
            loss_b = F.ctc_loss(
                log_probs_btc.requires_grad_().transpose(0, 1),
                first_bc[:, 1:],
                lengths_b,
                token_lengths_b,
                blank=0,
                reduction="none",
            )
        # What PyTorch calls the gradient for log-probs is softmax minus posterior: already that for logits.
        (slope_btc,) = torch.autograd.grad(loss_b, log_probs_btc, torch.ones_like(loss_b))
        loss_b, log_probs_btc = loss_b.detach(), log_probs_btc.detach()
        lost_b = loss_b == torch.inf
        inside_bt = torch.arange(frames, device=device) < lengths_b.to(device)[:, None]
        silent_bt = lost_b[:, None] | ~inside_bt
        # A label of probability zero has slope zero, but comes as infinity minus infinity.
        slope_btc = slope_btc.masked_fill(silent_bt[:, :, None] | (log_probs_btc == -torch.inf), 0)
        # Equal labels get equal slopes, so that it does not matter which of them is written last. Where
        # nothing is to be learnt, a sum of infinity makes every softmax zero.
        ctx.save_for_backward(
            logits_btv, sum_bt.masked_fill_(silent_bt, torch.inf), slope_btc.gather(2, first_btc), labels_bc
        )
        return loss_b.masked_fill(lost_b, 0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_b: Tensor) -> tuple[Tensor, None, None, None]:
        logits_btv, sum_bt, slope_btc, labels_bc = ctx.saved_tensors
        grad_btv = logits_btv.new_empty(logits_btv.shape)
        grad_btc = grad_b[:, None, None].expand_as(slope_btc)
        frames = grad_btv, logits_btv, sum_bt[:, :, None], grad_btc[:, :, :1]
        for grad_nv, x_nv, sum_n1, grad_n1 in zip(
            *(x.flatten(0, 1).split(_rows(logits_btv)) for x in frames), strict=True
        ):
            grad_nv.copy_((x_nv - sum_n1).exp_().mul_(grad_n1))
        labels_btc = labels_bc[:, None].expand_as(slope_btc)
        grad_btv.scatter_(2, labels_btc, (slope_btc * grad_btc).to(grad_btv.dtype))
        return grad_btv, None, None, None
