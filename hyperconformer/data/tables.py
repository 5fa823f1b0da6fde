"""Tables of utterances and of texts: CSV, TSV, and a JSON object a line."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hyperconformer.data.sources import Entry, Source, entry_of
from hyperconformer.errors import InputError, one_line


def csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    r"""Read a table with a line of column names: comma-separated, or tab-separated if it is called ``.tsv``.

    Parameters
    ----------
    path : Path
        Packed by gzip if its name ends in ``.gz``.

    Yields
    ------
    where : str
        File and line.
    row : dict
        Field by column.

    Raises
    ------
    InputError
        If the file cannot be read or a line is faulty; the message names the line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.tsv").write_text("text\tlabel\n\"Yes\", she said\tyes\n")
    ...     [(where, row)] = csv_rows(Path(folder, "a.tsv"))
    >>> row
    {'text': '"Yes", she said', 'label': 'yes'}
    """
    name, packed = str(path), path.suffix.lower() == ".gz"
    # In tab-separated files a quote is a quote: Common Voice has sentences that begin with one.
    tabs: dict[str, Any] = (
        {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
        if Path(path.stem if packed else path.name).suffix.lower() == ".tsv"
        else {}
    )
    opener = gzip.open if packed else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, **({"strict": True} | tabs))
            for row in rows:
                where = f"{name!r}, line {rows.line_num}"
                if None in row or None in row.values():
                    raise InputError(f"{where}: more or fewer fields than columns: check commas and quotes")
                yield where, row
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"table {name!r} cannot be read ({one_line(error, 100)}): save it again") from error


def read_csv(source: Source) -> Iterator[Entry]:
    r"""Read the utterances of a table, as :func:`csv_rows` does.

    Parameters
    ----------
    source : Source

    Yields
    ------
    Entry

    Raises
    ------
    InputError
        If a needed column is missing or a line is faulty; the message names the line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder, "a.tsv")
    ...     _ = table.write_text("client_id\tpath\tsentence\n7\ta.mp3\tYes, indeed.\n")
    ...     [entry] = read_csv(Source(table))
    >>> entry.speaker, entry.clip.source.name, entry.text
    ('7', 'a.mp3', 'Yes, indeed.')
    """
    for where, row in csv_rows(source.path):
        yield entry_of(row, where, source)


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    r"""Read a file with a JSON object a line, packed by gzip or not.

    Parameters
    ----------
    path : Path

    Yields
    ------
    where : str
        File and line.
    row : dict
        The object.

    Raises
    ------
    InputError
        If the file cannot be read or a line is no object.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.jsonl").write_text('{"text": "yes"}\n\n')
    ...     [(where, row)] = json_lines(Path(folder, "a.jsonl"))
    >>> row
    {'text': 'yes'}
    """
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise InputError(f"{str(path)!r}, line {number}: no JSON object, one a line is expected")
                yield f"{str(path)!r}, line {number}", row
    except (json.JSONDecodeError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else one_line(error, 100)
        raise InputError(f"{str(path)!r}, line {number}: not JSON ({said}): correct it") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({one_line(error, 100)}): copy it again") from error


def read_jsonl(source: Source) -> Iterator[Entry]:
    r"""Read a manifest with a JSON object a line, such as NeMo's: audio_filepath, duration, offset, text.

    Parameters
    ----------
    source : Source

    Yields
    ------
    Entry

    Raises
    ------
    InputError
        If a line is faulty; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = Path(folder, "a.jsonl")
    ...     row = '{"audio_filepath": "a.wav", "duration": 2.5, "offset": 1, "text": "yes"}'
    ...     _ = manifest.write_text(row)
    ...     [entry] = read_jsonl(Source(manifest))
    >>> entry.clip.start, entry.clip.seconds, entry.text
    (1.0, 2.5, 'yes')
    """
    for where, row in json_lines(source.path):
        yield entry_of(row, where, source)
