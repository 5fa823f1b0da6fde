"""The only table from a mixer's name to its class."""

import inspect
from collections.abc import Mapping
from typing import Any

from hyperconformer.errors import check_range
from hyperconformer.hints import expected, fits
from hyperconformer.mixers.attention import RotaryAttention
from hyperconformer.mixers.base import TokenMixer
from hyperconformer.mixers.fourier import Fourier
from hyperconformer.mixers.hypermixing import HyperMixing
from hyperconformer.mixers.identity import Identity
from hyperconformer.mixers.mlp import GatedMLP, MLPMixer
from hyperconformer.mixers.relative import RelativeAttention
from hyperconformer.mixers.summary import SummaryMixing

MIXERS: Mapping[str, type[TokenMixer]] = {
    "hypermixing": HyperMixing,
    "attention": RotaryAttention,
    "relative": RelativeAttention,
    "summary": SummaryMixing,
    "fourier": Fourier,
    "mlp": MLPMixer,
    "gmlp": GatedMLP,
    "identity": Identity,
}
LIMITS = {int: (1, 2**20), float: (0.0, 1.0)}
"""Least and greatest value of an option that is a number, by its type: sizes and shares."""


def mixer_options(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Complete the options of a mixer by its defaults, so that what is written down stays what it was.

    Parameters
    ----------
    name : str
        A key of :data:`MIXERS`.
    options : mapping or None
        Those that are not to be the default.

    Returns
    -------
    dict
        All of them.

    Raises
    ------
    ValueError
        If there is no such mixer, it has no such option, or a value is of another type or out of range.

    Examples
    --------
    >>> mixer_options("gmlp"), mixer_options("attention", {"dropout": 0.1})
    ({'max_frames': 1500}, {'dropout': 0.1})
    """
    if name not in MIXERS:
        raise ValueError(f"mixer {name!r:.40} is not one of {', '.join(sorted(MIXERS))}")
    parameters = inspect.signature(MIXERS[name]).parameters.values()
    known = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    options = dict(options or {})
    for option, value in options.items():
        if option not in known:
            legal = ", ".join(known) or "it takes none"
            raise ValueError(f"mixer {name!r} has no option {option!r:.40} (options: {legal})")
        hint = known[option].annotation
        if not fits(value, hint):
            raise ValueError(f"{option} of mixer {name!r} must be {expected(hint)}, got {value!r:.40}")
        if type(value) in LIMITS:
            check_range(option, value, *LIMITS[float if hint is float else int])
    return {option: parameter.default for option, parameter in known.items()} | options


def make_mixer(
    name: str, d_model: int, num_heads: int, options: Mapping[str, Any] | None = None
) -> TokenMixer:
    """Build a mixer by name.

    Parameters
    ----------
    name : str
        A key of :data:`MIXERS`.
    d_model : int
        Feature size D.
    num_heads : int
        Heads H.
    options : mapping or None
        Further keyword arguments of the class.

    Returns
    -------
    TokenMixer

    Raises
    ------
    ValueError
        If there is no such mixer, or the mixer has no such option.

    Examples
    --------
    >>> make_mixer("hypermixing", 8, 2, {"tied": True}).tied
    True
    >>> make_mixer("atention", 8, 2)
    Traceback (most recent call last):
        ...
    ValueError: mixer 'atention' is not one of attention, fourier, gmlp, hypermixing, identity, mlp, \
relative, summary
    """
    complete = mixer_options(name, options)
    return MIXERS[name](d_model, num_heads, **complete)
