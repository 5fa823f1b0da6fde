"""The joint CTC/attention loss, utterance by utterance."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconformer.data.pipeline import IGNORE
from hyperconformer.models.asr import Outputs
from hyperconformer.training.ctc import ctc_loss


@dataclass(frozen=True)
class Loss:
    """The loss and its two parts, each of shape (B,): sums over an utterance's tokens, in nats.

    Attributes
    ----------
    ctc_b, attention_b : Tensor
    ctc_weight : float

    Examples
    --------
    >>> Loss(torch.tensor([1.0]), torch.tensor([2.0]), ctc_weight=0.3).mean.item()
    1.7000000476837158
    """

    ctc_b: Tensor
    attention_b: Tensor
    ctc_weight: float

    @property
    def total_b(self) -> Tensor:
        """The weighted sum, (B,)."""
        return self.ctc_weight * self.ctc_b + (1 - self.ctc_weight) * self.attention_b

    @property
    def parts(self) -> dict[str, Tensor]:
        """Both, by name."""
        return {"ctc": self.ctc_b, "attention": self.attention_b}

    @property
    def mean(self) -> Tensor:
        """Its mean over utterances: the scalar to minimise."""
        return self.total_b.mean()


def ctc_frames_needed(tokens: list[int]) -> int:
    """Fewest frames in which CTC can emit a token sequence: one a token and a blank between equal neighbours.

    Parameters
    ----------
    tokens : list of int

    Returns
    -------
    int

    References
    ----------
    Graves et al., Connectionist temporal classification, ICML 2006.

    Examples
    --------
    >>> ctc_frames_needed([7, 7, 8])
    4
    """
    return len(tokens) + sum(a == b for a, b in itertools.pairwise(tokens))


def joint_loss(
    outputs: Outputs,
    tokens_bl: Tensor,
    token_lengths_b: Tensor,
    target_bl: Tensor,
    *,
    ctc_weight: float,
    label_smoothing: float = 0.0,
) -> Loss:
    """CTC and attention losses of a batch, in float32 or better.

    Parameters
    ----------
    outputs : Outputs
        Logits of both heads.
    tokens_bl : Tensor, shape (B, L), long
        Reference tokens.
    token_lengths_b : Tensor, shape (B,), long
        Their number; where there are too few frames for CTC, its loss is zero (training leaves those out).
    target_bl : Tensor, shape (B, L + 1), long
        The decoder's targets: the reference, the end symbol, then ``IGNORE``.
    ctc_weight : float
        Share of CTC in the total.
    label_smoothing : float
        Of the attention loss.

    Returns
    -------
    Loss

    References
    ----------
    Watanabe et al., Hybrid CTC/attention architecture for end-to-end speech recognition, 2017.

    Examples
    --------
    >>> outputs = Outputs(torch.zeros(1, 9, 5), torch.zeros(1, 3, 5), torch.tensor([9]))
    >>> tokens = torch.tensor([[3, 4]])
    >>> loss = joint_loss(outputs, tokens, torch.tensor([2]), torch.tensor([[3, 4, 2]]), ctc_weight=0.3)
    >>> round(loss.attention_b.item(), 3)  # three times log 5
    4.828
    """
    ctc_b = ctc_loss(outputs.ctc_btv, tokens_bl, outputs.lengths_b, token_lengths_b)
    dtype = torch.promote_types(outputs.attention_blv.dtype, torch.float32)
    attention_bl = F.cross_entropy(
        outputs.attention_blv.to(dtype).transpose(1, 2),
        target_bl,
        ignore_index=IGNORE,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return Loss(ctc_b, attention_bl.sum(dim=1), ctc_weight)
