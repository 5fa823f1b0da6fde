"""Multi-head attention with its projections apart, so that keys and values can be kept."""

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Scaled dot-product attention whose keys and values are projected once and reused.

    Parameters
    ----------
    d_model : int
        Feature size D.
    num_heads : int
        Heads H; D is split evenly among them.
    dropout : float
        Probability on the attention weights.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``num_heads``.

    References
    ----------
    Vaswani et al., Attention is all you need, arXiv 1706.03762.

    Examples
    --------
    >>> import torch
    >>> attention = Attention(8, num_heads=2, dropout=0.0)
    >>> memory = torch.zeros(1, 7, 8)
    >>> key, value = attention.keys_values(memory)
    >>> attention(torch.zeros(1, 3, 8), key, value).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, d_model: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} must be a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query = nn.Linear(d_model, d_model)
        self.key_value = nn.Linear(d_model, 2 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.dropout = dropout

    def _heads(self, x_btd: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, D / H)."""
        heads_bthe: Tensor = x_btd.unflatten(-1, (self.num_heads, -1))
        return heads_bthe.transpose(1, 2)

    def keys_values(self, x_btd: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> keys and values, each (B, H, T, D / H)."""
        key, value = self.key_value(x_btd).chunk(2, dim=-1)
        return self._heads(key), self._heads(value)

    def forward(
        self,
        x_bld: Tensor,
        key_bhte: Tensor,
        value_bhte: Tensor,
        *,
        visible: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Attend from x to given keys and values.

        Parameters
        ----------
        x_bld : Tensor, shape (B, L, D)
            Gives the queries.
        key_bhte, value_bhte : Tensor, shape (B, H, T, D / H)
            From :meth:`keys_values`.
        visible : Tensor, broadcastable to (B, H, L, T), bool, or None
            True where a query may look.
        causal : bool
            Each query sees only keys up to its own position (needs L = T).

        Returns
        -------
        Tensor, shape (B, L, D)
        """
        mixed_bhle = F.scaled_dot_product_attention(
            self._heads(self.query(x_bld)),
            key_bhte,
            value_bhte,
            attn_mask=visible,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        out: Tensor = self.out(mixed_bhle.transpose(1, 2).flatten(2))
        return out
