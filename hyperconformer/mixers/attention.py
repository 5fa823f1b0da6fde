"""Self-attention with rotary positions: the Conformer's mixer, quadratic in length."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.mixers.base import TokenMixer
from hyperconformer.nn.positions import rotate


class RotaryAttention(TokenMixer):
    """Multi-head self-attention through PyTorch's fused kernel, positions by rotation.

    Parameters
    ----------
    d_model : int
        Feature size D.
    num_heads : int
        Heads H; D / H must be even.
    dropout : float
        Probability on the attention weights.

    Raises
    ------
    ValueError
        If ``d_model`` is not an even multiple of ``num_heads``.

    References
    ----------
    Su et al., RoFormer, arXiv 2104.09864.

    Examples
    --------
    >>> RotaryAttention(8, 2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if d_model % (2 * num_heads):
            raise ValueError(f"d_model {d_model} must be an even multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model)
        self.dropout = dropout

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D)."""
        heads = self.query_key_value(x_btd).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed_bhte = F.scaled_dot_product_attention(
            rotate(query),
            rotate(key),
            value,
            attn_mask=None if padding is None else ~padding[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        out_btd: Tensor = self.out(mixed_bhte.transpose(1, 2).flatten(2))
        # Filled, not multiplied: where all is padding, attention may give NaN.
        return out_btd if padding is None else out_btd.masked_fill(padding.unsqueeze(-1), 0.0)

    @torch.no_grad()
    def quieten(self, share: float) -> None:
        """Scale the last product's weights, in place."""
        self.out.weight *= share
