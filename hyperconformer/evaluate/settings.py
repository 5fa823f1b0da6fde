"""What ``hyperconformer evaluate`` was asked to do, checked before anything large is opened."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.inference.search_flags import (
    OPTIONS,
    check_heeded,
    check_helpers,
    given_helpers,
    given_options,
    parse_option,
)
from hyperconformer.inference.trained import trained_options, weighted


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
        helped = given_helpers(self)
        check_heeded(self.decode, (*self.given, *self.sweep, *helped))
        chosen = {**self.given, **{name: any(values) for name, values in self.sweep.items()}}
        check_helpers(helped, weighted(self.model, self.decode, chosen, lm=self.lm is not None))
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
        given = given_options(values)
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
