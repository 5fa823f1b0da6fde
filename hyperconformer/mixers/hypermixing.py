"""Multi-head HyperMixing: a token-mixing MLP that two hypernetworks write for each utterance."""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.mixers.base import TokenMixer
from hyperconformer.nn.depthwise import depthwise
from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.initialise import centre
from hyperconformer.nn.masks import lengths_to, zero_padding
from hyperconformer.nn.positions import sinusoids
from hyperconformer.nn.precision import in_float16

Init = Literal["centred", "fan", "speechbrain"]
LengthNorm = Literal["mean", "sqrt", "none"]
GAINS = {"centred": 0.5, "fan": 1.0, "speechbrain": 1.0}
POWERS = {"mean": -1.0, "sqrt": -0.5, "none": 0.0}
Positions = Literal["sinusoid", "convolution", "none"]
CONVOLUTION_WIDTH = 15
"""Frames that a position by convolution sees."""


class HyperMixing(TokenMixer):
    """Token mixing in time and memory linear in length.

    It wants normalised frames, holds no residual and ends in a layer norm: ``x + mixer(norm(x), padding)``.

    Each head owns E = D / H features and K = ``hypernet_size`` / H hidden units. With frames X (T, E)
    and positions P, its hypernetworks write W1, W2 (T, K) frame by frame; the head gives
    W2 GELU(W1' X / n(T)), and a layer norm joins the heads.

    (' transposes, 1 is a column of ones.) A hypernetwork is a two-layer MLP with a linear second layer:
    W = Y V + 1 b', where Y (T, E) comes from its GELU. So W1' X = V1' (Y1' X) + b1 (1' X) and
    W2 G = Y2 (V2 G) + 1 (b2' G): W1 and W2 are never written down, and the work for a frame does not
    depend on K.

    Parameters
    ----------
    d_model : int
        Feature size D.
    num_heads : int
        Heads H.
    hypernet_size : int or None
        Hidden units of the token-mixing MLP over all heads; None means 4 D.
    tied : bool
        One hypernetwork writes both matrices (W2 = W1).
    init : {"centred", "fan", "speechbrain"}
        How weights start. ``fan``: by each head's own fan-in, biases zero. ``centred``: the same, the weights
        of each unit sum to zero, so that what all features of a frame have in common (slow positions, the
        mean of a GELU) is not heard and W2 differs from frame to frame; and the norm's gain is a half: with
        gain one a change of the input grows tenfold through ten layers. ``speechbrain``: as SpeechBrain 1.1.
    length_norm : {"mean", "sqrt", "none"}
        n(T) = T, sqrt(T) or 1, of the utterance's own length. Without it the GELU's input grows with the
        utterance, a model trained on short ones meets long ones with other statistics, and float16 overflows
        in very long ones.
    positions : {"sinusoid", "convolution", "none"}
        What is added to the hypernetworks' input; a depthwise convolution of it tells places by what is near
        them and by the ends of the utterance.
    out_bias : bool
        The second layers have a bias (b above). Without it: Y2 V2 GELU(V1' Y1' X / n).
    gate : bool
        What the norm gives is multiplied with SiLU(W x), frame by frame, and projected, which joins the heads
        once more: 2 D^2 further weights.
    dropout : float
        Probability on the token-mixing MLP's hidden units.

    Raises
    ------
    ValueError
        If a size does not divide by ``num_heads``, a dial has no such setting, or ``d_model`` is odd with
        sinusoidal positions.

    References
    ----------
    Mai et al., HyperMixer, arXiv 2203.03691; Mai et al., HyperConformer, arXiv 2305.18281.

    Examples
    --------
    >>> mixer = HyperMixing(144, 8)
    >>> mixer(torch.zeros(2, 50, 144)).shape
    torch.Size([2, 50, 144])
    >>> sum(p.numel() for p in mixer.parameters())
    27648
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        hypernet_size: int | None = None,
        tied: bool = False,
        init: Init = "centred",
        length_norm: LengthNorm = "mean",
        positions: Positions = "sinusoid",
        out_bias: bool = True,
        gate: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hypernet_size = 4 * d_model if hypernet_size is None else hypernet_size
        if d_model % 2 and positions == "sinusoid":
            raise ValueError(f"d_model {d_model} must be even for sinusoidal positions, or positions none")
        for name, size in (("d_model", d_model), ("hypernet_size", hypernet_size)):
            if num_heads < 1 or size % num_heads:
                raise ValueError(f"{name} {size} must be a multiple of num_heads {num_heads}")
        for name, value, legal in (
            ("init", init, get_args(Init)),
            ("length_norm", length_norm, get_args(LengthNorm)),
            ("positions", positions, get_args(Positions)),
        ):
            if value not in legal:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(legal)}")
        self.num_heads, self.tied, self.gated = num_heads, tied, gate
        self.init, self.length_norm, self.positions = init, length_norm, positions
        head, hidden, networks = d_model // num_heads, hypernet_size // num_heads, 1 if tied else 2
        self.weight_in = nn.Parameter(torch.empty(num_heads, head, networks * head))
        self.bias_in = nn.Parameter(torch.empty(num_heads, 1, networks * head))
        self.weight_out = nn.Parameter(torch.empty(networks, num_heads, head, hidden))
        bias_out = nn.Parameter(torch.empty(networks, num_heads, 1, hidden)) if out_bias else None
        self.bias_out: nn.Parameter | None = bias_out
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)
        if positions == "convolution":
            self.near = nn.Conv1d(d_model, d_model, CONVOLUTION_WIDTH, groups=d_model)
        if gate:
            self.gate, self.project = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew as ``init`` says."""
        self.norm.reset_parameters()
        for child in self.children():
            if isinstance(child, nn.Conv1d | nn.Linear):
                child.reset_parameters()
        head, heads, hidden = self.weight_in.shape[1], self.num_heads, self.weight_out.shape[-1]
        if self.init == "speechbrain":
            # Xavier's formula, which takes the heads of these shapes for output channels.
            fans = {"in": head + heads, "out": hidden + heads}
            for name, weight in self.named_parameters(recurse=False):
                kind, _, side = name.partition("_")
                both = fans[side] * (head if kind == "weight" else 1)
                nn.init.normal_(weight, std=math.sqrt(2 / both))
            return
        # He before the GELU, LeCun after it; a centred column has one degree of freedom less.
        centred = self.init == "centred" and head > 1
        for weight, fan_axis, variance in ((self.weight_in, 1, 2 / head), (self.weight_out, 2, 1 / head)):
            bound = math.sqrt(3 * variance * (head / (head - 1) if centred else 1))
            nn.init.uniform_(weight, -bound, bound)
            if centred:
                centre(weight, fan_axis)
        nn.init.constant_(self.norm.weight, GAINS[self.init])
        nn.init.zeros_(self.bias_in)
        if self.bias_out is not None:
            nn.init.zeros_(self.bias_out)

    @torch.no_grad()
    def quieten(self, share: float) -> None:
        """Scale the projection's weights, or let the norm's gain be no larger than the share."""
        if self.gated:
            self.project.weight *= share
        else:
            nn.init.constant_(self.norm.weight, min(share, GAINS[self.init]))

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        heads, hidden = self.num_heads, self.num_heads * self.weight_out.shape[-1]
        return (
            f"num_heads={heads}, hypernet_size={hidden}, tied={self.tied}, init={self.init}, "
            f"length_norm={self.length_norm}, positions={self.positions}, "
            f"out_bias={self.bias_out is not None}, gate={self.gated}"
        )

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) bool, True at padded frames, or None -> (B, T, D)."""
        assert x_btd.ndim == 3 and x_btd.shape[2] == self.norm.normalized_shape[0], (
            f"expected (B, T, {self.norm.normalized_shape[0]}), got {tuple(x_btd.shape)}"
        )
        x_btd = zero_padding(x_btd, padding)
        hidden_hbte = self._hidden(x_btd, slice(None)).chunk(len(self.weight_out), dim=-1)
        mixed = self._mix(hidden_hbte[-1], hidden_hbte[0], x_btd, padding)
        return zero_padding(self._gate(mixed, x_btd), padding)

    def cross(
        self,
        queries_bld: Tensor,
        keys_btd: Tensor,
        query_padding: Tensor | None = None,
        key_padding: Tensor | None = None,
    ) -> Tensor:
        """Let every query hear of all keys; ``cross(x, x)`` is ``forward(x)``.

        The keys write W1 and are what it pools; the queries write W2, so they give the output its length.
        Both are numbered from 0, so all queries come at once (or ``positions`` is "none"); they do not hear
        each other.

        Parameters
        ----------
        queries_bld : Tensor, shape (B, L, D)
        keys_btd : Tensor, shape (B, T, D)
            Their length T counts for the length normalisation.
        query_padding, key_padding : Tensor, shapes (B, L) and (B, T), bool, or None
            True at padded frames.

        Returns
        -------
        Tensor, shape (B, L, D)
            Zero at padded queries.

        References
        ----------
        Mai et al., HyperMixer, arXiv 2203.03691.

        Examples
        --------
        >>> HyperMixing(8, 2).cross(torch.randn(1, 3, 8), torch.randn(1, 5, 8)).shape
        torch.Size([1, 3, 8])
        """
        assert queries_bld.shape[0] == keys_btd.shape[0], "queries and keys differ in their batch size"
        keys_btd = zero_padding(keys_btd, key_padding)
        head = self.weight_in.shape[1]
        queries_bld = zero_padding(queries_bld, query_padding)
        reading = self._hidden(queries_bld, slice(-head, None))
        mixed = self._mix(reading, self._hidden(keys_btd, slice(head)), keys_btd, key_padding)
        return zero_padding(self._gate(mixed, queries_bld), query_padding)

    def _gate(self, mixed_bld: Tensor, x_bld: Tensor) -> Tensor:
        if not self.gated:
            return mixed_bld
        gated: Tensor = self.project(mixed_bld * F.silu(self.gate(x_bld)))
        return gated

    def _heads(self, x_btd: Tensor) -> Tensor:
        """(B, T, D) -> (H, B, T, E), a view."""
        batch, frames, d_model = x_btd.shape
        return x_btd.reshape(batch, frames, self.num_heads, d_model // self.num_heads).permute(2, 0, 1, 3)

    def _hidden(self, x_btd: Tensor, units: slice) -> Tensor:
        """First layer of the hypernetworks, both in one batched product: (B, T, D) -> (H, B, T, units)."""
        batch, frames, d_model = x_btd.shape
        if self.positions == "sinusoid":
            x_btd = x_btd + sinusoids(0, frames, d_model, x_btd)
        elif self.positions == "convolution":
            x_btd = x_btd + depthwise(x_btd, self.near.weight, self.near.bias)
        written_hne = torch.baddbmm(
            self.bias_in[:, :, units], self._heads(x_btd).flatten(1, 2), self.weight_in[:, :, units]
        )
        return F.gelu(written_hne).view(self.num_heads, batch, frames, -1)

    def _mix(
        self, reading_hble: Tensor, writing_hbte: Tensor, x_btd: Tensor, padding: Tensor | None
    ) -> Tensor:
        """The token-mixing MLP and the norm: (H, B, L, E), (H, B, T, E), masked (B, T, D) -> (B, L, D)."""
        heads, batch, queries, head = reading_hble.shape
        scale = lengths_to(POWERS[self.length_norm], x_btd, padding)
        if in_float16(x_btd):
            # In two halves, before and after the sum over frames: it neither overflows nor fades.
            scale = scale**0.5
            x_btd = x_btd * scale
        writing_nte, x_nte = writing_hbte.flatten(0, 1), self._heads(x_btd).flatten(0, 1)
        pooled_hbee = torch.bmm(writing_nte.transpose(1, 2), x_nte).view(heads, batch, head, head)
        told_nee, offset_n1e = self._token_mlp(pooled_hbee, x_btd, scale)
        reading_nle = reading_hble.flatten(0, 1)
        if offset_n1e is None:
            mixed_nle = torch.bmm(reading_nle, told_nee)
        else:
            mixed_nle = torch.baddbmm(offset_n1e, reading_nle, told_nee)
        mixed_blhe = mixed_nle.view(heads, batch, queries, head).permute(1, 2, 0, 3)
        joined: Tensor = self.norm(mixed_blhe.flatten(2))
        return joined

    def _token_mlp(
        self, pooled_hbee: Tensor, x_btd: Tensor, scale: float | Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Y1' X, masked X and 1 / n -> V2 G and b2' G, (H B, E, E) and (H B, 1, E).

        G = GELU(W1' X / n). Utterances stand side by side as columns. Without a bias there is no b2' G.
        """
        heads, batch, _, head = pooled_hbee.shape
        weight_hke = self.weight_out[0].mT

        def columns(x_hbie: Tensor) -> Tensor:
            return x_hbie.transpose(1, 2).flatten(2)

        def utterances(x_hin: Tensor) -> Tensor:
            return x_hin.view(heads, -1, batch, head).transpose(1, 2).flatten(0, 1)

        if self.bias_out is None:
            heard_hkn = torch.bmm(weight_hke, columns(pooled_hbee * scale))
        else:
            total_hb1e = self._heads(x_btd.sum(dim=1, keepdim=True))
            if isinstance(scale, Tensor):
                pooled_hbee, total_hb1e, scale = pooled_hbee * scale, total_hb1e * scale, 1.0
            bias_hkn = self.bias_out[0].mT * columns(total_hb1e)
            heard_hkn = torch.baddbmm(bias_hkn, weight_hke, columns(pooled_hbee), beta=scale, alpha=scale)
        active_hkn = self.dropout(F.gelu(heard_hkn))
        told_hen, bias = torch.bmm(self.weight_out[-1], active_hkn), self.bias_out
        return utterances(told_hen), None if bias is None else utterances(torch.bmm(bias[-1], active_hkn))
