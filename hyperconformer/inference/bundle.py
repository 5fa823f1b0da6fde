"""A model folder that is safe to open: JSON, safetensors and SentencePiece, nothing that runs."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import nn

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.inference.bundle_check import (
    FORMAT,
    KINDS,
    SUMS,
    check_length,
    check_size,
    check_sums,
    read_config,
    read_tokenizer,
    read_weights,
)
from hyperconformer.inference.bundle_files import (
    CALIBRATION,
    CARD,
    CONFIG,
    METRICS,
    TOKENIZER,
    WEIGHTS,
    check_files,
    read_json,
    unusable,
)
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.nn.initialise import without_weights
from hyperconformer.text import Tokenizer

Model = TypeVar("Model", bound=nn.Module)


def save_bundle(
    folder: Path, model: ASR, tokenizer: Tokenizer, *, metrics: Mapping[str, Any], card: str
) -> Path:
    """Write a model folder; the one that stood there is replaced when the new one is whole.

    Parameters
    ----------
    folder : Path
        Where it goes.
    model : ASR
    tokenizer : Tokenizer
    metrics : mapping
        Results, for ``metrics.json``.
    card : str
        The model card, for ``README.md``.

    Returns
    -------
    Path
        The folder.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> config = ModelConfig(output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1,
    ...                      num_decoder_layers=1)
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     words = train_tokenizer(["ONE TWO"], Path(scratch) / "t.model", output_neurons=12)
    ...     folder = save_bundle(Path(scratch) / "model", ASR(config), words, metrics={}, card="# A model")
    ...     sorted(path.name for path in folder.iterdir())
    ['README.md', 'config.json', 'metrics.json', 'model.safetensors', 'tokenizer.model']
    """
    config = {"format": FORMAT, "sample_rate_hz": SAMPLE_RATE, "model": model.config.to_dict()}
    return write_folder(folder, config, model, tokenizer, metrics=metrics, card=card)


def write_folder(
    folder: Path,
    config: Mapping[str, Any],
    model: nn.Module,
    tokenizer: Tokenizer,
    *,
    metrics: Mapping[str, Any],
    card: str,
) -> Path:
    """Write a folder of any kind of model, with the sums of what nobody would see damaged.

    Parameters
    ----------
    folder, tokenizer, metrics, card
        As :func:`save_bundle` takes them.
    config : mapping
        Its format, and all that the model is built from.
    model : Module

    Returns
    -------
    Path
        The folder.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     words = train_tokenizer(["ONE TWO"], Path(scratch) / "t.model", output_neurons=12)
    ...     model = nn.Linear(1, 1)
    ...     folder = write_folder(Path(scratch) / "model", {"format": "x"}, model, words, metrics={}, card="")
    ...     read_folder(folder, "x", lambda config: nn.Linear(1, 1))[0].weight.equal(model.weight)
    True
    """
    name = folder.absolute().name
    draft = folder.absolute().with_name(f".{name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # Not save_file, which leaves a file that only its owner may read.
    content = save(weights)
    (draft / WEIGHTS).write_bytes(content)
    summed = {WEIGHTS: content, TOKENIZER: tokenizer.model_bytes}
    sums = {name: hashlib.sha256(of).hexdigest() for name, of in summed.items()}
    written = {**config, SUMS: sums}
    (draft / CONFIG).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    (draft / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    (draft / CARD).write_text(card, encoding="utf-8")
    tokenizer.save(draft / TOKENIZER)
    if folder.exists():
        old = draft.with_name(f"{draft.name}.old")
        folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old)
    else:
        draft.rename(folder)
    return folder


def load_bundle(folder: Path, device: str | torch.device = "cpu") -> tuple[ASR, Tokenizer]:
    """Open a model folder; nothing in it is ever run.

    Parameters
    ----------
    folder : Path
        What :func:`save_bundle` wrote.
    device : str or device
        Where the model goes.

    Returns
    -------
    ASR
        In evaluation mode.
    Tokenizer

    Raises
    ------
    InputError
        If a file is missing, too large, damaged or no plain file; if the config has a key or a value that no
        model has, the weights do not fit it or are not finite, or the tokenizer has too many tokens.

    Examples
    --------
    >>> load_bundle(Path("no/such/model"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """
    return read_folder(folder, FORMAT, lambda config: ASR(ModelConfig.from_dict(config.get("model"))), device)


def read_folder(
    folder: Path, wanted: str, build: Callable[[Mapping[str, Any]], Model], device: str | torch.device = "cpu"
) -> tuple[Model, Tokenizer]:
    """Open a folder of one kind of model; nothing in it is ever run.

    Parameters
    ----------
    folder : Path
        What :func:`write_folder` wrote.
    wanted : str
        The format that its config must name.
    build : callable
        The config to the model; its weights get no memory before the files' headers fit it.
    device : str or device
        Where the model goes.

    Returns
    -------
    Module
        In evaluation mode.
    Tokenizer

    Raises
    ------
    InputError
        As :func:`load_bundle`.

    Examples
    --------
    >>> read_folder(Path("no/such/model"), "x", lambda config: nn.Linear(1, 1))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """
    sizes = check_files(folder)
    config = read_config(folder)
    try:
        if config["format"] != wanted:
            raise ValueError(_other_kind(config["format"], wanted))
        with without_weights():
            model = build(config)
        shapes = model.state_dict()
        check_size(shapes)
    except (ValueError, TypeError, RuntimeError) as error:
        raise unusable(folder, CONFIG, error) from error
    for name in {METRICS, CALIBRATION} & set(sizes):
        try:
            read_json(folder / name)
        except (OSError, ValueError) as error:
            raise unusable(folder, name, error) from error
    check_length(folder, sizes[WEIGHTS], shapes)
    check_sums(folder, config.get(SUMS, {}))
    tokenizer = read_tokenizer(folder, config.get("model", {}).get("output_neurons", math.inf))
    model.load_state_dict(read_weights(folder, shapes), assign=True)
    return model.to(device).eval(), tokenizer


def _other_kind(found: Any, wanted: str) -> str:
    """Say what a folder is that another kind of model was expected in."""
    if found in KINDS and wanted in KINDS:
        return f"this is {KINDS[found]}, not {KINDS[wanted]}: give the folder of {KINDS[wanted]}"
    return f"its format is {found!r:.40}, here {wanted!r} is read"
