"""Tables of utterances: CSV, TSV, and a JSON object a line."""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hyperconformer.data.sources import Entry, Source, entry_of
from hyperconformer.errors import InputError, one_line


def read_csv(source: Source) -> Iterator[Entry]:
    r"""Read a table with a line of column names: comma-separated, or tab-separated if it ends in ``.tsv``.

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
    name = str(source.path)
    # In tab-separated files a quote is a quote: Common Voice has sentences that begin with one.
    tabs: dict[str, Any] = (
        {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if source.path.suffix == ".tsv" else {}
    )
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, **({"strict": True} | tabs))
            for row in rows:
                where = f"{name!r}, line {rows.line_num}"
                if None in row or None in row.values():
                    raise InputError(f"{where}: more or fewer fields than columns: check commas and quotes")
                yield entry_of(row, where, source)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"table {name!r} cannot be read ({one_line(error, 100)}): save it again") from error


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
    except json.JSONDecodeError as error:
        raise InputError(
            f"{str(path)!r}, line {number}: not JSON ({one_line(error, 100)}): correct it"
        ) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
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
