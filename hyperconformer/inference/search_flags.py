"""The searches on a command line: their options, what helps them, and what makes no sense together."""

import argparse
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from hyperconformer.decoding.options import HEEDED, SearchOptions
from hyperconformer.errors import InputError

DECODES = tuple(HEEDED)
OPTION_HELP = {
    "beam_size": "hypotheses kept; 10 to 66",
    "nbest": "hypotheses written down for each utterance, at most beam_size",
    "ctc_weight": "share of CTC beside attention, 0 to 1",
    "lm_weight": "of the Transformer language model --lm; 0.2 to 0.8",
    "ngram_weight": "of the n-gram model --ngram; 0.2 to 0.8",
    "word_bonus": "nats for every word; 0 to 3, beside an n-gram model",
    "hotword_bonus": "nats for every character of a phrase in --hotwords; 0.5 to 2",
    "temperature": "divides the attention decoder's logits; 1 to 1.5",
    "lm_temperature": "divides the logits of --lm; 1 to 1.5",
    "length_normalization": "rank by score per token",
    "min_decode_ratio": "fewest tokens per encoder frame, 0 to 1",
    "max_decode_ratio": "most tokens per encoder frame, 0 to 1",
    "eos_threshold": "end only where its log-probability exceeds this times the best token's; 1 or more",
}
OPTIONS = {option.name: option for option in fields(SearchOptions)}
HELPERS = {"lm": "lm_weight", "ngram": "ngram_weight", "hotwords": "hotword_bonus"}
"""What helps a search, and the option that gives it a say."""
HELPER_FLAGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--lm", {"metavar": "DIR",
              "help": "folder of a Transformer language model over the same tokens; with --lm_weight, "
                      "unless training tested with one"}),
    ("--ngram", {"metavar": "FILE",
                 "help": "n-gram model: .arpa, .arpa.gz or .safetensors; with --ngram_weight"}),
    ("--hotwords", {"metavar": "FILE", "help": "phrases to expect, one a line; with --hotword_bonus"}),
)  # fmt: skip


def add_search_options(
    parser: argparse.ArgumentParser,
    names: Sequence[str] = tuple(OPTIONS),
    *,
    searches: Sequence[str] = DECODES,
    said: str = "behind each: its default, and the searches that heed it; rescore and joint begin with those "
    "that the model was tested with in its training",
) -> None:
    """Declare options of the searches, in a group of their own.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    names : sequence of str
        Options; all of them by default.
    searches : sequence of str
        Those that are named where they heed an option.
    said : str
        About the group.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_search_options(parser)
    >>> given_options(vars(parser.parse_args(["--beam_size", "66"])))
    {'beam_size': 66}
    """
    group = parser.add_argument_group("search options", said)
    for name in names:
        option = OPTIONS[name]
        remarks = [", ".join(search for search in searches if name in HEEDED[search])]
        if isinstance(option.default, bool):
            action = argparse.BooleanOptionalAction
            group.add_argument(f"--{name}", action=action, help=_remarked(OPTION_HELP[name], remarks))
            continue

        def value(text: str, name: str = name) -> Any:
            return parse_option(name, text)

        value.__name__ = "number"
        remarks.insert(0, "none" if option.default is None else f"{option.default:g}")
        group.add_argument(f"--{name}", type=value, metavar="X", help=_remarked(OPTION_HELP[name], remarks))


def _remarked(said: str, remarks: Sequence[str]) -> str:
    """A text with those remarks behind it that say something."""
    found = "; ".join(filter(None, remarks))
    return f"{said} ({found})" if found else said


def positive(text: str) -> int:
    """Read a count on the command line.

    Parameters
    ----------
    text : str

    Returns
    -------
    int

    Raises
    ------
    ArgumentTypeError
        If it is no whole number of at least 1.

    Examples
    --------
    >>> positive("3")
    3
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def given_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the search options that were given out of all arguments.

    Parameters
    ----------
    arguments : mapping of str to value

    Returns
    -------
    dict

    Examples
    --------
    >>> given_options({"beam_size": None, "nbest": 3, "device": "cpu"})
    {'nbest': 3}
    """
    return {name: arguments[name] for name in OPTIONS if arguments.get(name) is not None}


def given_helpers(holder: object) -> dict[str, str]:
    """Pick what helps a search out of what holds it, :data:`HELPERS` by their names.

    Parameters
    ----------
    holder : object
        With an attribute for each, None where it was not given.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> given_helpers(argparse.Namespace(lm="model", ngram=None, hotwords=None))
    {'lm': 'model'}
    """
    return {name: getattr(holder, name) for name in HELPERS if getattr(holder, name) is not None}


def check_heeded(decodes: Sequence[str], names: Collection[str]) -> None:
    """Refuse what no search that is asked for would heed.

    Parameters
    ----------
    decodes : sequence of str
        Searches.
    names : collection of str
        Options and helpers that were given.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_heeded(["greedy"], ["beam_size"])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --beam_size does nothing in greedy search: leave it out, or --decode \
prefix or rescore or joint
    """
    for name in names:
        option = HELPERS.get(name, name)
        if not any(option in HEEDED[search] for search in decodes):
            heeding = " or ".join(search for search in DECODES if option in HEEDED[search])
            raise InputError(
                f"--{name} does nothing in {' or '.join(decodes)} search: leave it out, or --decode {heeding}"
            )


def check_helpers(helpers: Collection[str], weighted: Collection[str]) -> None:
    """Refuse a helper without a weight, and a weight without its helper.

    Parameters
    ----------
    helpers : collection of str
        Those of :data:`HELPERS` that were given.
    weighted : collection of str
        Options that were given a value other than zero.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_helpers(["lm"], [])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --lm says nothing without --lm_weight: give that too
    """
    for helper, option in HELPERS.items():
        if option in weighted and helper not in helpers:
            raise InputError(f"--{option} needs --{helper}")
        if helper in helpers and option not in weighted:
            raise InputError(f"--{helper} says nothing without --{option}: give that too")
    if "lm_temperature" in weighted and "lm" not in helpers:
        raise InputError("--lm_temperature needs --lm")


def parse_option(name: str, text: str) -> Any:
    """Read the value of a search option.

    Parameters
    ----------
    name : str
    text : str

    Returns
    -------
    int, float or bool

    Raises
    ------
    ValueError
        If it is no such value.

    Examples
    --------
    >>> parse_option("beam_size", "66"), parse_option("eos_threshold", "1.5")
    (66, 1.5)
    >>> parse_option("length_normalization", "true")
    True
    """
    default = OPTIONS[name].default
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise ValueError(f"{name} is true or false, got {text!r}")
        return text == "true"
    number = int(text) if isinstance(default, int) else float(text)
    if math.isnan(number):
        raise ValueError(f"{name} is a number, got {text!r}")
    return number
