"""What SpeechBrain's joint search is told: the options of ours that it has, on the command line too."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.inference.search_flags import OPTION_HELP, OPTIONS, parse_option
from hyperconformer.inference.trained import trained_options

TOLD = (
    "beam_size",
    "ctc_weight",
    "temperature",
    "length_normalization",
    "min_decode_ratio",
    "max_decode_ratio",
    "eos_threshold",
)
"""The options that go with a model; language models, n-grams and hotwords do not."""


def add_search_flags(parser: argparse.ArgumentParser) -> None:
    """Declare a flag for each of :data:`TOLD`.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_search_flags(parser)
    >>> parser.parse_args(["--beam_size", "66", "--length_normalization"]).beam_size
    66
    """
    group = parser.add_argument_group(
        "search options of speechbrain",
        "by default those that the model was tested with in its training, else those in brackets",
    )
    for name in TOLD:
        default = OPTIONS[name].default
        if isinstance(default, bool):
            group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=OPTION_HELP[name])
            continue

        def value(text: str, name: str = name) -> Any:
            return parse_option(name, text)

        value.__name__ = "number"
        said = f"{OPTION_HELP[name]} ({'none' if default is None else f'{default:g}'})"
        group.add_argument(f"--{name}", type=value, metavar="X", help=said)


def search_options(model: Path, given: Mapping[str, Any]) -> SearchOptions:
    """Complete what was given by what the model was tested with.

    Parameters
    ----------
    model : Path
        Model folder.
    given : mapping of str to value
        Options by name.

    Returns
    -------
    SearchOptions

    Raises
    ------
    InputError
        If a value is out of range, or SpeechBrain's search does something else with it.

    Examples
    --------
    >>> search_options(Path("model"), {"beam_size": 4}).beam_size
    4
    >>> search_options(Path("model"), {"ctc_weight": 1.0})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: ctc_weight 1 cannot be exported, SpeechBrain's search then adds each \
step to the ones before: give --ctc_weight below 1
    """
    try:
        options = SearchOptions(**{**trained_options(model, "joint"), **given})
    except ValueError as error:
        raise InputError(str(error)) from error
    if options.ctc_weight == 1:
        raise InputError(
            "ctc_weight 1 cannot be exported, SpeechBrain's search then adds each step to the ones before: "
            "give --ctc_weight below 1"
        )
    return options
