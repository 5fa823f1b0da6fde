"""SummaryMixing: every frame hears one mean of them all, linear in length."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.mixers.base import TokenMixer
from hyperconformer.nn.masks import valid_lengths, zero_padding


class SummaryMixing(TokenMixer):
    """Combine a transformation of each frame with the mean of another over the utterance.

    Written from the paper: y_t = c(f(x_t), mean_s s(x_s)), where the local transformation f, the summary s
    and the combination c are each a linear layer and a GELU. f and s work head by head, c joins the heads.

    Parameters
    ----------
    d_model : int
        Feature size D.
    num_heads : int
        Heads of f and s.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``num_heads``.

    References
    ----------
    Parcollet et al., SummaryMixing, arXiv 2307.07421.

    Examples
    --------
    >>> SummaryMixing(8, 2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} must be a multiple of num_heads {num_heads}")
        head = d_model // num_heads
        self.num_heads = num_heads
        self.weight = nn.Parameter(torch.empty(num_heads, head, 2 * head))
        self.bias = nn.Parameter(torch.zeros(num_heads, 1, 2 * head))
        self.combine = nn.Linear(2 * d_model, d_model)
        nn.init.normal_(self.weight, std=(2 / head) ** 0.5)

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D)."""
        heads_bthe = x_btd.unflatten(-1, (self.num_heads, x_btd.shape[-1] // self.num_heads))
        both = F.gelu(torch.baddbmm(self.bias, heads_bthe.permute(2, 0, 1, 3).flatten(1, 2), self.weight))
        local, summary = both.unflatten(1, x_btd.shape[:2]).permute(1, 2, 0, 3).chunk(2, dim=-1)
        frames_b11 = valid_lengths(x_btd, padding).clamp(min=1)[:, None, None]
        mean_b1d = zero_padding(summary.flatten(2), padding).sum(dim=1, keepdim=True) / frames_b11
        of_local, of_mean = self.combine.weight.chunk(2, dim=1)
        combined = F.linear(local.flatten(2), of_local) + F.linear(mean_b1d, of_mean, self.combine.bias)
        return zero_padding(F.gelu(combined), padding)

    @torch.no_grad()
    def quieten(self, share: float) -> None:
        """Scale the combination's weights, in place."""
        self.combine.weight *= share
