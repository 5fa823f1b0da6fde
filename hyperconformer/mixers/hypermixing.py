"""Multi-head HyperMixing: a token-mixing MLP that two hypernetworks write for each utterance."""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.mixers.base import TokenMixer
from hyperconformer.nn.masks import valid_lengths, zero_padding
from hyperconformer.nn.positions import sinusoids

LengthNorm = Literal["sqrt", "mean", "none"]
Positions = Literal["sinusoid", "none"]


class HyperMixing(TokenMixer):
    """Token mixing in time and memory linear in length.

    Each head owns E = D / H features and K = ``hypernet_size`` / H hidden units. With frames X (T, E)
    and positions P, its hypernetworks write W1, W2 (T, K) frame by frame; the head gives
    W2 GELU(W1' X / n(T)), and a layer norm joins the heads.

    n(T) is the length normalisation: without it the pre-activation grows with the utterance, and a model
    trained on short ones meets long ones with other statistics.

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
    length_norm : {"sqrt", "mean", "none"}
        n(T) = sqrt(T), T or 1, of the utterance's own length.
    positions : {"sinusoid", "none"}
        What is added to the hypernetworks' input.

    Raises
    ------
    ValueError
        If a size does not divide by ``num_heads`` or a dial has no such setting.

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
        length_norm: LengthNorm = "sqrt",
        positions: Positions = "sinusoid",
    ) -> None:
        super().__init__()
        hypernet_size = 4 * d_model if hypernet_size is None else hypernet_size
        for name, size in (("d_model", d_model), ("hypernet_size", hypernet_size)):
            if size % num_heads:
                raise ValueError(f"{name} {size} must be a multiple of num_heads {num_heads}")
        for name, value, legal in (
            ("length_norm", length_norm, get_args(LengthNorm)),
            ("positions", positions, get_args(Positions)),
        ):
            if value not in legal:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(legal)}")
        self.num_heads, self.tied = num_heads, tied
        self.length_norm, self.positions = length_norm, positions
        head, hidden, networks = d_model // num_heads, hypernet_size // num_heads, 1 if tied else 2
        self.weight_in = nn.Parameter(torch.empty(num_heads, head, networks * head))
        self.bias_in = nn.Parameter(torch.empty(num_heads, 1, networks * head))
        self.weight_out = nn.Parameter(torch.empty(networks, num_heads, head, hidden))
        self.bias_out = nn.Parameter(torch.empty(networks, num_heads, 1, hidden))
        self.norm = nn.LayerNorm(d_model)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights by each head's own fan-in (He before the GELU, Lecun after it); zero the biases."""
        head = self.weight_in.shape[1]
        for weight, variance in ((self.weight_in, 2 / head), (self.weight_out, 1 / head)):
            bound = math.sqrt(3 * variance)
            nn.init.uniform_(weight, -bound, bound)
        nn.init.zeros_(self.bias_in)
        nn.init.zeros_(self.bias_out)
        self.norm.reset_parameters()

    def hypernetworks(self, x_btd: Tensor) -> tuple[Tensor, Tensor]:
        """Write the token-mixing MLP.

        Parameters
        ----------
        x_btd : Tensor, shape (B, T, D)

        Returns
        -------
        tuple of Tensor, each of shape (H, B * T, K)
            W1 and W2.
        """
        if self.positions == "sinusoid":
            x_btd = x_btd + sinusoids(0, x_btd.shape[1], x_btd.shape[2], x_btd)
        frames_hne = self._heads(x_btd)
        hidden = F.gelu(torch.baddbmm(self.bias_in, frames_hne, self.weight_in))
        written = [
            torch.baddbmm(bias, part, weight)
            for part, weight, bias in zip(
                hidden.chunk(len(self.weight_out), dim=-1), self.weight_out, self.bias_out, strict=True
            )
        ]
        return written[0], written[-1]

    def _heads(self, x_btd: Tensor) -> Tensor:
        """(B, T, D) -> (H, B * T, E), contiguous for the batched products."""
        heads_bthe: Tensor = x_btd.unflatten(-1, (self.num_heads, x_btd.shape[-1] // self.num_heads))
        return heads_bthe.permute(2, 0, 1, 3).flatten(1, 2)

    def _length_scale(self, x_btd: Tensor, padding: Tensor | None) -> Tensor:
        """1 / n(T) of each utterance, shape (B,)."""
        lengths_b = valid_lengths(x_btd, padding).clamp(min=1).to(x_btd.dtype)
        if self.length_norm == "none":
            return torch.ones_like(lengths_b)
        return lengths_b.rsqrt() if self.length_norm == "sqrt" else lengths_b.reciprocal()

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D).

        Masking X alone keeps padding out: its zeros drop out of W1' X, and what W2 writes at a
        padded frame is masked at the end.
        """
        batch, frames, _ = x_btd.shape
        x_btd = zero_padding(x_btd, padding)
        write1, write2 = self.hypernetworks(x_btd)
        x_nte = self._heads(x_btd).unflatten(1, (batch, frames)).flatten(0, 1)
        write1_ntk = write1.unflatten(1, (batch, frames)).flatten(0, 1)
        write2_ntk = write2.unflatten(1, (batch, frames)).flatten(0, 1)
        pooled_nke = torch.bmm(write1_ntk.transpose(1, 2), x_nte)
        scale_n = self._length_scale(x_btd, padding).to(pooled_nke.dtype).repeat(self.num_heads)
        mixed_nte = torch.bmm(write2_ntk, F.gelu(pooled_nke * scale_n[:, None, None]))
        heads_hbte = mixed_nte.unflatten(0, (self.num_heads, batch))
        return zero_padding(self.norm(heads_hbte.permute(1, 2, 0, 3).flatten(2)), padding)
