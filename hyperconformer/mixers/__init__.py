"""Token mixers: (B, T, D) in, (B, T, D) out, one contract, one table of names."""

from hyperconformer.mixers.attention import RotaryAttention
from hyperconformer.mixers.base import TokenMixer
from hyperconformer.mixers.hypermixing import HyperMixing
from hyperconformer.mixers.identity import Identity
from hyperconformer.mixers.registry import MIXERS, make_mixer

__all__ = ["MIXERS", "HyperMixing", "Identity", "RotaryAttention", "TokenMixer", "make_mixer"]
