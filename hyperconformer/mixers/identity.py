"""No mixing at all: what every mixer must beat."""

from torch import Tensor

from hyperconformer.mixers.base import TokenMixer
from hyperconformer.nn.masks import zero_padding


class Identity(TokenMixer):
    """Hand each frame to itself; the convolution module is then the encoder's only view of time.

    Parameters
    ----------
    d_model, num_heads : int
        Taken for the sake of the registry; nothing is learnt.

    Examples
    --------
    >>> import torch
    >>> Identity(4, 1)(torch.ones(1, 2, 4), torch.tensor([[False, True]]))[0, :, 0]
    tensor([1., 0.])
    """

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D)."""
        return zero_padding(x_btd, padding)
