"""Token mixers: (B, T, D) in, (B, T, D) out, one contract, one table of names."""

from hyperconformer.mixers.attention import RotaryAttention
from hyperconformer.mixers.base import TokenMixer
from hyperconformer.mixers.fourier import Fourier
from hyperconformer.mixers.hypermixing import HyperMixing
from hyperconformer.mixers.identity import Identity
from hyperconformer.mixers.mlp import GatedMLP, MLPMixer
from hyperconformer.mixers.registry import MIXERS, make_mixer, mixer_options
from hyperconformer.mixers.relative import RelativeAttention
from hyperconformer.mixers.summary import SummaryMixing

__all__ = [
    "MIXERS",
    "Fourier",
    "GatedMLP",
    "HyperMixing",
    "Identity",
    "MLPMixer",
    "RelativeAttention",
    "RotaryAttention",
    "SummaryMixing",
    "TokenMixer",
    "make_mixer",
    "mixer_options",
]
