"""The joint CTC/attention loss, utterance by utterance."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconformer.data.pipeline import IGNORE
from hyperconformer.models.asr import Outputs
from hyperconformer.training.ctc import ctc_loss
from hyperconformer.training.views import consistency, in_views


@dataclass(frozen=True)
class Loss:
    """The loss of each utterance and what it is the weighted sum of, in nats an utterance.

    Attributes
    ----------
    total_b : Tensor, shape (B,), float32 or better
    parts : dict of str to Tensor, each of shape (B,)
        Before their weights: ``ctc``, ``attention`` and, where they are in use, ``inter_ctc`` (mean over
        layers) and ``cr_ctc``. Where an utterance is seen in two views, each is the mean of both.

    Examples
    --------
    >>> Loss(torch.tensor([1.0, 2.0]), {}).mean
    tensor(1.5000)
    """

    total_b: Tensor
    parts: dict[str, Tensor]

    @property
    def mean(self) -> Tensor:
        """The mean over utterances: the scalar to minimise."""
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
    inter_ctc_weight: float = 0.0,
    cr_ctc_weight: float = 0.0,
) -> Loss:
    """The loss of each utterance of a batch, in float32 or better.

    It is ``ctc_weight`` CTC + (1 - ``ctc_weight``) attention. Where there are layers on the way, CTC is
    (1 - ``inter_ctc_weight``) of the last layer + ``inter_ctc_weight`` of these; where there are two views,
    ``cr_ctc_weight`` of their consistency is added to it. Validation has neither.

    Parameters
    ----------
    outputs : Outputs
        Logits of both heads, of B utterances in V views: V B rows, view after view.
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
    inter_ctc_weight : float
        Share in CTC of the layers on the way, if ``outputs`` has any.
    cr_ctc_weight : float
        Of the consistency of two views, if ``outputs`` has two.

    Returns
    -------
    Loss

    References
    ----------
    Watanabe et al., Hybrid CTC/attention architecture for end-to-end speech recognition, 2017; Lee and
    Watanabe, Intermediate loss regularization, arXiv 2102.03216; Yao et al., CR-CTC, arXiv 2410.05101.

    Examples
    --------
    >>> outputs = Outputs(torch.zeros(1, 9, 5), torch.zeros(1, 3, 5), torch.tensor([9]))
    >>> tokens = torch.tensor([[3, 4]])
    >>> loss = joint_loss(outputs, tokens, torch.tensor([2]), torch.tensor([[3, 4, 2]]), ctc_weight=0.3)
    >>> round(loss.parts["attention"].item(), 3)  # three times log 5
    4.828
    """
    parts = _parts(outputs, tokens_bl, token_lengths_b, target_bl, label_smoothing)
    ctc_b = parts["ctc"]
    if "inter_ctc" in parts:
        ctc_b = torch.lerp(ctc_b, parts["inter_ctc"], inter_ctc_weight)
    if "cr_ctc" in parts:
        ctc_b = ctc_b + cr_ctc_weight * parts["cr_ctc"]
    return Loss(ctc_weight * ctc_b + (1 - ctc_weight) * parts["attention"], parts)


def _parts(
    outputs: Outputs, tokens_bl: Tensor, token_lengths_b: Tensor, target_bl: Tensor, label_smoothing: float
) -> dict[str, Tensor]:
    views = len(outputs.ctc_btv) // len(tokens_bl)
    tokens_nl, token_lengths_n = in_views(tokens_bl, views), in_views(token_lengths_b, views)
    attention_n = _attention_loss(outputs.attention_blv, in_views(target_bl, views), label_smoothing)

    def mean(loss_n: Tensor) -> Tensor:
        return loss_n.unflatten(0, (views, -1)).mean(dim=0)

    def ctc(logits_ntv: Tensor) -> Tensor:
        return mean(ctc_loss(logits_ntv, tokens_nl, outputs.lengths_b, token_lengths_n))

    parts = {"ctc": ctc(outputs.ctc_btv), "attention": mean(attention_n)}
    if outputs.inter_ctc:
        parts["inter_ctc"] = torch.stack([ctc(logits_ntv) for logits_ntv in outputs.inter_ctc]).mean(dim=0)
    if views == 2:
        parts["cr_ctc"] = consistency(outputs.ctc_btv, outputs.lengths_b)
    return parts


def _attention_loss(logits_nlv: Tensor, target_nl: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy summed over tokens, (N,)."""
    dtype = torch.promote_types(logits_nlv.dtype, torch.float32)
    loss_nl = F.cross_entropy(
        logits_nlv.to(dtype).transpose(1, 2),
        target_nl,
        ignore_index=IGNORE,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return loss_nl.sum(dim=1)
