"""Multi-head attention with its projections apart, so that keys and values can be kept."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.prefix_tree import KeysValues


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
        self.dropout = Dropout(dropout)

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
        query_bhle = self._heads(self.query(x_bld))
        probability = self.dropout.p if self.training else 0.0
        if probability and x_bld.device.type == "cpu" and not torch.compiler.is_compiling():
            mixed_bhle = self._dropped(query_bhle, key_bhte, value_bhte, visible, causal)
        else:
            mixed_bhle = F.scaled_dot_product_attention(
                query_bhle, key_bhte, value_bhte, attn_mask=visible, dropout_p=probability, is_causal=causal
            )
        out: Tensor = self.out(mixed_bhle.transpose(1, 2).flatten(2))
        return out

    def onwards(
        self, x_bld: Tensor, before: KeysValues | None, seen: Tensor | None
    ) -> tuple[Tensor, KeysValues]:
        """Attend from new tokens to themselves and to those before them.

        Parameters
        ----------
        x_bld : Tensor, shape (B, L, D)
            New tokens.
        before : pair of Tensor, shape (B, H, N, E), or None
            Keys and values of the tokens before, in any order.
        seen : Tensor, shape (B, L, N + L), bool, or None
            True where a token may look; None if the new ones are a whole sentence, in its order.

        Returns
        -------
        Tensor, shape (B, L, D)
        pair of Tensor, shape (B, H, N + L, E)
            Keys and values of all.
        """
        key, value = self.keys_values(x_bld)
        if before is not None:
            key, value = torch.cat((before[0], key), dim=2), torch.cat((before[1], value), dim=2)
        visible = None if seen is None else seen.unsqueeze(1)
        return self(x_bld, key, value, visible=visible, causal=seen is None), (key, value)

    def _dropped(
        self,
        query_bhle: Tensor,
        key_bhte: Tensor,
        value_bhte: Tensor,
        visible: Tensor | None,
        causal: bool,
    ) -> Tensor:
        """The same in plain products, as PyTorch does it on a CPU too, but with cheaper masks."""
        scores_bhlt = (query_bhle / math.sqrt(query_bhle.shape[-1])) @ key_bhte.transpose(2, 3)
        if causal:
            visible = torch.ones(scores_bhlt.shape[2:], dtype=torch.bool).tril()
        if visible is not None:
            # Adding is cheaper than filling in, as the mask is small.
            scores_bhlt = scores_bhlt + torch.zeros_like(visible, dtype=scores_bhlt.dtype).masked_fill(
                ~visible, -torch.inf
            )
        weights_bhlt: Tensor = self.dropout(scores_bhlt.softmax(dim=-1))
        return weights_bhlt @ value_bhte
