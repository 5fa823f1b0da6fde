"""What ``hyperconformer evaluate`` was asked to do, checked before anything large is opened."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from hyperconformer.decoding.options import HEEDED, SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.evaluate.trained import trained_options

DECODES = tuple(HEEDED)
OPTION_HELP = {
    "beam_size": "hypotheses kept; 10 to 66",
    "nbest": "hypotheses written down for each utterance, at most beam_size; needs --output_dir",
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


@dataclass(frozen=True)
class Settings:
    """A test.

    Attributes
    ----------
    model : str
        Model folder.
    data_folder : str
    splits, decode : tuple of str
    given : mapping of str to value
        Search options that were given.
    sweep : mapping of str to tuple
        Search options, each with the values to try; empty for a plain test.
    lm, ngram, hotwords : str or None
    device, precision : str
    batch_seconds : float
        Padded audio of a batch.
    jobs : int
        Processes.
    limit : int or None
        Utterances of each split.
    word_timestamps, fit_calibration : bool
    calibration : str or None
    output_dir, record : str or None
    progress : bool
        Show bars.
    source : str
        What the model was asked for by, where that is not its folder.

    Raises
    ------
    InputError
        If two settings contradict each other, or one is of no use.

    Examples
    --------
    >>> Settings("model", "data", ("dev",), ("joint",), given={"lm_weight": 0.5})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --lm_weight needs --lm
    """

    model: str
    data_folder: str
    splits: tuple[str, ...]
    decode: tuple[str, ...] = ("greedy",)
    given: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    lm: str | None = None
    ngram: str | None = None
    hotwords: str | None = None
    device: str = "cpu"
    precision: str = "fp32"
    batch_seconds: float = 60.0
    jobs: int = 1
    limit: int | None = None
    word_timestamps: bool = False
    fit_calibration: bool = False
    calibration: str | None = None
    output_dir: str | None = None
    record: str | None = None
    progress: bool = True
    source: str = ""

    def __post_init__(self) -> None:
        if not self.batch_seconds > 0:
            raise InputError(f"--batch_seconds {self.batch_seconds:g} must be greater than 0")
        if self.precision == "fp16" and self.device == "cpu":
            raise InputError("fp16 needs a GPU: use --precision bf16, or --device cuda")
        for flag, names in (("--splits", self.splits), ("--decode", self.decode)):
            if twice := [name for name in names if names.count(name) > 1]:
                raise InputError(f"{flag} names {twice[0]} twice: name it once")
        for option in self.sweep:
            if option in self.given:
                raise InputError(f"--{option} is given and swept: leave one out")
        self._check_heeded()
        self._check_helpers()
        if "lm_temperature" in (*self.given, *self.sweep) and self.lm is None:
            raise InputError("--lm_temperature needs --lm")
        if self.sweep and (self.word_timestamps or self.output_dir or self.record or "nbest" in self.given):
            raise InputError(
                "--sweep prints a table and nothing else: leave out --nbest, --word_timestamps, --output_dir "
                "and --record"
            )
        if (self.fit_calibration or self.calibration) and not self.word_timestamps:
            raise InputError("confidences are written with --word_timestamps: give that too")
        if self.fit_calibration and not self.output_dir:
            raise InputError("--fit_calibration needs --output_dir, for its file")
        if self.fit_calibration and self.calibration:
            raise InputError("--fit_calibration learns from plain confidences: leave out --calibration")
        for decode in self.decode:
            self.combinations(decode)
        for asked, flag in (("nbest" in self.given, "nbest"), (self.word_timestamps, "word_timestamps")):
            if asked and not self.output_dir:
                raise InputError(f"--{flag} is written to files: give --output_dir a folder for them")

    def _check_helpers(self) -> None:
        """Refuse help that is not heard, and weights of help that is not there."""
        for helper, option in HELPERS.items():
            weights = [*self.sweep.get(option, ()), self.given.get(option, 0)]
            if option not in {*self.given, *self.sweep}:
                weights += [self.trained(decode).get(option, 0) for decode in self.decode]
            if any(weights) and getattr(self, helper) is None:
                raise InputError(f"--{option} needs --{helper}")
            if getattr(self, helper) is not None and not any(weights):
                raise InputError(f"--{helper} says nothing without --{option}: give that too")

    def _check_heeded(self) -> None:
        """Refuse what no search that is asked for would heed."""
        helped = [helper for helper in HELPERS if getattr(self, helper) is not None]
        for name in (*self.given, *self.sweep, *helped):
            option = HELPERS.get(name, name)
            if not any(option in HEEDED[search] for search in self.decode):
                heeding = " or ".join(search for search in DECODES if option in HEEDED[search])
                raise InputError(
                    f"--{name} does nothing in {' or '.join(self.decode)} search: leave it out, or --decode "
                    f"{heeding}"
                )

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Settings":
        """Take what the command line was given.

        Parameters
        ----------
        arguments : argparse.Namespace
            As ``command.add_arguments`` declares them.

        Returns
        -------
        Settings

        Raises
        ------
        InputError
            If something cannot be used.
        """
        values = vars(arguments)
        given = {name: values[name] for name in OPTIONS if values[name] is not None}
        same = {f.name: values[f.name] for f in fields(cls) if f.name in values and f.name != "sweep"}
        same |= {name: tuple(values[name]) for name in ("splits", "decode")}
        swept = [_swept(text) for text in arguments.sweep]
        names = [name for name, _ in swept]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"--sweep {twice[0]}=... is given twice: name all of its values in one")
        sweep = dict(swept)
        return cls(given=given, sweep=sweep, progress=not arguments.noprogressbar, **same)

    def trained(self, decode: str) -> dict[str, Any]:
        """The options that the model was tested with in its training, of a search that has such."""
        return trained_options(Path(self.model), decode, lm=self.lm is not None)

    def combinations(self, decode: str = "") -> list[SearchOptions]:
        """Every combination of the swept options, beside those that were given; one without a sweep.

        Parameters
        ----------
        decode : str
            Search whose defaults are those that the model was tested with; of any other they are
            :class:`~hyperconformer.decoding.options.SearchOptions`'s.

        Returns
        -------
        list of SearchOptions

        Raises
        ------
        InputError
            If a value is out of range.

        Examples
        --------
        >>> settings = Settings("model", "data", ("dev",), ("joint",), sweep={"ctc_weight": (0.2, 0.4)})
        >>> [options.ctc_weight for options in settings.combinations()]
        [0.2, 0.4]
        """
        trained = self.trained(decode)
        try:
            return [
                SearchOptions(**{**trained, **self.given, **dict(zip(self.sweep, values, strict=True))})
                for values in product(*self.sweep.values())
            ]
        except ValueError as error:
            raise InputError(str(error)) from error


def _swept(text: str) -> tuple[str, tuple[Any, ...]]:
    """An argument like ``lm_weight=0,0.3,0.6``."""
    name, _, listed = text.partition("=")
    if name not in OPTIONS or name == "nbest":
        legal = ", ".join(option for option in OPTIONS if option != "nbest")
        raise InputError(f"--sweep {text}: write NAME=VALUE,VALUE,... where NAME is one of {legal}")
    try:
        values = tuple(parse_option(name, value) for value in listed.split(","))
    except ValueError:
        raise InputError(f"--sweep {text}: {name} takes numbers, joined by commas") from None
    if len(set(values)) < len(values):
        raise InputError(f"--sweep {text} has a value twice: give it once")
    return name, values


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
