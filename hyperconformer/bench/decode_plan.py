"""The cases of ``bench decode`` from its arguments."""

import argparse
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hyperconformer.audio import audio_seconds
from hyperconformer.bench.cases import UPSTREAM, Case, Sizes
from hyperconformer.bench.decoding import Decoding
from hyperconformer.bench.options import items, length
from hyperconformer.data.librispeech import AUDIO_EXTENSIONS
from hyperconformer.decoding.searches import SEARCHES
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.language_model_bundle import load_language_model, load_partner
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.text import Tokenizer

LEGAL = (*SEARCHES, f"{UPSTREAM}joint")
STEPS = "40"
DRAWN_OR_NONE = ("none", "random")

Loaded = TypeVar("Loaded")


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


def _opened(option: str, folder: str, load: Callable[[Path], Loaded]) -> Loaded:
    """Open a model's folder before anything is measured; whatever is wrong with it is the option's fault."""
    if not (Path(folder) / "config.json").is_file():
        raise InputError(f"{option} {folder} holds no model: give the 'model' folder that training wrote")
    try:
        return load(Path(folder))
    except InputError as error:
        raise InputError(f"{option}: {error}") from error


def _sizes(arguments: argparse.Namespace) -> tuple[Sizes, dict[str, dict[str, int]]]:
    """Sizes of the recogniser and of every language model: asked for, or those of a given folder."""
    names = [name for name in Sizes.__annotations__ if hasattr(arguments, name)]
    sizes, tokenizer = Sizes(**{name: getattr(arguments, name) for name in names}), None
    if arguments.model:
        model, tokenizer = _opened("--model", arguments.model, load_bundle)
        config = model.config
        sizes = Sizes(
            d_model=config.d_model,
            heads=config.nhead,
            layers=config.num_encoder_layers,
            decoder_layers=config.num_decoder_layers,
            output_neurons=config.output_neurons,
            dropout=config.transformer_dropout,
        )
    language_models = {}
    for name in items(arguments.language_models):
        lm_sizes = {key: getattr(arguments, key) for key in ("lm_d_model", "lm_heads", "lm_layers")}
        if name not in DRAWN_OR_NONE:
            lm, neurons = _partner(name, tokenizer), sizes.output_neurons
            if tokenizer is None and lm.output_neurons != neurons:
                raise InputError(
                    f"--language_models {name} has {lm.output_neurons} output neurons, the drawn recogniser "
                    f"{neurons}: give --output_neurons {lm.output_neurons}"
                )
            lm_sizes = {
                "lm_d_model": lm.d_model,
                "lm_heads": lm.nhead,
                "lm_layers": lm.num_layers,
            }
        language_models[name] = lm_sizes
    return sizes, language_models


def _partner(folder: str, tokenizer: Tokenizer | None) -> LanguageModelConfig:
    """Open a language model, which must have the tokens of a given recogniser."""

    def load(path: Path) -> LanguageModel:
        return load_language_model(path)[0] if tokenizer is None else load_partner(path, tokenizer)

    return _opened("--language_models", folder, load).config


def _decodings(
    arguments: argparse.Namespace, audio: str, language_models: Mapping[str, Mapping[str, int]]
) -> list[Decoding]:
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
    beams = _numbers("--beams", arguments.beams)
    return [
        Decoding(
            beam=beam,
            steps=count,
            ctc=head,
            ctc_weight=arguments.ctc_weight,
            lm_weight=arguments.lm_weight,
            language_model=language_model,
            **language_models[language_model],
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
    recordings, (sizes, language_models) = _recordings(arguments), _sizes(arguments)
    cases = []
    for seconds, audio in recordings:
        decodings = _decodings(arguments, audio, language_models)
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
