"""Folders of SpeechBrain's recipes to model bundles; nothing in them is ever run.

Checkpoints are opened as tensors only; ``speechbrain_sources`` finds them and reads the YAML beside them.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperconformer.errors import InputError, one_line
from hyperconformer.features import MIN_STD_DB
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.inference.bundle_files import CONFIG
from hyperconformer.inference.card import RECOGNITION, TEXT_GENERATION, front_matter
from hyperconformer.inference.language_model_bundle import save_language_model
from hyperconformer.inference.speechbrain_sources import (
    LANGUAGE_MODEL,
    Sources,
    find_sources,
    language_model_heads,
    read_settings,
)
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.models.speechbrain_compat import from_speechbrain
from hyperconformer.models.speechbrain_lm import language_model_from_speechbrain
from hyperconformer.text import Tokenizer

N_FFT = 400
LONGEST_REASON = 200


def _whole(numbers: Mapping[str, float], name: str, given: int | None) -> int | None:
    """A setting: as given, else as the recipe has it."""
    return int(numbers[name]) if given is None and name in numbers else given


def _load(path: Path) -> dict[str, Any]:
    """Open a checkpoint as tensors and plain values; tensors larger than their file are a trick."""
    try:
        # Files of old PyTorch versions are no archives and cannot be mapped.
        found = torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        # The unpickler's own class of error lives in a module that nothing here may import.
        raise InputError(
            f"'{path}' cannot be opened as tensors ({one_line(error, LONGEST_REASON)}): copy it again"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InputError(f"'{path}' holds no named tensors: give a checkpoint of a SpeechBrain recipe")
    # Tables of positions, which are not taken over, may well share their values.
    tensors = [v for n, v in found.items() if isinstance(v, Tensor) and "positional_encoding" not in n]
    if sum(value.numel() * value.element_size() for value in tensors) > path.stat().st_size:
        raise InputError(f"'{path}': its tensors are larger than the file, which cannot be trusted")
    return dict(found)


def _statistics(path: Path, n_mels: int) -> dict[str, Tensor]:
    """Mean and deviation of every mel band."""
    found = _load(path)
    statistics = {}
    for ours, theirs in (("normalizer.mean", "glob_mean"), ("normalizer.std", "glob_std")):
        value = found.get(theirs)
        if not isinstance(value, Tensor) or value.numel() != n_mels or not value.isfinite().all():
            raise InputError(f"'{path}': {theirs} is not {n_mels} numbers: it needs norm_type global")
        statistics[ours] = value.reshape(n_mels).float()
    if (least := float(statistics["normalizer.std"].min())) < MIN_STD_DB:
        raise InputError(f"'{path}': glob_std has {least:g}, less than real audio's {MIN_STD_DB:g} dB")
    return statistics


def _check_output(out: Path, folder: Path) -> None:
    """A model folder may be replaced, nothing else."""
    if out.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise InputError(f"output '{out}' holds what is imported: give another folder")
    if out.exists() and not (out / CONFIG).is_file() and (out.is_file() or any(out.iterdir())):
        raise InputError(f"output '{out}' exists and is no model: give another folder")


def import_folder(
    folder: Path | str, out: Path | str, *, nhead: int | None = None, n_fft: int | None = None
) -> Path:
    """Turn what a SpeechBrain recipe left into a model bundle.

    Parameters
    ----------
    folder : Path or str
        See :func:`~hyperconformer.inference.speechbrain_sources.find_sources`.
    out : Path or str
        The bundle; a model that stood there is replaced.
    nhead, n_fft : int or None
        Heads and points of the Fourier transform; None takes those of ``hyperparams.yaml``, and without
        that file the heads that the tensors show and 400 points.

    Returns
    -------
    Path
        The bundle.

    Raises
    ------
    InputError
        If a file is missing, cannot be opened safely, or holds what no model here has.

    Examples
    --------
    >>> import_folder("no/such/run", "model")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'no/such/run' is not a folder: give the output folder of a \
