"""CTC greedy decoding from encoder output, without the log-probabilities that it does not need."""

import torch
from torch import Tensor, nn

from hyperconformer.constants import BLANK
from hyperconformer.decoding.greedy import collapse
from hyperconformer.nn.masks import padding_mask
from hyperconformer.types import Hypothesis

CPU_ROWS = 64
"""Frames whose logits stay in the cache of a CPU's core while they are looked through."""
GPU_ROWS = 2**16


@torch.no_grad()
def greedy_search(head: nn.Module, memory_btd: Tensor, lengths_b: Tensor) -> list[Hypothesis]:
    """Follow the most probable path from encoder output, without all log-probabilities of all frames.

    Padding is not looked at, and of each frame's logits only the greatest and their sum is kept.

    Parameters
    ----------
    head : Module
        Frames (N, D) to logits (N, V).
    memory_btd : Tensor, shape (B, T, D)
        Encoder output.
    lengths_b : Tensor, shape (B,), long
        Its valid frames.

    Returns
    -------
    list of Hypothesis
        As :func:`ctc_greedy` gives them.

    Examples
    --------
    >>> memory_btd = torch.eye(5)[torch.tensor([[0, 3, 3, 0, 3, 4]])]
    >>> greedy_search(nn.Identity(), memory_btd, torch.tensor([6]))[0].tokens
    (3, 3, 4)
    """
    padding = padding_mask(lengths_b, memory_btd.shape[1])
    frames_nd = memory_btd[~padding]
    found = [_best(head(rows)) for rows in frames_nd.split(CPU_ROWS if frames_nd.is_cpu else GPU_ROWS)]
    best_bt = memory_btd.new_zeros(padding.shape, dtype=torch.float32)
    labels_bt = torch.full_like(best_bt, BLANK, dtype=torch.long)
    if found:
        best_bt[~padding], labels_bt[~padding] = (torch.cat(column) for column in zip(*found, strict=True))
    return collapse(best_bt, labels_bt, padding)


def _best(logits_nv: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability and label of each frame's best; the logits are overwritten."""
    logits_nv = logits_nv.float()
    best_n, labels_n = logits_nv.max(dim=-1)
    return -logits_nv.sub_(best_n.unsqueeze(1)).exp_().sum(dim=-1).log_(), labels_n
