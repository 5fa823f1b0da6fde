"""The Conformer encoder with its token mixer as a parameter."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from hyperconformer.mixers import make_mixer
from hyperconformer.nn.convolution import ConvolutionModule
from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.feedforward import FeedForward
from hyperconformer.nn.halving import doubled, halved
from hyperconformer.nn.masks import zero_padding


class EncoderLayer(nn.Module):
    """Half a feed-forward, token mixer, convolution, half a feed-forward, layer norm.

    Parameters
    ----------
    d_model, nhead, d_ffn, kernel_size : int
        Feature size D, heads, hidden size, width of the depthwise convolution.
    mixer : str
        Name of the token mixer.
    mixer_options : mapping
        Its further keyword options.
    dropout : float
        Probability on the output of every residual branch.

    References
    ----------
    Gulati et al., Conformer, arXiv 2005.08100; Mai et al., HyperConformer, arXiv 2305.18281.

    Examples
    --------
    >>> layer = EncoderLayer(8, 2, 32, 7, mixer="hypermixing", mixer_options={}, dropout=0.1)
    >>> layer(torch.zeros(2, 5, 8), None).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        d_ffn: int,
        kernel_size: int,
        *,
        mixer: str,
        mixer_options: Mapping[str, Any],
        dropout: float,
    ) -> None:
        super().__init__()
        self.feedforward1 = FeedForward(d_model, d_ffn, dropout=dropout, activation="silu")
        self.norm_mixer = nn.LayerNorm(d_model)
        self.mixer = make_mixer(mixer, d_model, nhead, mixer_options)
        self.dropout = Dropout(dropout)
        self.convolution = ConvolutionModule(d_model, kernel_size=kernel_size)
        self.feedforward2 = FeedForward(d_model, d_ffn, dropout=dropout, activation="silu")
        self.norm_out = nn.LayerNorm(d_model)

    @torch.no_grad()
    def quieten(self, share: float) -> None:
        """Scale what every branch adds, in place."""
        for branch in (self.feedforward1, self.convolution, self.feedforward2):
            branch.project.weight *= share
        self.mixer.quieten(share)

    def forward(self, x_btd: Tensor, padding: Tensor | None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D)."""
        add = self.dropout.add
        x_btd = add(x_btd, self.feedforward1(x_btd), 0.5)
        x_btd = add(x_btd, self.mixer(self.norm_mixer(x_btd), padding))
        x_btd = add(x_btd, self.convolution(x_btd, padding))
        out: Tensor = self.norm_out(add(x_btd, self.feedforward2(x_btd), 0.5))
        return out


class Encoder(nn.Module):
    """A stack of encoder layers and a final layer norm.

    Parameters
    ----------
    num_layers : int
        Depth.
    d_model, nhead, d_ffn, kernel_size : int
        Sizes of each layer.
    mixer : str
        Name of the token mixer: a key of ``hyperconformer.mixers.MIXERS``.
    mixer_options : mapping
        Its further keyword options.
    dropout : float
        Probability on every residual branch.
    half_rate_layers : (int, int) or None
        The first and the last, counted from 1, of layers that hear frames twice as long: the mean of two.
        What they return is added, twice, to what came before them.

    References
    ----------
    Kim et al., Squeezeformer, arXiv 2206.00888.

    Examples
    --------
    >>> encoder = Encoder(2, 8, 2, 32, 7, mixer="attention").eval()
    >>> padding = torch.tensor([[False, False, False], [False, False, True]])
    >>> encoder(torch.randn(2, 3, 8), padding)[1, 2].tolist() == [0.0] * 8
    True
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        nhead: int,
        d_ffn: int,
        kernel_size: int,
        *,
        mixer: str = "hypermixing",
        mixer_options: Mapping[str, Any] | None = None,
        dropout: float = 0.0,
        half_rate_layers: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.half_rate_layers = half_rate_layers
        options = mixer_options or {}
        self.layers = nn.ModuleList(
            EncoderLayer(
                d_model, nhead, d_ffn, kernel_size, mixer=mixer, mixer_options=options, dropout=dropout
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model, eps=1e-6)

    def quieten(self, share: float) -> None:
        """Let residual branches start with a share of their voice (Fixup's idea, arXiv 1901.09321).

        With a tenth CTC much sooner leaves the state where it answers blank to everything.
        """
        for layer in cast(Iterable[EncoderLayer], self.layers):
            layer.quieten(share)

    def forward(self, x_btd: Tensor, padding: Tensor | None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D), zero at padded frames."""
        return self.tapped(x_btd, padding, ())[0]

    def tapped(
        self, x_btd: Tensor, padding: Tensor | None, taps: Collection[int]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What ``forward`` returns, and behind the final norm what the layers of ``taps`` (from 1) return.

        Those at half the rate have no taps.
        """
        seen, own_padding, before_btd = [], padding, x_btd
        first, last = self.half_rate_layers or (0, 0)
        for number, layer in enumerate(self.layers, start=1):
            if number == first:
                before_btd = x_btd
                x_btd, own_padding = halved(x_btd, padding)
            x_btd = layer(x_btd, own_padding)
            if number == last:
                x_btd, own_padding = before_btd + doubled(x_btd, before_btd.shape[1]), padding
            if number in taps:
                seen.append(zero_padding(self.norm(x_btd), padding))
        return zero_padding(self.norm(x_btd), padding), tuple(seen)
