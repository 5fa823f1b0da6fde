"""The cases of ``bench transcribe`` from its arguments."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from hyperconformer.audio import audio_seconds, read_audio
from hyperconformer.bench.cases import PARTS, Case, Part
from hyperconformer.bench.options import items, length
from hyperconformer.bench.transcribing import (
    BATCHED,
    FIRST_TRANSCRIPT,
    HELP,
    ONE_BY_ONE,
    ONE_PASS,
    SEGMENTED,
    SHARED,
    Transcribing,
    audio_files,
    in_turns,
)
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.transcriber import Transcriber

PAUSE_SECONDS = 0.5
CLIP_SECONDS = 5.0
ONNXRUNTIME, INT8 = "onnxruntime", "int8"


@dataclass(frozen=True)
class Model:
    """What hears.

    Attributes
    ----------
    name : str
        Of the system, before what it does; empty for PyTorch.
    folder, backend : str
    int8 : bool

    Examples
    --------
    >>> Model("onnxruntime", "folder", "onnxruntime").int8
    False
    """

    name: str
    folder: str
    backend: str
    int8: bool = False


def join(paths: Sequence[str], seconds: float, out: Path) -> tuple[int, float]:
    """Write recordings one after the other, again and again, with pauses of digital silence.

    Parameters
    ----------
    paths : sequence of str
        Audio files.
    seconds : float
        Least length; the last file is not cut.
    out : Path
        A FLAC file.

    Returns
    -------
    number : int
        Files that were joined.
    seconds : float
        Length that came of it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/a.wav", np.zeros(16_000), SAMPLE_RATE)
    ...     join([f"{folder}/a.wav"], 3.1, Path(folder, "long.flac"))
    (3, 4.5)
    """
    pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
    number = written = 0
    with soundfile.SoundFile(out, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        for path in cycle(paths):
            for samples in (read_audio(path), pause):
                file.write(samples)
                written += len(samples)
            number += 1
            if written >= seconds * SAMPLE_RATE:
                break
    return number, written / SAMPLE_RATE


def _parts(arguments: argparse.Namespace) -> list[str]:
    legal = PARTS["transcribe"]
    parts = items(arguments.parts or [part for part in legal if part != "long" or arguments.long])
    for part in parts:
        if part not in legal:
            raise InputError(f"--parts {part}: choose from {', '.join(legal)}")
    if ("long" in parts) != bool(arguments.long):
        raise InputError("--parts long goes with --long and its lengths: give both or neither")
    return parts


def _models(arguments: argparse.Namespace) -> list[Model]:
    """Open every model once, so that what is wrong with it is said before anything is measured."""
    models = {"": Model("", arguments.model, "torch")}
    for folder in arguments.onnx or []:
        if arguments.device != "cpu":
            raise InputError("--onnx is measured on a CPU: leave --device out")
        # Only what export onnx wrote has a word for it.
        int8 = bool(getattr(Transcriber.load(folder, backend=ONNXRUNTIME).model, "int8", False))
        name = f"{ONNXRUNTIME} {INT8}" if int8 else ONNXRUNTIME
        if name in models:
            raise InputError(f"--onnx {folder} and {models[name].folder} are of one kind: give one of them")
        models[name] = Model(name, folder, ONNXRUNTIME, int8)
    Transcriber.load(arguments.model, arguments.device)
    return list(models.values())


def plan_transcribing(
    arguments: argparse.Namespace, machine: dict[str, Any], folder: Path, say: Callable[[str], object]
) -> list[Case]:
    """All cases of ``bench transcribe`` in the order of a round.

    Parameters
    ----------
    arguments : argparse.Namespace
    machine : dict
        Device, precision, threads and time limit of a case.
    folder : Path
        Takes the long recordings.
    say : callable
        Hears of the progress, line by line.

    Returns
    -------
    list of Case
        One by one is the first, if files are measured at all.

    Raises
    ------
    InputError
        If an argument is of no use, or a model or the header of a recording cannot be read.

    Examples
    --------
    >>> from hyperconformer.bench.command import add_arguments
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> arguments = parser.parse_args(["transcribe", "--model=m", "--files=f", "--parts=files,long"])
    >>> plan_transcribing(arguments, {}, Path("scratch"), print)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --parts long goes with --long and its lengths: give both or neither
    """
    parts = _parts(arguments)
    every = audio_files(arguments.files)
    paths = every[: arguments.number]
    seconds = {path: audio_seconds(path) for path in paths}
    models = _models(arguments)
    what = Transcribing(ONE_BY_ONE, arguments.model, arguments.files, arguments.number)
    template = Case(
        "transcribe", ONE_BY_ONE, "files", 0.0, 1, repeats=arguments.repeats, transcribing=what, **machine
    )
    cases = []
    if "files" in parts:
        audio = sum(seconds[path] for path in in_turns(paths, arguments.number))
        cases += _files(template, audio, models, arguments.jobs)
    for least in sorted(map(length, items(arguments.long or []))):
        recording = folder / f"{least:g}.flac"
        say(f"writing a recording of {least:g} s")
        number, audio = join(every, least, recording)
        ways = (SEGMENTED, ONE_PASS) if arguments.one_pass else (SEGMENTED,)
        cases += [_given(template, "long", way, audio, number, str(recording)) for way in ways]
    if "start" in parts:
        clip = min(paths, key=lambda path: abs(seconds[path] - CLIP_SECONDS))
        cases.append(_given(template, "start", FIRST_TRANSCRIPT, seconds[clip], 1, clip))
        cases.append(_given(template, "start", HELP, 0.0, 0, ""))
    return cases


def _files(template: Case, audio: float, models: Sequence[Model], jobs: int | None) -> list[Case]:
    """Short files by every model in every way; by several processes if that was asked for."""
    ways = [ONE_BY_ONE, BATCHED] if jobs is None else [ONE_BY_ONE, BATCHED, SHARED]
    return [_hearing(template, audio, model, way, jobs or 1) for model in models for way in ways]


def _hearing(template: Case, audio: float, model: Model, way: str, jobs: int) -> Case:
    """The files by a model."""
    assert template.transcribing is not None
    what = replace(template.transcribing, way=way, model=model.folder, backend=model.backend, int8=model.int8)
    system = f"{model.name} {way}".strip()
    if way == SHARED:
        what, system = replace(what, jobs=jobs), f"{system} by {jobs}"
    return replace(template, system=system, seconds=audio, transcribing=what)


def _given(template: Case, part: Part, way: str, audio: float, number: int, recording: str) -> Case:
    """A single recording, or none."""
    assert template.transcribing is not None
    what = replace(template.transcribing, way=way, number=number, recording=recording)
    return replace(template, system=way, part=part, seconds=audio, transcribing=what)
