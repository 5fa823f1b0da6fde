"""Convolutional front-end: 10 ms features become 40 ms frames."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.nn.masks import padding_mask, zero_padding

SUBSAMPLING = 4
MIN_FRAMES = 3


Frames = TypeVar("Frames", int, Tensor)


def subsampled(frames: Frames) -> Frames:
    """Output frames for a number of input frames: ceil(F / 4).

    Parameters
    ----------
    frames : int or Tensor, integer
        Feature frames (10 ms).

    Returns
    -------
    int or Tensor, integer
        Encoder frames (40 ms).

    Examples
    --------
    >>> subsampled(torch.tensor([1, 4, 5])), subsampled(101)
    (tensor([1, 1, 2]), 26)
    """
    return (frames + SUBSAMPLING - 1) // SUBSAMPLING


def _reflect(x_bctf: Tensor, lengths_b: Tensor) -> Tensor:
    """Pad one cell around time and frequency, mirroring time at each utterance's own end.

    (B, C, T, F) -> (B, C, T + 2, F + 2). An utterance of a single frame is its own mirror image.
    """
    padded = F.pad(x_bctf, (1, 1, 1, 1), mode="reflect")
    batch = torch.arange(x_bctf.shape[0], device=x_bctf.device)
    before_last = (lengths_b - 1).clamp(min=1)
    after_first = torch.where(lengths_b > 1, 2, 1)
    padded[batch, :, lengths_b + 1] = padded[batch, :, before_last]
    padded[batch, :, 0] = padded[batch, :, after_first]
    return padded


class _Block(nn.Module):
    """3 x 3 convolution of stride 2, layer norm over (frequency, channel), leaky ReLU.

    No dropout here: SpecAugment already hides cells, and drawing masks of this size costs a small model
    a fifth of its training step on CPU.
    """

    def __init__(self, channels_in: int, channels_out: int, bands_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2)
        self.norm = nn.LayerNorm([bands_out, channels_out])

    def forward(self, x_bctf: Tensor, lengths_b: Tensor) -> Tensor:
        out_btfc = self.conv(_reflect(x_bctf, lengths_b)).permute(0, 2, 3, 1)
        return F.leaky_relu(self.norm(out_btfc)).permute(0, 3, 1, 2)


class Subsampling(nn.Module):
    """Two strided convolutions and a linear layer: (B, F, M) -> (B, T = ceil(F / 4), D).

    Time is mirrored at each utterance's own first and last frame, so an utterance gives the
    same frames alone and in a padded batch.

    Parameters
    ----------
    n_mels : int
        Mel bands M, a multiple of 4.
    d_model : int
        Output size D.
    channels : tuple of int
        Channels of the two convolutions.
    dropout : float
        Probability after the linear layer.

    Raises
    ------
    ValueError
        If ``n_mels`` is not a multiple of 4.

    Examples
    --------
    >>> front_end = Subsampling(80, 144, channels=(64, 32), dropout=0.1).eval()
    >>> x, lengths = front_end(torch.zeros(2, 10, 80), torch.tensor([10, 7]))
    >>> x.shape, lengths
    (torch.Size([2, 3, 144]), tensor([3, 2]))
    """

    def __init__(self, n_mels: int, d_model: int, *, channels: tuple[int, int], dropout: float) -> None:
        super().__init__()
        if n_mels % SUBSAMPLING:
            raise ValueError(f"n_mels must be a multiple of {SUBSAMPLING}, got {n_mels}")
        self.first = _Block(1, channels[0], n_mels // 2)
        self.second = _Block(channels[0], channels[1], n_mels // 4)
        self.project = nn.Linear(n_mels // 4 * channels[1], d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features_bfm: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Features and their frames -> encoder input (B, T, D), zero at padding, and its frames (B,)."""
        frames = features_bfm.shape[1]
        x_bctf = F.pad(features_bfm, (0, 0, 0, max(0, MIN_FRAMES - frames))).unsqueeze(1)
        x_bctf = self.second(self.first(x_bctf, lengths_b), (lengths_b + 1) // 2)
        x_btd = self.dropout(self.project(x_bctf.permute(0, 2, 3, 1).flatten(2)))
        out_frames, out_lengths_b = subsampled(frames), subsampled(lengths_b)
        return zero_padding(x_btd[:, :out_frames], padding_mask(out_lengths_b, out_frames)), out_lengths_b
