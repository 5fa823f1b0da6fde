"""What ``hyperconformer transcribe`` was asked to do, checked before anything large is opened."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hyperconformer.errors import InputError
from hyperconformer.inference.bundle_files import backend_of
from hyperconformer.inference.longform_options import DEFAULT, LongformOptions
from hyperconformer.inference.search_flags import check_heeded, check_helpers, given_helpers, given_options
from hyperconformer.inference.trained import weighted
from hyperconformer.inference.writers import WRITERS
from hyperconformer.transcribe.inputs import STANDARD_INPUT

ALL = "all"
TIMED = ("srt", "vtt")
"""Formats whose lines are cut between words, by their times."""


@dataclass(frozen=True)
class Settings:
    """A run of the command.

    Attributes
    ----------
    files : tuple of str
        Files, folders, ``-``.
    model : str
        Model folder.
    output_dir : str or None
        None: text goes to standard output.
    output_format : str or None
        One of writers.WRITERS, or ``all``; None: txt.
    word_timestamps, jsonl, overwrite : bool
    decode : str
    given : mapping of str to value
        Search options that were given.
    lm, ngram, hotwords, calibration : str or None
    backend : str or None
    device, precision : str
    threads : int or None
        Of all jobs together.
    jobs : int
        Processes; no more are started than there are files.
    longform : LongformOptions
    one_pass : bool
    progress : bool

    Raises
    ------
    InputError
        If two settings contradict each other, or one is of no use.

    Examples
    --------
    >>> Settings(("a.wav",), "model", output_format="all")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --output_format all writes several files: give --output_dir a folder ...
    """

    files: tuple[str, ...]
    model: str
    output_dir: str | None = None
    output_format: str | None = None
    word_timestamps: bool = False
    jsonl: bool = False
    overwrite: bool = False
    decode: str = "greedy"
    given: Mapping[str, Any] = field(default_factory=dict)
    lm: str | None = None
    ngram: str | None = None
    hotwords: str | None = None
    calibration: str | None = None
    backend: str | None = None
    device: str = "cpu"
    precision: str = "fp32"
    threads: int | None = None
    jobs: int = 1
    longform: LongformOptions = DEFAULT
    one_pass: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        check_heeded([self.decode], (*self.given, *self.helpers))
        check_helpers(self.helpers, weighted(self.model, [self.decode], self.given, lm=self.lm is not None))
        self._check_output()
        most = 4 * (os.cpu_count() or 1)
        for name, number in (("threads", self.threads), ("jobs", self.jobs)):
            if number is not None and number > most:
                raise InputError(f"--{name} {number} is more than {most}, four for each core: give fewer")
        if self.jobs > 1 and STANDARD_INPUT in self.files:
            raise InputError("--jobs is about files, standard input is one recording: leave one of them out")
        if self.precision == "fp16" and self.device == "cpu":
            raise InputError("fp16 needs a GPU: use --precision bf16, or --device cuda")
        for flag, only in (("device", "cpu"), ("precision", "fp32")):
            if getattr(self, flag) != only and (self.backend or backend_of(self.model)) == "onnxruntime":
                raise InputError(f"--{flag} is PyTorch's: leave it out for onnxruntime")

    def _check_output(self) -> None:
        if self.output_dir is None:
            if self.output_format == ALL:
                raise InputError(
                    "--output_format all writes several files: give --output_dir a folder for them"
                )
            if self.jsonl and self.output_format is not None:
                raise InputError("--jsonl and --output_format both go to standard output: give --output_dir")
            if self.overwrite:
                raise InputError("--overwrite is about files: give --output_dir the folder of them")
        elif os.path.splitext(self.output_dir)[1][1:] in WRITERS and not os.path.isdir(self.output_dir):
            raise InputError(
                f"--output_dir {self.output_dir!r} is a folder, whose files are called as the audio: name one"
            )
        shown = self.jsonl or "json" in self.formats
        cut = any(name in TIMED for name in self.formats)
        if self.word_timestamps and not (shown or cut):
            raise InputError("--word_timestamps shows in JSON: give --output_format json or --jsonl")
        if "nbest" in self.given and not shown:
            raise InputError("--nbest shows in JSON: give --output_format json or --jsonl")
        if self.calibration and not (self.word_timestamps and shown):
            raise InputError("confidences show in JSON with --word_timestamps: give these too")

    @property
    def helpers(self) -> dict[str, str]:
        """What helps the search, of what was given."""
        return given_helpers(self)

    @property
    def formats(self) -> tuple[str, ...]:
        """What is written of every recording."""
        if self.output_format == ALL:
            return tuple(WRITERS)
        return () if self.jsonl and self.output_dir is None else (self.output_format or "txt",)

    @property
    def word_times(self) -> bool:
        """Whether words must be aligned: where they are asked for, or lines are cut between them."""
        return self.word_timestamps or any(name in TIMED for name in self.formats)

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
        same = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        same["files"] = tuple(values["files"])
        chosen = {f.name: values[f.name] for f in fields(LongformOptions) if values.get(f.name) is not None}
        longform = LongformOptions(**chosen)
        if same.get("one_pass") and (unheeded := chosen.keys() & {"vad", "overlap_seconds"}):
            raise InputError(f"--{sorted(unheeded)[0]} is about cuts, --one_pass makes none: leave one out")
        return cls(
            given=given_options(values), longform=longform, progress=not arguments.noprogressbar, **same
        )
