"""FNet: token mixing by a Fourier transform, without weights."""

import torch
from torch import Tensor

from hyperconformer.mixers.base import TokenMixer
from hyperconformer.nn.masks import valid_lengths


class Fourier(TokenMixer):
    """The real part of a two-dimensional Fourier transform over features and frames.

    Frames are transformed at each utterance's own length, one utterance after the other where lengths differ,
    so padding stays invisible; a graph with a free length cannot be exported from a padded batch.

    Parameters
    ----------
    d_model, num_heads : int
        Taken for the sake of the registry; nothing is learnt.

    References
    ----------
    Lee-Thorp et al., FNet, arXiv 2105.03824.

    Examples
    --------
    >>> Fourier(4, 1)(torch.ones(1, 3, 4))[0, 0]
    tensor([12.,  0.,  0.,  0.])
    """

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D), at least in float32 inside."""
        wide = x_btd.to(torch.promote_types(x_btd.dtype, torch.float32))
        if padding is None:
            whole: Tensor = torch.fft.fft2(wide).real.to(x_btd.dtype)
            return whole
        out = torch.zeros_like(x_btd)
        for row, frames in enumerate(valid_lengths(x_btd, padding).tolist()):
            if frames:
                out[row, :frames] = torch.fft.fft2(wide[row, :frames]).real.to(x_btd.dtype)
        return out
