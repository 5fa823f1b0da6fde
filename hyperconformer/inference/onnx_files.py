"""A folder of ONNX files that is safe to open: everything in it is checked before it is used."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle_check import (
    FORMAT,
    ONNX_FORMAT,
    SUMS,
    check_sums,
    check_sums_are_sums,
    read_tokenizer,
)
from hyperconformer.inference.bundle_files import (
    CONFIG,
    ONNX_ENCODER,
    TOKENIZER,
    WEIGHTS,
    Known,
    check_plain,
    read_json,
    read_plain,
    unusable,
)
from hyperconformer.inference.bundle_files import FILES as BUNDLE_FILES
from hyperconformer.inference.onnx_check import parse
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import Tokenizer

if TYPE_CHECKING:
    from onnx import ModelProto

ENCODER, MEMORY, DECODER = ONNX_ENCODER, "memory.onnx", "decoder.onnx"
FILES = (ENCODER, MEMORY, DECODER)
SUMMED = (*FILES, TOKENIZER)
PACKAGES = ("onnx", "onnxruntime")
# What a stranger's folder may make us read; the largest recipe's encoder has a sixth of it.
MOST_BYTES = 2**29
KNOWN = {
    **dict.fromkeys(FILES, Known(MOST_BYTES, needed=True)),
    **{name: known for name, known in BUNDLE_FILES.items() if name != WEIGHTS},
}
"""All that is ever opened in such a folder, by name."""
KEYS = {"format", "sample_rate_hz", "model", "int8", SUMS}


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
    hyperconformer.errors.InputError: model 'there': encoder.onnx cannot be used ([Errno 2] No such file ...
    """

    folder: Path
    config: ModelConfig
    int8: bool
    sha256: Mapping[str, str]

    def tokenizer(self) -> Tokenizer:
        """Open the tokenizer, if it is the one that was exported."""
        check_sums(self.folder, {TOKENIZER: self.sha256[TOKENIZER]})
        return read_tokenizer(self.folder, self.config.output_neurons)

    def read(self, name: str) -> "ModelProto":
        """Read one of :data:`FILES` and check all of it, before anything runs."""
        path = self.folder / name
        try:
            content = read_plain(path, KNOWN[name].most_bytes)
        except (OSError, ValueError) as error:
            raise unusable(self.folder, name, error) from error
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
    # What a folder says that it is comes before what it lacks for that.
    check_plain(folder, {CONFIG: KNOWN[CONFIG]})
    try:
        found = _understood(folder, read_json(folder / CONFIG))
    except (OSError, ValueError, TypeError) as error:
        raise unusable(folder, CONFIG, error) from error
    check_plain(folder, KNOWN)
    return found


def _understood(folder: Path, said: Any) -> OnnxFolder:
    if not isinstance(said, dict) or "format" not in said:
        raise ValueError("it names no format: it is not that of a model")
    if said["format"] == FORMAT:
        raise ValueError("this is a recogniser for PyTorch: `hyperconformer export onnx` makes ONNX of it")
    if said["format"] != ONNX_FORMAT:
        raise ValueError(f"its format is {said['format']!r:.40}, here {ONNX_FORMAT!r} is read")
    if unknown := sorted(set(said) - KEYS):
        raise ValueError(f"there is no setting {unknown[0]!r:.40}")
    if missing := sorted(KEYS - set(said)):
        raise ValueError(f"it lacks {missing[0]!r}: export it again")
    if said["sample_rate_hz"] != SAMPLE_RATE:
        raise ValueError(f"it hears {said['sample_rate_hz']!r:.40} Hz, here all audio has {SAMPLE_RATE}")
    check_sums_are_sums(said[SUMS], SUMMED)
    if not isinstance(said["int8"], bool):
        raise ValueError("int8 must be true or false")
    return OnnxFolder(folder, ModelConfig.from_dict(said["model"]), said["int8"], said[SUMS])
