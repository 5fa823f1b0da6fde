"""MLP-Mixer and gMLP: token mixing by weights that are tied to positions, so up to a longest utterance."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.errors import check_range
from hyperconformer.mixers.base import TokenMixer
from hyperconformer.nn.masks import zero_padding

# One minute of 40 ms frames.
MAX_FRAMES = 1500


def _check_length(frames: int, max_frames: int) -> None:
    if frames > max_frames:
        raise ValueError(f"{frames} frames are more than the {max_frames} of this mixer: raise max_frames")


class MLPMixer(TokenMixer):
    """A two-layer network along time, the same for every feature.

    Padded frames are zero before they meet their weights, so padding is invisible.

    Parameters
    ----------
    d_model, num_heads : int
        Feature size D; the heads are taken for the sake of the registry.
    max_frames : int
        Longest utterance; a longer one is refused.
    hidden : int
        Hidden units of the token-mixing network.

    Raises
    ------
    ValueError
        If a size is below one; in ``forward`` if there are more than ``max_frames`` frames.

    References
    ----------
    Tolstikhin et al., MLP-Mixer, arXiv 2105.01601.

    Examples
    --------
    >>> MLPMixer(4, 1, max_frames=10, hidden=8)(torch.zeros(2, 7, 4)).shape
    torch.Size([2, 7, 4])
    """

    def __init__(
        self, d_model: int, num_heads: int, *, max_frames: int = MAX_FRAMES, hidden: int = 64
    ) -> None:
        super().__init__()
        check_range("max_frames", max_frames, 1)
        check_range("hidden", hidden, 1)
        self.weight_in = nn.Parameter(torch.empty(max_frames, hidden))
        self.bias_in = nn.Parameter(torch.zeros(hidden))
        self.weight_out = nn.Parameter(torch.empty(hidden, max_frames))
        self.bias_out = nn.Parameter(torch.zeros(max_frames))
        nn.init.xavier_uniform_(self.weight_in)
        nn.init.xavier_uniform_(self.weight_out)

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D)."""
        frames = x_btd.shape[1]
        _check_length(frames, len(self.weight_in))
        x_bdt = zero_padding(x_btd, padding).transpose(1, 2)
        hidden_bdk = F.gelu(x_bdt @ self.weight_in[:frames] + self.bias_in)
        mixed_bdt = hidden_bdk @ self.weight_out[:, :frames] + self.bias_out[:frames]
        return zero_padding(mixed_bdt.transpose(1, 2), padding)

    @torch.no_grad()
    def quieten(self, share: float) -> None:
        """Scale the second layer's weights, in place."""
        self.weight_out.mul_(share)


class GatedMLP(TokenMixer):
    """gMLP's spatial gating: one half of the features, mixed along time by a learnt matrix, gates the other.

    Padded frames are zero before they meet their weights, so padding is invisible.

    Parameters
    ----------
    d_model, num_heads : int
        Feature size D; the heads are taken for the sake of the registry.
    max_frames : int
        Longest utterance; a longer one is refused.

    Raises
    ------
    ValueError
        If ``max_frames`` is below one; in ``forward`` if there are more frames than that.

    References
    ----------
    Liu et al., Pay attention to MLPs, arXiv 2105.08050.

    Examples
    --------
    >>> GatedMLP(4, 1, max_frames=10)(torch.zeros(2, 7, 4)).shape
    torch.Size([2, 7, 4])
    """

    def __init__(self, d_model: int, num_heads: int, *, max_frames: int = MAX_FRAMES) -> None:
        super().__init__()
        check_range("max_frames", max_frames, 1)
        self.expand = nn.Linear(d_model, 2 * d_model)
        self.norm = nn.LayerNorm(d_model)
        self.weight = nn.Parameter(torch.empty(max_frames, max_frames))
        self.bias = nn.Parameter(torch.ones(max_frames))
        self.project = nn.Linear(d_model, d_model)
        # Nearly closed to other frames at first, as in the paper: each frame gates itself by one.
        nn.init.normal_(self.weight, std=1e-3)

    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D), padding (B, T) or None -> (B, T, D)."""
        frames = x_btd.shape[1]
        _check_length(frames, len(self.weight))
        kept, gate = F.gelu(self.expand(x_btd)).chunk(2, dim=-1)
        gate_btd = zero_padding(self.norm(gate), padding)
        mixed_btd = self.weight[:frames, :frames] @ gate_btd + self.bias[:frames, None]
        return zero_padding(self.project(kept * mixed_btd), padding)

    @torch.no_grad()
    def quieten(self, share: float) -> None:
        """Scale the last product's weights, in place."""
        self.project.weight *= share
