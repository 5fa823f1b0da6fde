"""The search options that a model was tested with when it was trained: the defaults of its later tests."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.inference.bundle_files import METRICS, read_json

NAMES = {
    "beam_size": "beam_size",
    "ctc_weight_decode": "ctc_weight",
    "max_decode_ratio": "max_decode_ratio",
    "length_normalization": "length_normalization",
}
"""A recipe's names to those of the searches."""
WITH_LM = {"lm_weight": "lm_weight", "lm_temperature": "lm_temperature"}
"""Likewise, where a language model is there to be heard."""
SEARCHES = ("rescore", "joint")
"""Those that ask attention, which recipes tune."""
ALWAYS = ("beam_size", "ctc_weight")
"""What is worth saying though it is nobody's choice."""


def trained_options(model: Path, decode: str, *, lm: bool = False) -> dict[str, Any]:
    """Read which options training's own test gave to a search, or else to its neighbour that asks attention.

    Parameters
    ----------
    model : Path
        Model folder.
    decode : str
        Name of the search.
    lm : bool
        A language model is at hand: its weight and temperature count too.

    Returns
    -------
    dict
        Options of :class:`~hyperconformer.decoding.options.SearchOptions`; empty if the folder's
        ``metrics.json`` is missing, somebody else's or has a value out of range, or training tested no such
        search.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tested = '{"decode": {"greedy": {}, "joint": {"ctc_weight_decode": 0.6, "lm_weight": 0.5}}}'
    ...     _ = (Path(folder) / METRICS).write_text(tested)
    ...     for lm in (False, True):
    ...         trained_options(Path(folder), "joint", lm=lm), trained_options(Path(folder), "prefix", lm=lm)
    ({'ctc_weight': 0.6}, {})
    ({'ctc_weight': 0.6, 'lm_weight': 0.5}, {})
    """
    if decode not in SEARCHES:
        return {}
    names = NAMES | WITH_LM if lm else NAMES
    try:
        tested = read_json(model / METRICS)["decode"]
        search = next(search for search in (decode, *SEARCHES) if search in tested)
        found = {names[name]: value for name, value in tested[search].items() if name in names}
        plain = asdict(SearchOptions(**found))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return {}
    fit = all(_alike(plain[name], getattr(SearchOptions, name)) for name in found)
    return found if fit else {}


def weighted(model: str, decodes: Sequence[str], given: Mapping[str, Any], *, lm: bool = False) -> set[str]:
    """Name the options that have a value other than zero, by choice or else by the model's own.

    Parameters
    ----------
    model : str
        Model folder.
    decodes : sequence of str
        Searches.
    given : mapping of str to value
        Options that were chosen.
    lm : bool
        A language model is at hand.

    Returns
    -------
    set of str

    Examples
    --------
    >>> weighted("no/such/model", ["joint"], {"lm_weight": 0.5, "hotword_bonus": 0.0})
    {'lm_weight'}
    """
    own: dict[str, Any] = {}
    for decode in decodes:
        own |= {
            name: own.get(name) or value
            for name, value in trained_options(Path(model), decode, lm=lm).items()
        }
    return {name for name, value in {**own, **given}.items() if value}


def _alike(value: Any, default: Any) -> bool:
    """Whether a value is of its default's type; whole numbers are numbers too."""
    return type(value) is type(default) or (type(default) is float and type(value) is int)


def dials(options: SearchOptions, heeded: Collection[str]) -> dict[str, Any]:
    """What a search's result depends on: its options but for those that nobody chose.

    Parameters
    ----------
    options : SearchOptions
    heeded : collection of str
        Options that the search knows.

    Returns
    -------
    dict

    Examples
    --------
    >>> dials(SearchOptions(temperature=1.2, lm_temperature=1.1), {"beam_size", "temperature"})
    {'beam_size': 10, 'temperature': 1.2}
    """
    plain = SearchOptions()
    return {
        name: value
        for name, value in asdict(options).items()
        if name in heeded and (name in ALWAYS or value != getattr(plain, name))
    }


def spell(decode: str, chosen: dict[str, Any]) -> str:
    """Say in a line how a search was set.

    Parameters
    ----------
    decode : str
    chosen : dict
        Of :func:`dials`.

    Returns
    -------
    str

    Examples
    --------
    >>> spell("joint", {"beam_size": 66, "length_normalization": True}), spell("greedy", {})
    ('joint: beam_size 66, length_normalization true', 'greedy: no options')
    """
    # As the command line has them.
    spelt = [f"{name} {str(value).lower() if value is True else value}" for name, value in chosen.items()]
    return f"{decode}: {', '.join(spelt) or 'no options'}"
