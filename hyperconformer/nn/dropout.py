"""Dropout whose masks cost a CPU a sixth of PyTorch's, and can be kept for a second look."""

import torch
from torch import Tensor, nn

_LEVELS = 2**16
MAX_DROPOUT = 1 - 1 / _LEVELS


class Dropout(nn.Module):
    """Zero values at random in training, and scale up the others.

    Drawing PyTorch's mask on a CPU takes longer than the matrix product before it. Here 64 random bits
    decide on four values, so the probability is a multiple of 1 / 65,536.

    Parameters
    ----------
    p : float
        Probability of zero, from 0 to 1 - 1 / 65,536.

    Raises
    ------
    ValueError
        If ``p`` is out of range.

    References
    ----------
    Hinton et al., Improving neural networks by preventing co-adaptation, arXiv 1207.0580.

    Examples
    --------
    >>> dropped = Dropout(0.25)(torch.ones(10_000))
    >>> sorted({round(value, 4) for value in dropped.tolist()})
    [0.0, 1.3333]
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= MAX_DROPOUT:
            raise ValueError(f"dropout must be from 0 to {MAX_DROPOUT:.5f}, got {p}")
        self.p = round(p * _LEVELS) / _LEVELS

    @property
    def scale(self) -> float:
        """By what kept values grow, so that the mean stays."""
        return 1 / (1 - self.p)

    def mask(self, like: Tensor) -> Tensor | None:
        """Draw what to keep.

        Parameters
        ----------
        like : Tensor
            Gives shape and device.

        Returns
        -------
        Tensor, the shape of ``like``, uint8, or None
            One where a value is kept; None where nothing is dropped.
        """
        if not self.training or self.p == 0:
            return None
        if torch.compiler.is_compiling():
            return (torch.rand_like(like, dtype=torch.float32) >= self.p).to(torch.uint8)
        if like.device.type != "cpu":
            kept = torch.empty(like.shape, dtype=torch.bool, device=like.device).bernoulli_(1 - self.p)
            return kept.view(torch.uint8)
        # An int16 of random bits is below p 65,536 - 32,768 with probability p.
        words = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        levels = words.view(torch.int16)[: like.numel()].view(like.shape)
        return (levels >= int(self.p * _LEVELS) - _LEVELS // 2).view(torch.uint8)

    def add(self, x: Tensor, branch: Tensor, weight: float = 1.0) -> Tensor:
        """Close a residual: ``x + weight * dropout(branch)`` in as few passes as can be."""
        mask = self.mask(branch)
        if mask is None:
            return torch.add(x, branch, alpha=weight)
        return torch.add(x, branch * mask, alpha=weight * self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        mask = self.mask(x)
        return x if mask is None else (x * mask).mul_(self.scale)
