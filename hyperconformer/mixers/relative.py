"""Self-attention with relative positions: the mixer that HyperMixing was first measured against."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.mixers.base import TokenMixer
from hyperconformer.nn.positions import sinusoids


class RelativeAttention(TokenMixer):
    """Multi-head self-attention whose scores also ask how far apart two frames are.

    With queries q, keys k and the sinusoids R of a distance in frames, frame t hears frame s by

        ((q_t + u) . k_s + (q_t + v) . P R(|t - s|)) / sqrt(D)

    where the vectors u and v and the matrix P are learnt. In two things it follows not the paper but
    SpeechBrain, whose Conformers it can hold: a distance has no direction (the paper's R(t - s) tells before
    from after), and the divisor is the square root of the whole feature size, not of a head's. Distances are
    computed on the fly; time and memory are quadratic in length.

    Parameters
    ----------
    d_model : int
        Feature size D, even.
    num_heads : int
        Heads H.
    dropout : float
        Probability on the attention weights.

    Raises
    ------
    ValueError
        If ``d_model`` is odd or not a multiple of ``num_heads``.

    References
    ----------
    Dai et al., Transformer-XL, arXiv 1901.02860; Gulati et al., Conformer, arXiv 2005.08100.

    Examples
    --------
    >>> RelativeAttention(8, 2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if d_model % 2 or d_model % num_heads:
            raise ValueError(f"d_model {d_model} must be even and a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(d_model, 3 * d_model, bias=False)
        self.position = nn.Linear(d_model, d_model, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(num_heads, d_model // num_heads))
        self.position_bias = nn.Parameter(torch.zeros(num_heads, d_model // num_heads))
        self.out = nn.Linear(d_model, d_model)
        self.scale = d_model**-0.5
        self.dropout = dropout

    def _position_scores(self, query_bhte: Tensor, like: Tensor) -> Tensor:
        """(B, H, T, E) -> (B, H, T, T): the part of the scores that asks for the distance.

        Column c of the product with all distances stands for t - s = T - 1 - c, so frame t wants columns
        T - 1 - t to 2 T - 2 - t: each row's window begins one column before that of the row above. With an
        even number of columns, 2 T, rows of 2 T - 1 cells read from cell T - 1 on begin with the windows, so
        they are a view.
        """
        frames = query_bhte.shape[2]
        near_rd = self.position(sinusoids(0, frames + 1, self.position.in_features, like))
        both_rd = torch.cat((near_rd[:-1].flip(0), near_rd[1:]))
        key_hre = both_rd.unflatten(-1, (self.num_heads, -1)).transpose(0, 1)
        scores = (query_bhte + self.position_bias.unsqueeze(1)) * self.scale @ key_hre.transpose(1, 2)
        width = 2 * frames - 1
        rows: Tensor = scores.flatten(2)[..., frames - 1 : frames - 1 + frames * width]
        windows: Tensor = rows.unflatten(-1, (frames, width))
        return windows[..., :frames]

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D)."""
        heads = self.query_key_value(x_btd).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        scores_bhts = self._position_scores(query, x_btd)
        if padding is not None:
            scores_bhts = scores_bhts.masked_fill(padding[:, None, None, :], -torch.inf)
        mixed_bhte = F.scaled_dot_product_attention(
            query + self.content_bias.unsqueeze(1),
            key,
            value,
            attn_mask=scores_bhts,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        out_btd: Tensor = self.out(mixed_bhte.transpose(1, 2).flatten(2))
        # Filled, not multiplied: where all is padding, attention may give NaN.
        return out_btd if padding is None else out_btd.masked_fill(padding.unsqueeze(-1), 0.0)

    @torch.no_grad()
    def quieten(self, share: float) -> None:
        """Scale the last product's weights, in place."""
        self.out.weight *= share
