"""Where n-gram models are kept: as ARPA text, or as a file of arrays that is mapped, not read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hyperconformer.errors import InputError, one_line
from hyperconformer.ngram.arpa import read_arpa, write_arpa
from hyperconformer.ngram.model import NGram
from hyperconformer.ngram.signs import SIGNS

FORMAT = "hyperconformer-ngram-1"
LONGEST_REASON = 300
ARRAYS = {
    "word": {"int32"},
    "log": {"float32"},
    "suffix": {"int32", "int64"},
    "backoff": {"float32"},
    "first": {"int32", "int64"},
}
"""What a file of arrays holds, beside its words."""


def save_ngram(model: NGram, path: Path) -> Path:
    """Write a model, whole or not at all, in the form that the file's name ends with.

    Parameters
    ----------
    model : NGram
    path : Path
        ``.arpa`` or ``.arpa.gz`` for every toolkit; ``.safetensors`` for arrays that are opened in no time.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the name ends otherwise, or the file cannot be written.

    Examples
    --------
    >>> save_ngram(None, Path("lm.bin"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: n-gram model 'lm.bin': its name must end with .arpa, .arpa.gz or ...
    """
    write = _form(path)[1]
    draft = path.with_name(f".draft.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(model, draft)
        draft.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"n-gram model '{path}' cannot be written ({reason}): choose another place"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return path


def load_ngram(path: Path) -> NGram:
    """Open a model; nothing in it is ever run.

    Parameters
    ----------
    path : Path
        What :func:`save_ngram` or, for ARPA, any toolkit wrote.

    Returns
    -------
    NGram

    Raises
    ------
    InputError
        If the file cannot be read or holds no model.

    Examples
    --------
    >>> load_ngram(Path("nowhere.arpa"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: n-gram model 'nowhere.arpa' cannot be read (No such file ...
    """
    return _form(path)[0](path)


def check_name(path: Path) -> None:
    """Refuse a file name that no form has, before anything slow happens.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_name(Path("lm.arpa.gz"))
    """
    _form(path)


def _form(path: Path) -> tuple[Callable[[Path], NGram], Callable[[NGram, Path], None]]:
    for ending, form in _FORMS.items():
        if path.name.lower().endswith(ending):
            return form
    raise InputError(f"n-gram model '{path}': its name must end with .arpa, .arpa.gz or .safetensors")


def _write_arrays(model: NGram, path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {name: getattr(model, name) for name in ARRAYS}
    words = np.frombuffer("\n".join(model.words).encode(), dtype=np.uint8)
    order = np.array([model.order], dtype=np.int64)
    # One entry of metadata only: several would come in any order, and the same model not give the same bytes.
    save_file({"words": words, "order": order, **arrays}, path, metadata={"format": FORMAT})


def _read_arrays(path: Path) -> NGram:
    from safetensors import SafetensorError, safe_open  # with torch, whose reader maps the file
    from safetensors.torch import load_file

    try:
        with safe_open(path, "np") as file:
            about = file.metadata() or {}
        if about.get("format") != FORMAT:
            raise ValueError(f"its format is {about.get('format')!r}, this version reads {FORMAT!r}")
        arrays = {name: tensor.numpy() for name, tensor in load_file(path).items()}
        words = arrays.pop("words").tobytes().decode().split("\n")
        order = int(arrays.pop("order").item())
        if set(arrays) != set(ARRAYS) or any(str(arrays[name].dtype) not in ARRAYS[name] for name in ARRAYS):
            raise ValueError(f"it must hold {', '.join(ARRAYS)} and words")
        model = NGram(words, order, **arrays)
        _check(model)
    except OSError as error:
        raise InputError(
            f"n-gram model '{path}' cannot be read ({error.strerror}): correct its path"
        ) from error
    except (SafetensorError, ValueError, KeyError, IndexError) as error:
        reason = one_line(error, LONGEST_REASON)
        raise InputError(f"n-gram model '{path}' cannot be used ({reason}): build it again") from error
    return model


def _check(model: NGram) -> None:
    """Refuse arrays in which a search could go astray or in circles."""
    nodes, contexts, vocabulary = len(model.word), len(model.backoff), len(model.words)
    sound = (
        len(model.log) == len(model.suffix) == nodes > vocabulary >= len(SIGNS)
        and contexts + 1 == len(model.first)
        and model.first[0] == 1
        and model.first[1] == 1 + vocabulary
        and model.first[-1] == nodes
        and bool((np.diff(model.first) >= 0).all())
        # Every suffix is shorter, and so stands before; that of a highest n-gram is a context.
        and bool((model.suffix[1:] < np.arange(1, nodes)).all())
        and 0 <= int(model.suffix.min()) <= int(model.suffix.max()) < contexts
        and tuple(model.words[: len(SIGNS)]) == SIGNS
        and np.array_equal(model.word[1 : 1 + vocabulary], np.arange(vocabulary))
        and 0 <= int(model.word[1:].min()) <= int(model.word.max()) < vocabulary
    )
    if not sound or model.levels()[-1][1] != nodes:
        raise ValueError("its arrays contradict each other")


_FORMS: dict[str, tuple[Callable[[Path], NGram], Callable[[NGram, Path], None]]] = {
    ".arpa": (read_arpa, write_arpa),
    ".arpa.gz": (read_arpa, write_arpa),
    ".safetensors": (_read_arrays, _write_arrays),
}
