"""Positions computed on the fly: no table, so no longest utterance and nothing in a checkpoint."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

LARGEST_KEPT = 2**20
"""Values of a table of positions that is kept: 4 MiB of float32."""


def _angles(positions: Tensor, dim: int) -> Tensor:
    """(...) positions -> (..., dim / 2) angles t / 10000^(2i / dim)."""
    exponents = torch.arange(0, dim, 2, device=positions.device, dtype=positions.dtype)
    return positions.unsqueeze(-1) * torch.exp(exponents * (-math.log(10_000.0) / dim))


def _position_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half precision cannot count frames (bfloat16 stops at 256), so positions are at least float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def sinusoids(start: int, frames: int, dim: int, like: Tensor) -> Tensor:
    """Sinusoidal position encodings of frames ``start`` to ``start + frames``; not to be written to.

    The last table is kept, as all layers ask for the same one; a large one is not.

    Parameters
    ----------
    start : int
        Position of the first frame.
    frames : int
        Number of positions T.
    dim : int
        Even feature size D.
    like : Tensor
        Gives the dtype and device of the result.

    Returns
    -------
    Tensor, shape (T, D)
        Sines at even features, cosines at odd ones.

    Raises
    ------
    ValueError
        If ``dim`` is odd.

    References
    ----------
    Vaswani et al., Attention is all you need, arXiv 1706.03762.

    Examples
    --------
    >>> sinusoids(0, 2, 2, torch.zeros(1))
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    if dim % 2:
        raise ValueError(f"sinusoidal positions need an even size, got {dim}")
    if _may_keep(like, frames, dim):
        return _kept(start, frames, dim, like.dtype, like.device)
    return sinusoids_at(torch.arange(start, start + frames, device=like.device), dim, like)


def _may_keep(like: Tensor, frames: int, dim: int) -> bool:
    """Whether a table is small, and nothing traces, transforms or captures: that must see the arithmetic."""
    if type(like) not in (Tensor, nn.Parameter) or torch.compiler.is_compiling():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    if like.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    # Asked last: of a length that is traced, a size would be a promise.
    return frames * dim <= LARGEST_KEPT


@lru_cache(maxsize=2)
def _kept(start: int, frames: int, dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        like = torch.empty(0, dtype=dtype, device=device)
        return sinusoids_at(torch.arange(start, start + frames, device=device), dim, like)


def sinusoids_at(positions: Tensor, dim: int, like: Tensor) -> Tensor:
    """Sinusoidal encodings of any positions, as :func:`sinusoids` has them.

    Parameters
    ----------
    positions : Tensor, shape (...), integer
    dim : int
        Even feature size D.
    like : Tensor
        Gives the dtype and device of the result.

    Returns
    -------
    Tensor, shape (..., D)

    Examples
    --------
    >>> sinusoids_at(torch.tensor([[1], [0]]), 2, torch.zeros(1))
    tensor([[[0.8415, 0.5403]],
    <BLANKLINE>
            [[0.0000, 1.0000]]])
    """
    angles = _angles(positions.to(_position_dtype(like.dtype)), dim)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2).to(like.dtype)


def _turns(frames: int, dim: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines that :func:`rotate` turns by, each (T, E / 2)."""
    angles = _angles(torch.arange(frames, device=device, dtype=_position_dtype(dtype)), dim)
    return angles.cos().to(dtype), angles.sin().to(dtype)


@lru_cache(maxsize=2)
def _kept_turns(frames: int, dim: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):
        return _turns(frames, dim, dtype, device)


def rotate(x_bhte: Tensor) -> Tensor:
    """Rotary position embedding: turn each pair of features by an angle that grows with the frame.

    Parameters
    ----------
    x_bhte : Tensor, shape (B, H, T, E)
        Queries or keys with an even head size E.

    Returns
    -------
    Tensor, shape (B, H, T, E)

    Raises
    ------
    ValueError
        If E is odd.

    References
    ----------
    Su et al., RoFormer, arXiv 2104.09864.

    Examples
    --------
    >>> rotate(torch.tensor([1.0, 0.0]).expand(1, 1, 2, 2))
    tensor([[[[1.0000, 0.0000],
              [0.5403, 0.8415]]]])
    """
    if x_bhte.shape[-1] % 2:
        raise ValueError(f"rotary positions need an even head size, got {x_bhte.shape[-1]}")
    frames, dim = x_bhte.shape[-2:]
    turns = _kept_turns if _may_keep(x_bhte, frames, dim) else _turns
    cos, sin = turns(frames, dim, x_bhte.dtype, x_bhte.device)
    even, odd = x_bhte[..., 0::2], x_bhte[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
