"""Mirrored edges: what a convolution sees beyond the first and the last frame of each utterance."""

from typing import Any

import torch
from torch import Tensor


def mirror(x_btfc: Tensor, ends_b: Tensor, *, first: bool = True, last: bool = True) -> Tensor:
    """Add a band below the lowest and a frame around each utterance, mirrored at the outermost one.

    A whole utterance has both edges; of one that comes in pieces, the first piece has the one and the last
    piece the other. An utterance of a single frame is its own mirror image.

    Parameters
    ----------
    x_btfc : Tensor, shape (B, T, F, C)
        T frames of F bands and C channels.
    ends_b : Tensor, shape (B,), long
        Frames from the piece's first to the utterance's end. Below 1 (it ended in an earlier piece) or above
        T (it goes on) no end is mirrored. A piece that holds the end holds the frame before it too, unless
        that end is nowhere looked at.
    first, last : bool
        Whether to add a frame before the first and after the last frame.

    Returns
    -------
    Tensor, shape (B, T + first + last, F + 1, C)
        Output frame ``ends_b + first`` is the mirror image, even where the batch goes on. Padding behind it
        stays as it was; the frame that ``last`` adds is zero for shorter utterances.

    Examples
    --------
    >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1).expand(2, 4, 2, 1)
    >>> mirror(x, torch.tensor([4, 2]))[:, :, 0, 0]
    tensor([[2., 1., 2., 3., 4., 3.],
            [2., 1., 2., 1., 4., 0.]])
    """
    if torch.is_grad_enabled() and x_btfc.requires_grad and not torch.compiler.is_compiling():
        out: Tensor = _Mirror.apply(x_btfc, ends_b, first, last)  # type: ignore[no-untyped-call]  # torch's own
        return out
    if torch.compiler.is_exporting():
        return _gathered(x_btfc, ends_b, first, last)
    return _mirrored(x_btfc, ends_b, first, last)


def _edges(ends_b: Tensor, rows: int, first: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of the padded piece: the row to fill at each end, its source, and the source of row 0 (if ``first``).

    The source lies two rows before the target, so the edge is not repeated; a single frame copies itself.
    """
    target_b = ends_b + int(first)
    single_b = (ends_b == 1).long()
    inside_b = (target_b >= 2 - single_b) & (target_b < rows)
    # Where the end is elsewhere, a row is copied onto itself.
    target_b = torch.where(inside_b, target_b, 0)
    source_b = torch.where(inside_b, target_b - 2 + single_b, 0)
    return target_b, source_b, 2 - single_b


def _mirrored(x_btfc: Tensor, ends_b: Tensor, first: bool, last: bool) -> Tensor:
    batch, frames, bands, channels = x_btfc.shape
    rows = frames + int(first) + int(last)
    padded = x_btfc.new_empty((batch, rows, bands + 1, channels))
    if last:
        padded[:, -1] = 0
    inner = padded[:, int(first) : int(first) + frames]
    inner[:, :, 1:] = x_btfc
    inner[:, :, 0] = x_btfc[:, :, min(1, bands - 1)]
    target_b, source_b, start_b = _edges(ends_b, rows, first)
    each = torch.arange(batch, device=x_btfc.device)
    if first:
        padded[:, 0] = padded[each, start_b]
    padded[each, target_b] = padded[each, source_b]
    return padded


def _gathered(x_btfc: Tensor, ends_b: Tensor, first: bool, last: bool) -> Tensor:
    """The same in one look-up, as runtimes that cannot write into a tensor copy it for every edge.

    Behind the mirror image the last frame is repeated.
    """
    batch, frames, bands, _ = x_btfc.shape
    rows = frames + int(first) + int(last)
    target_b, source_b, start_b = _edges(ends_b, rows, first)
    index_t = torch.arange(rows, device=x_btfc.device)
    index_bt = torch.where(index_t == target_b[:, None], source_b[:, None], index_t)
    if first:
        index_bt = torch.where(index_t == 0, start_b[:, None], index_bt)
    index_bt = (index_bt - int(first)).clamp(0, frames - 1)
    low = min(1, bands - 1)
    wide_btfc = torch.cat((x_btfc[:, :, low : low + 1], x_btfc), dim=2)
    return wide_btfc[torch.arange(batch, device=x_btfc.device)[:, None], index_bt]


class _Mirror(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_btfc: Tensor, ends_b: Tensor, first: bool, last: bool) -> Tensor:
        ctx.save_for_backward(ends_b)
        ctx.edges = first, last
        return _mirrored(x_btfc, ends_b, first, last)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (ends_b,), (first, last) = ctx.saved_tensors, ctx.edges
        batch, rows = grad.shape[:2]
        target_b, source_b, start_b = _edges(ends_b, rows, first)
        each = torch.arange(batch, device=grad.device)
        inner = slice(int(first), rows - int(last))
        moved = target_b != source_b
        from_end = grad[each, target_b] * moved[:, None, None]
        # A frame that was overwritten by its mirror image was not heard.
        folded = grad.clone()
        folded[each, target_b] = folded[each, target_b] * ~moved[:, None, None]
        folded[each, source_b] += from_end
        if first:
            folded[each, start_b] += folded[:, 0]
        below = folded[:, inner, :1]
        result = folded[:, inner, 1:].contiguous()
        result[:, :, min(1, result.shape[2] - 1)] += below[:, :, 0]
        return result, None, None, None
