"""Work in pieces that stay in a CPU's cache: less memory for long recordings, no time for short ones."""

from collections.abc import Callable

import torch
from torch import Tensor

# 2 MB in float32.
PIECE_VALUES = 2**19


def better_whole(x: Tensor) -> bool:
    """Whether x is better taken whole: on other devices, and by a compiler, which cuts as it likes.

    Examples
    --------
    >>> better_whole(torch.zeros(1))
    False
    """
    return x.device.type != "cpu" or torch.compiler.is_compiling()


def by_rows(function: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
    """Apply what treats every row alike, some rows at a time where no gradient is recorded.

    Parameters
    ----------
    function : callable
        (N, I) -> (N, O), each row by itself.
    x : Tensor, shape (..., I)
    width : int
        Values that the function holds for a row: its largest intermediate.

    Returns
    -------
    Tensor, shape (..., O)

    Examples
    --------
    >>> with torch.no_grad():
    ...     by_rows(torch.exp, torch.zeros(2, 500, 3), PIECE_VALUES // 10).shape
    torch.Size([2, 500, 3])
    """
    rows = max(1, PIECE_VALUES // width)
    if better_whole(x) or torch.is_grad_enabled() or x.shape[:-1].numel() <= rows:
        return function(x)
    pieces = torch.cat([function(piece) for piece in x.flatten(0, -2).split(rows)])
    return pieces.view(*x.shape[:-1], pieces.shape[-1])
