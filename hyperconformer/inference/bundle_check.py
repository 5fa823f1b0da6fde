"""Whether the files of a bundle make a model, before and while they are read: nothing is taken on trust."""

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.hints import fits
from hyperconformer.inference.bundle_files import CONFIG, TOKENIZER, WEIGHTS, read_file, read_json, unusable
from hyperconformer.text import Tokenizer

FORMAT, LANGUAGE_MODEL_FORMAT = "hyperconformer-2", "hyperconformer-lm-1"
CLASSIFIER_FORMAT = "hyperconformer-text-1"
ONNX_FORMAT = "hyperconformer-onnx-1"
KINDS = {
    FORMAT: "a recogniser",
    LANGUAGE_MODEL_FORMAT: "a language model",
    CLASSIFIER_FORMAT: "a text classifier",
    ONNX_FORMAT: "a recogniser's ONNX files",
}

SUMS = "sha256"
_ALL = ("format", "model", SUMS)
KEYS = {
    FORMAT: (*_ALL, "sample_rate_hz"),
    LANGUAGE_MODEL_FORMAT: _ALL,
    CLASSIFIER_FORMAT: (*_ALL, "labels", "max_text_tokens"),
}
"""What a bundle's config may say, by its format."""
SUMMED = (WEIGHTS, TOKENIZER)
"""Files whose damage nobody would see: a config is read by people, and its numbers are checked."""

MOST_PARAMETERS = 2 * 10**9
MOST_HEADER_BYTES = 2**22
_LENGTH_BYTES = 8
_SAVED_TYPE = "F32"
_HEX = re.compile(r"[0-9a-f]{64}")


def read_config(folder: Path) -> dict[str, Any]:
    """Read a bundle's config, all but the model's own settings checked.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If it is no JSON, has a key that is not of its format, or says what no bundle here can be.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / CONFIG).write_text('{"format": "hyperconformer-2", "colour": "blue"}')
    ...     read_config(Path(folder))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model '...': config.json cannot be used (a recogniser has ...
    """
    try:
        config = read_json(folder / CONFIG)
        if not isinstance(config, dict) or not isinstance(config.get("format"), str):
            raise ValueError("it names no format: it is not that of a bundle")
        # Of another format whoever opens it says that it is not read here.
        for key in config:
            if key not in KEYS.get(config["format"], config):
                raise ValueError(f"{KINDS[config['format']]} has no key {key!r:.40}")
        rate = config.get("sample_rate_hz", SAMPLE_RATE)
        if rate != SAMPLE_RATE:
            raise ValueError(f"sample_rate_hz is {rate!r:.40}, here {SAMPLE_RATE} is heard")
        # Bundles of earlier versions have none.
        if SUMS in config:
            check_sums_are_sums(config[SUMS], SUMMED)
    except (OSError, ValueError) as error:
        raise unusable(folder, CONFIG, error) from error
    return config


def check_sums_are_sums(sums: Any, names: Collection[str]) -> None:
    """See that what a config says of its files has the form of sums.

    Parameters
    ----------
    sums : object
        Out of the config.
    names : collection of str
        Of the files.

    Raises
    ------
    ValueError
        If it is something else.

    Examples
    --------
    >>> check_sums_are_sums({"tokenizer.model": 12}, ["tokenizer.model"])
    Traceback (most recent call last):
        ...
    ValueError: sha256 of tokenizer.model is no SHA-256 sum: 12
    """
    if not isinstance(sums, dict) or sorted(sums) != sorted(names):
        raise ValueError(f"{SUMS} must have the sums of {' and '.join(names)}")
    for name, value in sums.items():
        if not fits(value, str) or not _HEX.fullmatch(value):
            raise ValueError(f"{SUMS} of {name} is no SHA-256 sum: {value!r:.40}")


def check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Compare files with their sums, which finds accidents; who forges a file can forge its sum.

    Parameters
    ----------
    folder : Path
    sums : mapping of str to str
        SHA-256 in hexadecimal by name of a file.

    Raises
    ------
    InputError
        If a file is another one than was saved.

    Examples
    --------
    >>> check_sums(Path("model"), {})
    """
    for name, wanted in sums.items():
        if file_sum(folder / name) != wanted:
            raise unusable(
                folder, name, f"it has changed since it was saved, by its sum in {CONFIG}: copy it again"
            )


def file_sum(path: Path) -> str:
    """Compute a file's SHA-256.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        In hexadecimal.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     file_sum(Path(file.name))[:8]
    'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tokenizer(folder: Path, most: float) -> Tokenizer:
    """Read a bundle's tokenizer.

    Parameters
    ----------
    folder : Path
    most : float
        Tokens that the model can tell apart.

    Returns
    -------
    Tokenizer

    Raises
    ------
    InputError
        If it is none, or has more tokens.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / TOKENIZER).write_bytes(b"?")
    ...     read_tokenizer(Path(folder), 30)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model '...': tokenizer.model cannot be used (not a ...
    """
    try:
        tokenizer = Tokenizer(read_file(folder / TOKENIZER))
        if tokenizer.size > most:
            raise ValueError(f"it has {tokenizer.size} tokens, more than the model's {most} output neurons")
    except (OSError, ValueError) as error:
        raise unusable(folder, TOKENIZER, error) from error
    return tokenizer


