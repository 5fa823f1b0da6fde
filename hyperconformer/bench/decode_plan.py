"""The cases of ``bench decode`` from its arguments."""

import argparse
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hyperconformer.audio import audio_seconds
from hyperconformer.bench.cases import UPSTREAM, Case, Sizes
from hyperconformer.bench.decoding import Decoding
from hyperconformer.bench.options import items, length
from hyperconformer.data.librispeech import AUDIO_EXTENSIONS
from hyperconformer.decoding.searches import SEARCHES
from hyperconformer.errors import InputError

LEGAL = (*SEARCHES, f"{UPSTREAM}joint")
STEPS = "40"


def nearest(folder: Path, seconds: float) -> Path:
    """Find the recording whose length is nearest to a wanted one.

    Parameters
    ----------
    folder : Path
        Searched with all that is under it.
    seconds : float

    Returns
    -------
    Path
        Of several the first by name.

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> nearest(Path("no/such/folder"), 10.0)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --data_folder no/such/folder: there is no audio in it
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_EXTENSIONS)
    if not paths:
        raise InputError(f"--data_folder {folder}: there is no audio in it")
    return min(paths, key=lambda path: abs(audio_seconds(path) - seconds))


def _numbers(option: str, values: Iterable[str]) -> list[int]:
    found = items(values)
    for item in found:
        if not item.isdecimal() or int(item) < 1:
            raise InputError(f"{option} {item} is no positive whole number")
    return [int(item) for item in found]


def _searches(arguments: argparse.Namespace, upstream_installed: bool) -> list[str]:
    default = ["joint", *(["upstream:joint"] if upstream_installed else [])]
    searches = items(arguments.searches) if arguments.searches else default
    for search in searches:
        if search not in LEGAL:
            raise InputError(f"--searches {search}: choose from {', '.join(LEGAL)}")
        if search.startswith(UPSTREAM) and not upstream_installed:
            raise InputError(f"--searches {search}: SpeechBrain is not installed: pip install speechbrain")
    return list(dict.fromkeys(searches))


def _recordings(arguments: argparse.Namespace) -> list[tuple[float, str]]:
    """Length and file of everything that is decoded; noise has no file."""
    if arguments.audio is not None:
        if arguments.data_folder is not None:
            raise InputError("--audio and --data_folder: give one of them")
        return [(audio_seconds(arguments.audio), str(arguments.audio))]
    found = []
    for item in items(arguments.lengths):
        seconds = length(item)
        if arguments.data_folder is None:
            found.append((seconds, ""))
        else:
            path = nearest(Path(arguments.data_folder), seconds)
            found.append((audio_seconds(path), str(path)))
    return found


def _decodings(arguments: argparse.Namespace, audio: str) -> list[Decoding]:
    """Every beam with every count of steps and every language model."""
    for option, value in (("--steps", arguments.steps), ("--ctc", arguments.ctc)):
        if arguments.model and value:
            raise InputError(f"{option} goes with random weights: leave it out with --model")
    heads = items(arguments.ctc or ["flat"])
    for head in heads:
        if head not in ("flat", "peaked"):
            raise InputError(f"--ctc {head}: choose from flat, peaked")
    steps: Sequence[int | None] = (
        [None] if arguments.model else _numbers("--steps", arguments.steps or [STEPS])
    )
    beams, language_models = _numbers("--beams", arguments.beams), items(arguments.language_models)
    for option, folder in [
        ("--model", arguments.model),
        *(("--language_models", m) for m in language_models),
    ]:
        if folder not in (None, "none", "random") and not Path(folder).is_dir():
            raise InputError(
                f"{option} {folder} is not a folder: give the 'model' folder that training wrote"
            )
    return [
        Decoding(
            beam=beam,
            steps=count,
            ctc=head,
            ctc_weight=arguments.ctc_weight,
            lm_weight=arguments.lm_weight,
            language_model=language_model,
            lm_d_model=arguments.lm_d_model,
            lm_heads=arguments.lm_heads,
            lm_layers=arguments.lm_layers,
            model=arguments.model or "",
            audio=audio,
            patience=arguments.patience,
        )
        for language_model, head, count, beam in itertools.product(language_models, heads, steps, beams)
    ]


def _for(search: str, decoding: Decoding) -> Decoding:
    """What a search makes of it: greedy search has neither beam nor language model."""
    return replace(decoding, beam=1, language_model="none") if search == "greedy" else decoding


def plan_decoding(
    arguments: argparse.Namespace, machine: dict[str, Any], *, upstream_installed: bool
) -> list[Case]:
    """All cases of ``bench decode`` in the order of a round.

    Parameters
    ----------
    arguments : argparse.Namespace
    machine : dict
        Device, precision, threads and time limit of a case.
    upstream_installed : bool
        Whether SpeechBrain can be imported.

    Returns
    -------
    list of Case

    Raises
    ------
    InputError
        If an argument is of no use.

    Examples
    --------
    >>> from hyperconformer.bench.command import add_arguments
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> arguments = parser.parse_args(["decode", "--searches=joint", "--beams", "10,66"])
    >>> [case.name for case in plan_decoding(arguments, {}, upstream_installed=False)]
    ['decode joint 10 s search, beam 10, 40 steps', 'decode joint 10 s search, beam 66, 40 steps']
    """
    searches = _searches(arguments, upstream_installed)
    names = [name for name in Sizes.__annotations__ if hasattr(arguments, name)]
    sizes = Sizes(**{name: getattr(arguments, name) for name in names})
    cases = []
    for seconds, audio in _recordings(arguments):
        decodings = _decodings(arguments, audio)
        cases += [
            Case(
                "decode",
                search,
                "search",
                seconds=seconds,
                batch_size=1,
                repeats=arguments.repeats,
                seed=arguments.seed,
                sizes=sizes,
                decoding=_for(search, decoding),
                **machine,
            )
            for decoding in decodings
            for search in searches
            if search != "greedy" or decoding == decodings[0]
        ]
    return cases
