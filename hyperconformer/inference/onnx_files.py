"""A folder of ONNX files that is safe to open: everything in it is checked before it is used."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError, one_line
from hyperconformer.inference.bundle_check import FORMAT, ONNX_FORMAT
from hyperconformer.inference.bundle_files import CONFIG, ONNX_ENCODER, TOKENIZER
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import Tokenizer

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

ENCODER, MEMORY, DECODER = ONNX_ENCODER, "memory.onnx", "decoder.onnx"
FILES = (ENCODER, MEMORY, DECODER)
PACKAGES = ("onnx", "onnxruntime")
# What a stranger's folder may make us read; the largest recipe's encoder has a sixth of it.
MOST_BYTES = 2**29
LONGEST_REASON = 300
KEYS = {"format", "sample_rate_hz", "model", "int8", "sha256"}


@dataclass(frozen=True)
class OnnxFolder:
    """What a folder of ONNX files says of itself; the files themselves are not read yet.

    Attributes
    ----------
    folder : Path
    config : ModelConfig
        Of the recogniser that was exported.
    int8 : bool
        Whether weights are stored in eight bits.
    sha256 : mapping of str to str
        Of each file.

    Examples
    --------
    >>> OnnxFolder(Path("there"), ModelConfig(output_neurons=12), False, {"encoder.onnx": "00"}).read(ENCODER)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'there' has no encoder.onnx: it is not whole, export it again
    """

    folder: Path
    config: ModelConfig
    int8: bool
    sha256: Mapping[str, str]

    def tokenizer(self) -> Tokenizer:
        """Open the tokenizer."""
        return Tokenizer.load(self.folder / TOKENIZER)

    def read(self, name: str) -> "ModelProto":
        """Read one of :data:`FILES` and check all of it, before anything runs."""
        path = self.folder / name
        if not path.is_file():
            raise InputError(f"model '{self.folder}' has no {name}: it is not whole, export it again")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(f"'{path}' has {size} bytes, more than {MOST_BYTES}: it is none of our models")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256[name]:
            raise InputError(f"'{path}' is not the file that {CONFIG} describes: copy or export it again")
        return parse(content, str(path))


def require_onnx() -> None:
    """See that the packages are there.

    Raises
    ------
    InputError
        If one is not.

    Examples
    --------
    >>> require_onnx()
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise InputError(f"{package} is not installed: pip install 'hyperconformer[onnx]'")


def open_folder(folder: Path) -> OnnxFolder:
    """Read what a folder says of itself.

    Parameters
    ----------
    folder : Path
        What ``hyperconformer export onnx`` wrote.

    Returns
    -------
    OnnxFolder

    Raises
    ------
    InputError
        If it is no such folder, or its config cannot be used.

    Examples
    --------
    >>> open_folder(Path("no/such/folder"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/folder' is not a folder: give what \
`hyperconformer export onnx` wrote
    """
    if not folder.is_dir():
        raise InputError(f"model '{folder}' is not a folder: give what `hyperconformer export onnx` wrote")
    if not (folder / CONFIG).is_file():
        raise InputError(f"model '{folder}' has no {CONFIG}: it is not whole, export it again")
    try:
        said = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return _understood(folder, said)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"model '{folder}': {CONFIG} cannot be used ({one_line(error, LONGEST_REASON)})"
        ) from error


def _understood(folder: Path, said: Mapping[str, Any]) -> OnnxFolder:
    if said["format"] == FORMAT:
        raise ValueError("this is a recogniser for PyTorch: `hyperconformer export onnx` makes ONNX of it")
    if said["format"] != ONNX_FORMAT:
        raise ValueError(f"its format is {said['format']!r}, here {ONNX_FORMAT!r} is read")
    if unknown := sorted(set(said) - KEYS):
        raise ValueError(f"there is no setting {unknown[0]!r}")
    if said["sample_rate_hz"] != SAMPLE_RATE:
        raise ValueError(f"it hears {said['sample_rate_hz']} Hz, here all audio has {SAMPLE_RATE}")
    sums = said["sha256"]
    if set(sums) != set(FILES) or not isinstance(said["int8"], bool):
        raise ValueError(f"it must give the sha256 of {', '.join(FILES)}, and whether it is int8")
    return OnnxFolder(folder, ModelConfig.from_dict(said["model"]), said["int8"], dict(sums))


def parse(content: bytes, name: str) -> "ModelProto":
    """Read an ONNX file that holds nothing but a graph of ONNX's own operators and its weights.

    Parameters
    ----------
    content : bytes
    name : str
        For messages.

    Returns
    -------
    ModelProto

    Raises
    ------
    InputError
        If it cannot be read, names other files, has functions, graphs within graphs or operators of someone
        else, or declares weights that it does not hold.

    Examples
    --------
    >>> parse(b"?", "a.onnx")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'a.onnx' cannot be used (it is no ONNX file): export it again
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model: ModelProto = onnx.ModelProto.FromString(content)
        if not model.graph.node:
            raise ValueError("it is no ONNX file")
        _check(model)
    except (DecodeError, ValueError) as error:
        reason = "it is no ONNX file" if isinstance(error, DecodeError) else one_line(error, LONGEST_REASON)
        raise InputError(f"'{name}' cannot be used ({reason}): export it again") from error
    return model


def _check(model: "ModelProto") -> None:
    if model.functions or model.training_info:
        raise ValueError("it has functions of its own")
    domains = {opset.domain for opset in model.opset_import} | {node.domain for node in model.graph.node}
    if foreign := sorted(domains - {"", "ai.onnx"}):
        raise ValueError(f"it has operators of {foreign[0]!r}")
    for tensor in _tensors(model.graph):
        _check_tensor(tensor)


def _tensors(graph: "GraphProto") -> "Iterator[TensorProto]":
    """All weights and constants."""
    if graph.sparse_initializer:
        raise ValueError("it has sparse weights")
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from _tensors_of(attribute)


def _tensors_of(attribute: "AttributeProto") -> "Iterator[TensorProto]":
    if attribute.HasField("g") or attribute.graphs:
        raise ValueError("it has a graph within a graph")
    if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        raise ValueError("it has sparse weights")
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _check_tensor(tensor: "TensorProto") -> None:
    """No other files, and no more values declared than there are bytes."""
    if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
        raise ValueError(f"{tensor.name!r} lies in another file")
    values = math.prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or values > tensor.ByteSize():
        raise ValueError(f"{tensor.name!r} declares {values} values that it does not hold")
