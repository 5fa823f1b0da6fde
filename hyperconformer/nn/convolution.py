"""The Conformer's convolution module, blind to padding."""

import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.nn.depthwise import depthwise
from hyperconformer.nn.masks import zero_padding
from hyperconformer.nn.pieces import by_rows
from hyperconformer.nn.recompute import normed_linear


class ConvolutionModule(nn.Module):
    """Layer norm, gated pointwise product, depthwise convolution, layer norm, SiLU, pointwise product.

    Frames are masked *before* the depthwise convolution: an utterance sees zeros beyond its own end,
    alone or in a batch. The layer norm stands where the paper has batch norm, whose statistics
    would make utterances of a batch depend on each other.

    Parameters
    ----------
    d_model : int
        Feature size D.
    kernel_size : int
        Odd width of the depthwise convolution, in frames.

    Raises
    ------
    ValueError
        If ``kernel_size`` is even.

    References
    ----------
    Gulati et al., Conformer, arXiv 2005.08100.

    Examples
    --------
    >>> import torch
    >>> ConvolutionModule(8, kernel_size=31)(torch.zeros(2, 5, 8), None).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, *, kernel_size: int) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to stay centred on its frame, got {kernel_size}")
        self.norm = nn.LayerNorm(d_model)
        self.gate = nn.Linear(d_model, 2 * d_model)
        self.depthwise = nn.Conv1d(d_model, d_model, kernel_size, padding=kernel_size // 2, groups=d_model)
        self.norm_after = nn.LayerNorm(d_model)
        self.project = nn.Linear(d_model, d_model)

    def forward(self, x_btd: Tensor, padding: Tensor | None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D)."""
        gated = zero_padding(by_rows(self._gated, x_btd, self.gate.out_features), padding)
        mixed = depthwise(gated, self.depthwise.weight, self.depthwise.bias)
        return by_rows(self._projected, mixed, self.project.out_features)

    def _gated(self, x_btd: Tensor) -> Tensor:
        return F.glu(normed_linear(self.norm, self.gate, x_btd), dim=-1)

    def _projected(self, x_btd: Tensor) -> Tensor:
        return normed_linear(self.norm_after, self.project, x_btd, F.silu)
