"""Position-wise feed-forward network."""

from collections.abc import Callable

from torch import Tensor, nn


class FeedForward(nn.Module):
    """Layer norm, expansion, activation, projection; the residual is the caller's.

    Parameters
    ----------
    d_model : int
        Feature size D.
    d_ffn : int
        Hidden size.
    dropout : float
        Probability after the activation and after the projection.
    activation : callable
        Module constructor: SiLU in the encoder, GELU in the decoder.
    eps : float
        Of the layer norm.

    Examples
    --------
    >>> import torch
    >>> FeedForward(8, 32, dropout=0.0, activation=nn.SiLU)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        d_ffn: int,
        *,
        dropout: float,
        activation: Callable[[], nn.Module],
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model, eps=eps)
        self.expand = nn.Linear(d_model, d_ffn)
        self.activation = activation()
        self.project = nn.Linear(d_ffn, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_btd: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        hidden = self.dropout(self.activation(self.expand(self.norm(x_btd))))
        out: Tensor = self.dropout(self.project(hidden))
        return out
