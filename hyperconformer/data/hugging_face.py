"""Data sets of Hugging Face on this disk: a ``save_to_disk`` folder, Arrow and Parquet files."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hyperconformer.data.clips import Clip, Sound
from hyperconformer.data.sources import Entry, Source, column_names
from hyperconformer.errors import InputError, one_line

_REMEDY = 'pip install "hyperconformer[hf]"'
_KEYS = ("audio", "text", "id", "speaker")
"""Starts and durations are left alone: the audio of a row is the utterance's own."""


def read_hugging_face(source: Source) -> Iterator[Entry]:
    """Read the rows of a data set; nothing is fetched from anywhere.

    The audio column may hold encoded files (the Audio feature), arrays with a sampling_rate, or paths.

    Parameters
    ----------
    source : Source

    Yields
    ------
    Entry

    Raises
    ------
    InputError
        If the library ``datasets`` is missing, the data cannot be opened, it holds several splits, or a row
        has no audio.

    Examples
    --------
    >>> list(read_hugging_face(Source(Path("no.arrow"))))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data set 'no.arrow' cannot be opened ...
    """
    datasets = import_datasets()
    try:
        rows = open_data(datasets, source.path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"data set {str(source.path)!r} cannot be opened ({one_line(error, 200)})"
        ) from error
    if isinstance(rows, Mapping):
        there = ", ".join(rows)
        raise InputError(
            f"data set {str(source.path)!r} holds the splits {there}: name the folder of one, "
            f"for instance {str(source.path / next(iter(rows), 'train'))!r}"
        )
    for column, feature in rows.features.items():
        if isinstance(feature, datasets.Audio):
            # Decoding would want torchcodec; libsndfile reads what is in there as well.
            rows = rows.cast_column(column, datasets.Audio(decode=False))
    for number, row in enumerate(rows):
        yield _entry(row, f"{str(source.path)!r}, row {number}", source)


def import_datasets() -> Any:
    """Import the library, which only those need who have such data.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed.

    Examples
    --------
    >>> import_datasets().__name__
    'datasets'
    """
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise InputError(f"Hugging Face data sets need the library 'datasets': {_REMEDY}") from error


def open_data(datasets: Any, path: Path) -> Any:
    """Open a ``save_to_disk`` folder, an Arrow file, or else a Parquet file.

    Parameters
    ----------
    datasets : module
        What :func:`import_datasets` gave.
    path : Path

    Returns
    -------
    datasets.Dataset or datasets.DatasetDict

    Examples
    --------
    >>> import tempfile
    >>> datasets = import_datasets()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.parquet")
    ...     _ = datasets.Dataset.from_dict({"text": ["yes"]}).to_parquet(path)
    ...     open_data(datasets, path)["text"][0]
    'yes'
    """
    if path.is_dir():
        return datasets.load_from_disk(str(path))
    if path.suffix == ".arrow":
        return datasets.Dataset.from_file(str(path))
    parquet = importlib.import_module("pyarrow.parquet")  # comes with datasets
    return datasets.Dataset(parquet.read_table(path, memory_map=True))


def _entry(row: Mapping[str, Any], where: str, source: Source) -> Entry:
    names = column_names(row, where, source)
    values = {key: row[names[key]] for key in _KEYS if key in names}
    rest = [str(values[key]) if values.get(key) is not None else "" for key in ("text", "id", "speaker")]
    clip = Clip(_sound(values["audio"], row, where, source))
    return Entry(where, clip, *rest)


def _sound(audio: Any, row: Mapping[str, Any], where: str, source: Source) -> Path | bytes | Sound:
    """Tell apart the forms in which a row can hold its audio."""
    if isinstance(audio, Mapping):
        if audio.get("bytes"):
            return bytes(audio["bytes"])
        if audio.get("array") is not None:
            return _array(audio["array"], audio.get("sampling_rate"), where)
        audio = audio.get("path")
    if isinstance(audio, bytes):
        return audio
    if isinstance(audio, str) and audio:
        return source.root / audio
    if isinstance(audio, list | np.ndarray):
        return _array(audio, row.get("sampling_rate", row.get("sample_rate")), where)
    raise InputError(
        f"{where}: its audio is neither a file, nor bytes, nor an array: save the data set again"
    )


def _array(samples: Any, rate_hz: Any, where: str) -> Sound:
    if not isinstance(rate_hz, int):
        raise InputError(f"{where}: an array without a sampling_rate: add a column of that name")
    try:
        return Sound(np.asarray(samples), rate_hz)
    except ValueError as error:
        raise InputError(f"{where}: its channels differ in length: save the data set again") from error
