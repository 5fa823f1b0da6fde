"""Position-wise feed-forward network."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.pieces import by_rows
from hyperconformer.nn.recompute import linear_of, normed_linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "gelu": F.gelu}


class FeedForward(nn.Module):
    """Layer norm, expansion, activation, projection; the residual is the caller's.

    Parameters
    ----------
    d_model : int
        Feature size D.
    d_ffn : int
        Hidden size.
    dropout : float
        Probability after the activation; that of the output comes with the residual.
    activation : {"silu", "gelu"}
        The encoder's is SiLU, the decoder's GELU.
    eps : float
        Of the layer norm.

    Raises
    ------
    ValueError
        If there is no such activation.

    Examples
    --------
    >>> import torch
    >>> FeedForward(8, 32, dropout=0.0, activation="silu")(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        d_ffn: int,
        *,
        dropout: float,
        activation: Literal["silu", "gelu"],
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
        self.norm = nn.LayerNorm(d_model, eps=eps)
        self.expand = nn.Linear(d_model, d_ffn)
        self.activation = activation
        self.project = nn.Linear(d_ffn, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x_btd: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return by_rows(self._rows, x_btd, self.expand.out_features)

    def _rows(self, x_btd: Tensor) -> Tensor:
        hidden_btf = normed_linear(self.norm, self.expand, x_btd)
        kept = self.dropout.mask(hidden_btf)
        if self.activation == "silu" and kept is None and not torch.is_grad_enabled():
            # Nobody looks at these values again, and new memory costs as much as the activation.
            out: Tensor = self.project(F.silu(hidden_btf, inplace=True))
            return out
        scale = 1.0 if kept is None else self.dropout.scale
        weight, bias = self.project.weight, self.project.bias
        return linear_of(self._active, (hidden_btf, kept), weight, bias, scale=scale)

    def _active(self, hidden_btf: Tensor, kept: Tensor | None) -> Tensor:
        """Behind dropout, but for its scale."""
        active = ACTIVATIONS[self.activation](hidden_btf)
        return active if kept is None else active.mul_(kept)
