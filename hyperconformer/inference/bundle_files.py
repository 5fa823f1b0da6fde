"""The files of a model folder: their names, how large they may be, and reading them without being held up."""

import json
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hyperconformer.errors import InputError, one_line

CONFIG, WEIGHTS, TOKENIZER, METRICS, CARD, CALIBRATION = (
    "config.json",
    "model.safetensors",
    "tokenizer.model",
    "metrics.json",
    "README.md",
    "calibration.json",
)
LONGEST_REASON = 300
ONNX_ENCODER = "encoder.onnx"
"""Where this lies, ``hyperconformer export onnx`` wrote the folder."""


class Known(NamedTuple):
    """What a file of a bundle may be.

    Attributes
    ----------
    most_bytes : int
        Its greatest size.
    needed : bool
        No bundle is whole without it.

    Examples
    --------
    >>> FILES["config.json"].needed, FILES["README.md"].needed
    (True, False)
    """

    most_bytes: int
    needed: bool = False


FILES = {
    CONFIG: Known(2**18, needed=True),
    WEIGHTS: Known(2**34, needed=True),
    TOKENIZER: Known(2**26, needed=True),
    METRICS: Known(2**20),
    CARD: Known(2**20),
    CALIBRATION: Known(2**16),
}
"""All that is ever opened in a bundle, by name; whatever else lies there is left alone."""

_LIKE_A_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def backend_of(folder: str) -> str:
    """Tell what a model folder was written for.

    Parameters
    ----------
    folder : str

    Returns
    -------
    str
        "onnxruntime" or "torch".

    Examples
    --------
    >>> backend_of("no/such/model")
    'torch'
    """
    here = Path(folder)
    onnx = (here / ONNX_ENCODER).is_file() and not (here / WEIGHTS).exists()
    return "onnxruntime" if onnx else "torch"


def fault(folder: Path, said: str) -> InputError:
    """Make the one line that refuses a bundle.

    Parameters
    ----------
    folder : Path
    said : str
        What is wrong, and the remedy.

    Returns
    -------
    InputError

    Examples
    --------
    >>> fault(Path("model"), "it has no config.json")
    InputError("model 'model': it has no config.json")
    """
    return InputError(f"model '{folder}': {said}")


def unusable(folder: Path, name: str, reason: Exception | str) -> InputError:
    """Make the line that says why a file of a bundle cannot be used.

    Parameters
    ----------
    folder : Path
    name : str
        Of the file.
    reason : Exception or str
        If it comes from outside, it is cut to a readable length.

    Returns
    -------
    InputError

    Examples
    --------
    >>> unusable(Path("model"), "config.json", "it is empty")
    InputError("model 'model': config.json cannot be used (it is empty)")
    """
    said = one_line(ValueError(reason) if isinstance(reason, str) else reason, LONGEST_REASON)
    return fault(folder, f"{name} cannot be used ({printable(said)})")


def printable(text: str) -> str:
    r"""Take out what a terminal would obey.

    Parameters
    ----------
    text : str
        From a stranger's file.

    Returns
    -------
    str

    Examples
    --------
    >>> printable("red \x1b[31m alert")
    'red ?[31m alert'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def check_files(folder: Path) -> dict[str, int]:
    """Make sure that a folder holds a bundle's files, each a plain one of a size that it may have.

    Links are followed, for a hub's cache consists of them.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict of str to int
        Bytes of those that are there.

    Raises
    ------
    InputError
        If one that is needed is missing, or one is no plain file or too large.

    Examples
    --------
    >>> check_files(Path("no/such/model"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """
    if not folder.is_dir():
        raise InputError(f"model '{folder}' is not a folder: {_remedy(str(folder))}")
    if not (folder / CONFIG).is_file() and (folder / "model" / CONFIG).is_file():
        raise InputError(f"model '{folder}' is the folder of a run: its model is '{folder / 'model'}'")
    if backend_of(str(folder)) == "onnxruntime":
        raise InputError(f"model '{folder}' holds ONNX files: only transcribe and check open these")
    return check_plain(folder, FILES)


def check_plain(folder: Path, files: Mapping[str, Known]) -> dict[str, int]:
    """See that files are plain ones of a size that they may have.

    Parameters
    ----------
    folder : Path
    files : mapping of str to Known
        What each may be, by name.

    Returns
    -------
    dict of str to int
        Bytes of those that are there.

    Raises
    ------
    InputError
        If one that is needed is missing, or one is no plain file or too large.

    Examples
    --------
    >>> check_plain(Path("no/such/model"), {"a.onnx": Known(9, needed=True)})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' has no a.onnx: it is not a whole bundle, copy it \
again
    """
    sizes = {}
    for name, known in files.items():
        try:
            found = (folder / name).stat()
        except FileNotFoundError:
            if known.needed:
                raise InputError(
                    f"model '{folder}' has no {name}: it is not a whole bundle, copy it again"
                ) from None
            continue
        except OSError as error:
            raise unusable(folder, name, error.strerror or str(error)) from error
        if not stat.S_ISREG(found.st_mode):
            raise unusable(folder, name, "it is no plain file")
        if found.st_size > known.most_bytes:
            raise unusable(folder, name, f"{found.st_size:,} bytes are more than {known.most_bytes:,}")
        if known.needed and found.st_size == 0:
            raise unusable(folder, name, "it is empty")
        sizes[name] = found.st_size
    return sizes


def _remedy(folder: str) -> str:
    given = "give the 'model' folder that training wrote"
    if folder.startswith("hf:/"):
        return "only check, evaluate and transcribe fetch a model from the hub; `check` prints its folder"
    if _LIKE_A_HUB_NAME.fullmatch(folder):
        return f"{given}, or hf://{folder}@REVISION for a model on the Hugging Face hub"
    return given


def read_file(path: Path) -> bytes:
    """Read a file of a bundle.

    Parameters
    ----------
    path : Path
        Its name is one of :data:`FILES`.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no plain file, or too large.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / CARD).write_text("# A model")
    ...     read_file(Path(folder) / CARD)
    b'# A model'
    """
    return read_plain(path, FILES[path.name].most_bytes)


def read_plain(path: Path, most: int) -> bytes:
    """Read a plain file that may have so many bytes.

    Parameters
    ----------
    path : Path
    most : int

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no plain file, or too large.

    Examples
    --------
    >>> read_plain(Path("/dev/null"), 9)
    Traceback (most recent call last):
        ...
    ValueError: it is no plain file
    """
    # Opening a pipe would wait for somebody to write into it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no plain file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file of a bundle.

    Parameters
    ----------
    path : Path
        Its name is one of :data:`FILES`.

    Returns
    -------
    object

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no plain file, too large, not UTF-8, not JSON, nested too deeply, or has a key twice.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / CONFIG
    ...     _ = path.write_text('{"d_model": 8, "d_model": 16}')
    ...     read_json(path)
    Traceback (most recent call last):
        ...
    ValueError: 'd_model' stands there twice
    """
    try:
        return json.loads(read_file(path).decode("utf-8"), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values of a key readers choose differently, so that a file would say two things."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice!r:.40} stands there twice")
    return found