SpeechBrain recipe
    """
    return import_model(find_sources(Path(folder)), Path(out), nhead=nhead, n_fft=n_fft)


def import_model(sources: Sources, out: Path, *, nhead: int | None = None, n_fft: int | None = None) -> Path:
    """Turn the files that :func:`find_sources` found into a model bundle; otherwise as :func:`import_folder`.

    Parameters
    ----------
    sources : Sources
    out : Path
    nhead, n_fft : int or None

    Returns
    -------
    Path
        The bundle.

    Examples
    --------
    >>> missing = Path("no/such/model.ckpt")
    >>> import_model(Sources(missing, missing, missing), Path("no/such"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: output 'no/such' holds what is imported: give another folder
    """
    _check_output(out, sources.model.parent)
    known = read_settings(sources.settings)
    points = _whole(known, "n_fft", n_fft)
    state = _load(sources.model)
    try:
        config, weights = from_speechbrain(
            state, nhead=_whole(known, "nhead", nhead), n_fft=N_FFT if points is None else points
        )
    except InputError as error:
        raise InputError(f"'{sources.model}': {error}") from error
    weights |= _statistics(sources.normalizer, config.n_mels)
    tokenizer = Tokenizer.load(sources.tokenizer)
    expected = int(known.get("tokenizer_size", config.output_neurons))
    if tokenizer.size != expected or expected > config.output_neurons:
        raise InputError(
            f"tokenizer '{sources.tokenizer}' has {tokenizer.size} tokens, the model {expected}: copy the "
            "tokenizer that it was trained with"
        )
    model = ASR(config)
    model.load_state_dict(weights)
    metrics = {"imported_from": sources.checkpoint, "scores": dict(sources.scores)}
    return save_bundle(out, model, tokenizer, metrics=metrics, card=_card(model, sources))


def import_language_model(sources: Sources, out: Path) -> Path:
    """Turn the language model that a SpeechBrain recipe decodes with into a folder for ``--lm``.

    Parameters
    ----------
    sources : Sources
    out : Path
        The folder; a model that stood there is replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If there is none, or it cannot be opened safely, or is of another kind.

    Examples
    --------
    >>> missing = Path("no/such/model.ckpt")
    >>> import_language_model(Sources(missing, missing, missing), Path("lm"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'no/such' has no lm.ckpt: copy the recipe's language model there
    """
    weights = sources.language_model
    if weights is None:
        raise InputError(
            f"'{sources.model.parent}' has no {LANGUAGE_MODEL}: copy the recipe's language model there"
        )
    _check_output(out, weights.parent)
    state = {name: value for name, value in _load(weights).items() if isinstance(value, Tensor)}
    try:
        config, ours = language_model_from_speechbrain(state, nhead=language_model_heads(sources.settings))
    except InputError as error:
        raise InputError(f"'{weights}': {error}") from error
    tokenizer = Tokenizer.load(sources.tokenizer)
    if tokenizer.size > config.output_neurons:
        raise InputError(
            f"tokenizer '{sources.tokenizer}' has {tokenizer.size} tokens, the language model "
            f"{config.output_neurons}: copy the tokenizer that it was trained with"
        )
    model = LanguageModel(config)
    model.load_state_dict(ours)
    whence = "/".join(weights.absolute().parts[-2:])
    head = front_matter(weights.absolute().parent.name, TEXT_GENERATION, [], tags=["speechbrain"])
    said = "A Transformer over the tokens of a recogniser, trained with SpeechBrain."
    card = f"{head}\n# Language model\n\n{said} Imported from `{whence}`.\n"
    return save_language_model(out, model, tokenizer, metrics={"imported_from": whence}, card=card)


def _card(model: ASR, sources: Sources) -> str:
    name = sources.model.absolute().parent.name
    parameters = sum(parameter.numel() for parameter in model.parameters())
    # Of what data the checkpoint's scores are, it does not say: no results for the hub.
    head = front_matter(name, RECOGNITION, [], tags=["speech", "ctc", "speechbrain", model.config.mixer])
    return f"""{head}
# {name}

A speech recogniser trained with SpeechBrain: a Conformer encoder whose token mixer is `{model.config.mixer}`,
{parameters:,} parameters, {model.config.output_neurons} tokens. Imported from `{sources.checkpoint}`.

Use it: `hyperconformer transcribe --model THIS_FOLDER speech.flac` (decodes greedily).
Before you share it, say under which `license`, at the top.
"""
