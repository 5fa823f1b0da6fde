"""A language model's folder: the same files as a recogniser's, and as safe to open."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import read_folder, write_folder
from hyperconformer.inference.bundle_check import LANGUAGE_MODEL_FORMAT
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.text import Tokenizer


def save_language_model(
    folder: Path, model: LanguageModel, tokenizer: Tokenizer, *, metrics: Mapping[str, Any], card: str
) -> Path:
    """Write a language model's folder; the one that stood there is replaced when the new one is whole.

    Parameters
    ----------
    folder, tokenizer, metrics, card
        As :func:`hyperconformer.inference.bundle.save_bundle` takes them.
    model : LanguageModel

    Returns
    -------
    Path
        The folder.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> config = LanguageModelConfig(output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_layers=1)
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     words = train_tokenizer(["ONE TWO"], Path(scratch) / "t.model", output_neurons=12)
    ...     folder = Path(scratch) / "model"
    ...     _ = save_language_model(folder, LanguageModel(config), words, metrics={}, card="# A model")
    ...     load_language_model(folder)[0].config == config
    True
    """
    config = {"format": LANGUAGE_MODEL_FORMAT, "model": model.config.to_dict()}
    return write_folder(folder, config, model, tokenizer, metrics=metrics, card=card)


def load_language_model(folder: Path, device: str | torch.device = "cpu") -> tuple[LanguageModel, Tokenizer]:
    """Open a language model's folder; nothing in it is ever run.

    Parameters
    ----------
    folder : Path
        What :func:`save_language_model` wrote.
    device : str or device
        Where the model goes.

    Returns
    -------
    LanguageModel
        In evaluation mode.
    Tokenizer

    Raises
    ------
    InputError
        As :func:`hyperconformer.inference.bundle.load_bundle`.

    Examples
    --------
    >>> load_language_model(Path("no/such/model"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """

    def build(config: Mapping[str, Any]) -> LanguageModel:
        return LanguageModel(LanguageModelConfig.from_dict(config.get("model")))

    return read_folder(folder, LANGUAGE_MODEL_FORMAT, build, device)


def load_partner(folder: Path, tokenizer: Tokenizer, device: str | torch.device = "cpu") -> LanguageModel:
    """Open the folder of a language model that a recogniser's search is to ask token by token.

    Parameters
    ----------
    folder : Path
        What :func:`save_language_model` wrote.
    tokenizer : Tokenizer
        The recogniser's.
    device : str or device
        Where the model goes.

    Returns
    -------
    LanguageModel
        In evaluation mode.

    Raises
    ------
    InputError
        If the folder cannot be used, or its tokens are others.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     words = train_tokenizer(["ONE TWO"], Path(scratch) / "t.model", output_neurons=12)
    ...     load_partner(Path(scratch), words)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model '...' has no config.json: it is not a whole bundle, copy it again
    """
    model, theirs = load_language_model(folder, device)
    if theirs.model_bytes != tokenizer.model_bytes:
        raise InputError(
            f"language model '{folder}' has other tokens than the recogniser: train it with "
            "--tokenizer=MODEL/tokenizer.model, that of the recogniser's folder"
        )
    return model
