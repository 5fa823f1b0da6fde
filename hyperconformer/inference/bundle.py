"""A model folder that is safe to open: JSON, safetensors and SentencePiece, nothing that runs."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError, one_line
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import Tokenizer

Model = TypeVar("Model", bound=nn.Module)

FORMAT, LANGUAGE_MODEL_FORMAT = "hyperconformer-2", "hyperconformer-lm-1"
ONNX_FORMAT = "hyperconformer-onnx-1"
KINDS = {
    FORMAT: "a recogniser",
    LANGUAGE_MODEL_FORMAT: "a language model",
    ONNX_FORMAT: "a recogniser's ONNX files",
}
LONGEST_REASON = 300
CONFIG, WEIGHTS, TOKENIZER, METRICS, CARD = (
    "config.json",
    "model.safetensors",
    "tokenizer.model",
    "metrics.json",
    "README.md",
)


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
    """Write a folder of any kind of model; the one that stood there is replaced when the new one is whole.

    Parameters
    ----------
    folder : Path
        Where it goes.
    config : mapping
        Its format, and all that the model is built from.
    model : Module
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
    (draft / WEIGHTS).write_bytes(save(weights))
    (draft / CONFIG).write_text(json.dumps(dict(config), indent=2) + "\n", encoding="utf-8")
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
        If a file is missing or broken, or the weights do not fit the config.

    Examples
    --------
    >>> load_bundle(Path("no/such/model"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """
    return read_folder(folder, FORMAT, lambda config: ASR(ModelConfig.from_dict(config["model"])), device)


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
        The config to the model, before its weights.
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
        If a file is missing or broken, or the weights do not fit the config.

    Examples
    --------
    >>> read_folder(Path("no/such/model"), "x", lambda config: nn.Linear(1, 1))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """
    if not folder.is_dir():
        raise InputError(f"model '{folder}' is not a folder: give the 'model' folder that training wrote")
    if not (folder / CONFIG).is_file() and (folder / "model" / CONFIG).is_file():
        raise InputError(f"model '{folder}' is the folder of a run: its model is '{folder / 'model'}'")
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        if not (folder / name).is_file():
            raise InputError(f"model '{folder}' has no {name}: it is not a whole bundle, copy it again")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["format"] != wanted:
            raise ValueError(_other_kind(config["format"], wanted))
        model = build(config)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"model '{folder}': {CONFIG} cannot be used ({one_line(error, LONGEST_REASON)})"
        ) from error
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InputError(
            f"model '{folder}': {WEIGHTS} cannot be used ({one_line(error, LONGEST_REASON)})"
        ) from error
    return model.to(device).eval(), Tokenizer.load(folder / TOKENIZER)


def _other_kind(found: Any, wanted: str) -> str:
    """Say what a folder is that another kind of model was expected in."""
    if found in KINDS and wanted in KINDS:
        return f"this is {KINDS[found]}, not {KINDS[wanted]}: give the folder of {KINDS[wanted]}"
    return f"its format is {found!r}, here {wanted!r} is read"
