"""A model folder that is safe to open: JSON, safetensors and SentencePiece, nothing that runs."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError, one_line
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import Tokenizer

FORMAT = "hyperconformer-2"
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
    name = folder.absolute().name
    draft = folder.absolute().with_name(f".{name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    config = {"format": FORMAT, "sample_rate_hz": SAMPLE_RATE, "model": model.config.to_dict()}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # Not save_file, which leaves a file that only its owner may read.
    (draft / WEIGHTS).write_bytes(save(weights))
    (draft / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
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
    if not folder.is_dir():
        raise InputError(f"model '{folder}' is not a folder: give the 'model' folder that training wrote")
    if not (folder / CONFIG).is_file() and (folder / "model" / CONFIG).is_file():
        raise InputError(f"model '{folder}' is the folder of a run: its model is '{folder / 'model'}'")
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        if not (folder / name).is_file():
            raise InputError(f"model '{folder}' has no {name}: it is not a whole bundle, copy it again")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ValueError(f"its format is {config['format']!r}, this version reads {FORMAT!r}")
        model = ASR(ModelConfig.from_dict(config["model"]))
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