def read_weights(folder: Path, shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read a bundle's weights, once the file's header says that they are those of the model.

    Parameters
    ----------
    folder : Path
    shapes : mapping of str to Tensor
        What the model needs, by name; of these tensors only shapes and strides are looked at.

    Returns
    -------
    dict of str to Tensor
        In memory of their own: the file may be replaced while the model is at work.

    Raises
    ------
    InputError
        If it is no safetensors file, a tensor is missing, too many, of another shape or type, or not finite.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / WEIGHTS).write_bytes(b"PK" + bytes(100))
    ...     read_weights(Path(folder), {})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model '...': model.safetensors cannot be used (it is ...
    """
    path = folder / WEIGHTS
    try:
        _check_header_length(path)
        # NumPy's copies are its own, and no threads wait for each other over many small tensors.
        with safe_open(path, "np") as file:
            _check_layout({name: file.get_slice(name) for name in file.keys()}, shapes)  # noqa: SIM118
            return {name: _checked(name, file.get_tensor(name), like) for name, like in shapes.items()}
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise unusable(folder, WEIGHTS, error) from error


def _check_header_length(path: Path) -> None:
    """The library would take a hundred megabytes of names for a header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if size < _LENGTH_BYTES or header > size - _LENGTH_BYTES:
        raise ValueError("it is not safetensors: its header would be longer than the file")
    if header > MOST_HEADER_BYTES:
        raise ValueError(f"its header of {header:,} bytes is longer than {MOST_HEADER_BYTES:,}")


def _check_layout(found: Mapping[str, Any], shapes: Mapping[str, Tensor]) -> None:
    """Compare a file's header with the model."""
    for said, names in (
        ("it lacks {}", [name for name in shapes if name not in found]),
        ("the model has no {}", [name for name in found if name not in shapes]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(said.format(f"{names[0]!r:.80}{more}"))
    for name, like in shapes.items():
        shape, kind = tuple(found[name].get_shape()), found[name].get_dtype()
        if shape != tuple(like.shape):
            raise ValueError(f"'{name}' has shape {shape}, by {CONFIG} it must be {tuple(like.shape)}")
        if kind != _SAVED_TYPE:
            raise ValueError(f"'{name}' holds numbers of type {kind}, a bundle's are {_SAVED_TYPE}")


def _checked(name: str, values: NDArray[np.float32], like: Tensor) -> Tensor:
    """Finite numbers, laid out as the model has them (its convolutions have their channels last)."""
    if not np.isfinite(values).all():
        raise ValueError(f"'{name}' holds numbers that are not finite")
    tensor = torch.from_numpy(values)
    if tensor.stride() == like.stride():
        return tensor
    return torch.empty_strided(tensor.shape, like.stride()).copy_(tensor)


def check_size(shapes: Mapping[str, Tensor]) -> None:
    """Refuse a model that is larger than any that makes sense here.

    Parameters
    ----------
    shapes : mapping of str to Tensor
        Its weights, which need no memory.

    Raises
    ------
    ValueError
        If it has too many parameters.

    Examples
    --------
    >>> check_size({"table": torch.empty(10**6, 10**6, device="meta")})
    Traceback (most recent call last):
        ...
    ValueError: the model would have 1,000,000,000,000 parameters, more than 2,000,000,000
    """
    parameters = sum(tensor.numel() for tensor in shapes.values())
    if parameters > MOST_PARAMETERS:
        raise ValueError(f"the model would have {parameters:,} parameters, more than {MOST_PARAMETERS:,}")


def check_length(folder: Path, size: int, shapes: Mapping[str, Tensor]) -> None:
    """Refuse a file of weights that is too long for the model, before all of it is read.

    Parameters
    ----------
    folder : Path
    size : int
        Bytes of the file.
    shapes : mapping of str to Tensor

    Raises
    ------
    InputError
        If it is longer than the weights and the longest header.

    Examples
    --------
    >>> check_length(Path("model"), 10**9, {})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'model': model.safetensors cannot be used (1,000,000,000 bytes ...
    """
    most = sum(4 * tensor.numel() for tensor in shapes.values()) + MOST_HEADER_BYTES + _LENGTH_BYTES
    if size > most:
        raise unusable(folder, WEIGHTS, f"{size:,} bytes are more than its model has, {most:,} at most")
