"""Convolutional front-end: 10 ms features become 40 ms frames."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.nn import pieces
from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.initialise import centre
from hyperconformer.nn.masks import padding_mask, zero_padding
from hyperconformer.nn.mirror import mirror
from hyperconformer.nn.recompute import convolution_of, linear_of

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


class _Block(nn.Module):
    """3 x 3 convolution of stride 2, and the layer norm over (frequency, channel) and leaky ReLU after it.

    No dropout here: SpecAugment already hides cells, and drawing masks of this size costs a small model
    a fifth of its training step on CPU. Channels are innermost in memory, where the norm wants them.
    """

    def __init__(self, channels_in: int, channels_out: int, bands_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2)
        self.conv.weight.data = self.conv.weight.data.to(memory_format=torch.channels_last)
        self.norm = nn.LayerNorm([bands_out, channels_out])

    def active(self, x_btfc: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        normed = F.layer_norm(x_btfc, self.norm.normalized_shape, gain, bias, self.norm.eps)
        return F.leaky_relu(normed, inplace=True)


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
        self.n_mels = n_mels
        self.first = _Block(1, channels[0], n_mels // 2)
        self.second = _Block(channels[0], channels[1], n_mels // 4)
        self.project = nn.Linear(n_mels // 4 * channels[1], d_model)
        self.dropout = Dropout(dropout)

    @torch.no_grad()
    def centre_projection(self) -> None:
        """Let each output's weights sum to zero: what a leaky ReLU adds to all frames alike is not heard."""
        centre(self.project.weight, 1)

    def forward(self, features_bfm: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Features and their frames -> encoder input (B, T, D), zero at padding, and its frames (B,)."""
        # It also tells a compiler that this size never changes.
        assert features_bfm.shape[2] == self.n_mels, (
            f"expected {self.n_mels} bands, got {features_bfm.shape[2]}"
        )
        if (frames := features_bfm.shape[1]) < MIN_FRAMES:
            features_bfm = F.pad(features_bfm, (0, 0, 0, MIN_FRAMES - frames))
        x_btd = self.dropout(self._pieces(mirror(features_bfm.unsqueeze(-1), lengths_b), lengths_b))
        out_lengths_b = subsampled(lengths_b)
        return zero_padding(x_btd, padding_mask(out_lengths_b, x_btd.shape[1])), out_lengths_b

    def _pieces(self, mirrored_bfm1: Tensor, lengths_b: Tensor) -> Tensor:
        """All output frames, some utterances or a part of one at a time; shapes as `_piece`."""
        batch = mirrored_bfm1.shape[0]
        if pieces.better_whole(mirrored_bfm1) or batch == 0:
            return self._piece(mirrored_bfm1, lengths_b, 0, None)
        rows, values_per_row = subsampled(mirrored_bfm1.shape[1] - 2), 2 * self.first.norm.weight.numel()
        span = max(1, pieces.PIECE_VALUES // values_per_row)
        utterances = max(1, span // rows)
        groups = zip(mirrored_bfm1.split(utterances), lengths_b.split(utterances), strict=True)
        return torch.cat(
            [
                torch.cat(
                    [
                        self._piece(*group, start, start + span if start + span < rows else None)
                        for start in range(0, rows, span)
                    ],
                    dim=1,
                )
                for group in groups
            ]
        )

    def _piece(self, mirrored_bfm1: Tensor, lengths_b: Tensor, start: int, stop: int | None) -> Tensor:
        """Output frames ``start`` to ``stop`` (None: the last): (B, F + 2, M + 1, 1) -> (B, T, D).

        Output frame t hears 2 t - 1 to 2 t + 1 of the first convolution, whose frame s hears features 2 s - 1
        to 2 s + 1; the mirrored frame in front makes these rows 2 s to 2 s + 2.
        """
        low = max(0, 2 * start - 1)
        high = None if stop is None else 4 * stop + 1
        features_b1fm = mirrored_bfm1[:, 2 * low : high].permute(0, 3, 1, 2)
        first = self.first.conv(features_b1fm).permute(0, 2, 3, 1)
        # In frames of the first convolution, counted from the piece's first.
        ends_b = (lengths_b + 1) // 2 - low

        def heard(x_btfc: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
            active = self.first.active(x_btfc, gain, bias)
            return mirror(active, ends_b, first=start == 0, last=stop is None).permute(0, 3, 1, 2)

        norm, conv = self.first.norm, self.second.conv
        second = convolution_of(heard, (first, norm.weight, norm.bias), conv.weight, conv.bias, stride=2)

        def flat(x_btfc: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
            return self.second.active(x_btfc, gain, bias).flatten(2)

        inputs = second.permute(0, 2, 3, 1), self.second.norm.weight, self.second.norm.bias
        return linear_of(flat, inputs, self.project.weight, self.project.bias)
