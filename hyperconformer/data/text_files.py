"""Labelled texts of files: a table with a line of column names, or a JSON object a line."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperconformer.data.labelled import LabelledText, check_characters
from hyperconformer.data.tables import csv_rows, json_lines
from hyperconformer.errors import InputError

KINDS: Mapping[str, Callable[[Path], Iterator[tuple[str, Mapping[str, Any]]]]] = {
    ".tsv": csv_rows,
    ".csv": csv_rows,
    ".jsonl": json_lines,
}
"""What reads a file, by the end of its name; ``.gz`` may stand behind it."""


@dataclass(frozen=True)
class Columns:
    """What the columns of a file are called.

    Attributes
    ----------
    text, second, label : str
        ``second`` is empty where texts are single.

    Examples
    --------
    >>> Columns("premise", "hypothesis").label
    'label'
    """

    text: str = "text"
    second: str = ""
    label: str = "label"


def read_texts(path: Path, columns: Columns) -> list[LabelledText]:
    r"""Read the texts of a file.

    Parameters
    ----------
    path : Path
        ``.tsv``, ``.csv`` or ``.jsonl``, in UTF-8, packed by gzip or not.
    columns : Columns

    Returns
    -------
    list of LabelledText
        White space in a row becomes single spaces.

    Raises
    ------
    InputError
        If the file is of another kind, cannot be read or is empty, or if a line lacks a column or has
        nothing in it; the message names file and line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_text('text,label\n"well,  well",surprise\n')
    ...     read_texts(path, Columns())
    [LabelledText(text='well, well', label='surprise', second='')]
    """
    reader, _ = _kind(path)
    if not path.is_file():
        raise InputError(
            f"no file {str(path)!r}: correct the path, which begins at data_folder if that is given"
        )
    texts = [_text(row, columns, where) for where, row in reader(path)]
    if not texts:
        raise InputError(f"{str(path)!r} holds no texts: give another file")
    return texts


def name_of(path: Path) -> str:
    """Name a split by its file, without what tells the file's kind.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str

    Examples
    --------
    >>> name_of(Path("mine/test.hard.tsv.gz"))
    'test.hard'
    """
    return _kind(path)[1]


def _kind(path: Path) -> tuple[Callable[[Path], Iterator[tuple[str, Mapping[str, Any]]]], str]:
    """What reads a file, and its name without the end that says so."""
    name = path.stem if path.suffix.lower() == ".gz" else path.name
    for ending, reader in KINDS.items():
        if name.lower().endswith(ending):
            return reader, name[: -len(ending)]
    raise InputError(
        f"texts {str(path)!r} are of no known kind: the name must end with {', '.join(KINDS)}, "
        "each with or without .gz"
    )


def _text(row: Mapping[str, Any], columns: Columns, where: str) -> LabelledText:
    names = {"text_column": columns.text, "second_column": columns.second, "label_column": columns.label}
    text, second, label = (
        _words(row, name, key, where) if name or key != "second_column" else "" for key, name in names.items()
    )
    return LabelledText(text, label, second)


def _words(row: Mapping[str, Any], column: str, key: str, where: str) -> str:
    if column not in row:
        there = ", ".join(map(str, row))
        raise InputError(f"{where}: no column {column!r} among {there}: name the right one by --{key}")
    value = row[column]
    if isinstance(value, int):
        # true and false stay as JSON writes them.
        value = json.dumps(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: column {column!r} holds {value!r:.40}: write a text or a whole number")
    words = " ".join(value.split())
    if not words:
        raise InputError(f"{where}: column {column!r} holds no words: fill it in, or take the line out")
    check_characters(words, f"{where}: column {column!r}")
    return words
