"""Markdown tables in a file that people write too: rows go under their headings, all else stays as it was."""

import fcntl
from collections.abc import Sequence
from pathlib import Path

from hyperconformer.errors import InputError

FENCES = ("```", "~~~")


def check_file(option: str, path: Path) -> None:
    """Refuse a file that could not be written in the end, before the work begins.

    Parameters
    ----------
    option : str
        Option that names the file, for the message.
    path : Path

    Raises
    ------
    InputError
        If it is a folder, or its folder does not exist.

    Examples
    --------
    >>> check_file("--record", Path("no/such/RESULTS.md"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --record no/such/RESULTS.md: there is no such folder
    """
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder: name a file in it, for instance RESULTS.md")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no such folder")


def record_rows(
    path: Path, headings: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Append rows to a table of a Markdown file, which is made if need be.

    Two programs that record into one file at the same time wait for each other.

    Parameters
    ----------
    path : Path
    headings, header, rows
        As :func:`insert_rows` takes them.

    Raises
    ------
    InputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record_rows(Path(folder) / "RESULTS.md", ["## Runs"], ["WER %"], [["2.90"]])
    ...     print((Path(folder) / "RESULTS.md").read_text().splitlines()[-1])
    | 2.90 |
    """
    try:
        with path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            after = insert_rows(file.read() or "# Results\n", headings, header, rows)
            file.seek(0)
            file.truncate()
            file.write(after)
    except OSError as error:
        raise InputError(f"results cannot be recorded in '{path}': {error.strerror or error}") from error


def insert_rows(
    text: str, headings: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Append rows to the last table with this header under these headings, making what is not there.

    A table with another header is left alone: the rows get one of their own behind it.

    Parameters
    ----------
    text : str
        Markdown.
    headings : sequence of str
        From the outermost to the innermost, for instance ``["## Speed", "### Mixer"]``.
    header : sequence of str
        Titles of the columns.
    rows : sequence of sequence of str
        Cells; a ``|`` in one is escaped.

    Returns
    -------
    str

    Examples
    --------
    >>> print(insert_rows("# Results", ["## Runs"], ["system", "WER %"], [["mini", "2.90"]]), end="")
    # Results
    <BLANKLINE>
    ## Runs
    <BLANKLINE>
    | system | WER % |
    |---|---|
    | mini | 2.90 |
    """
    lines = text.splitlines()
    start, end = 0, len(lines)
    for heading in headings:
        there = [n for n in _headings(lines) if start <= n < end and lines[n] == heading]
        start = there[0] if there else _insert_part(lines, end, [heading])
        end = _end_of(lines, start)
    titles, new = _line(header), [_line(row) for row in rows]
    tables = [n for n in range(start, end) if lines[n] == titles]
    if tables:
        last = tables[-1]
        while last < end and lines[last].startswith("|"):
            last += 1
        lines[last:last] = new
    else:
        _insert_part(lines, end, [titles, "|" + "---|" * len(header), *new])
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _headings(lines: Sequence[str]) -> list[int]:
    """Lines that are headings; a comment in a block of code looks like one."""
    found, fence = [], ""
    for number, line in enumerate(lines):
        mark = line.lstrip()[:3]
        if mark in FENCES and fence in ("", mark):
            fence = "" if fence else mark
        elif not fence and line.startswith("#"):
            found.append(number)
    return found


def _level(heading: str) -> int:
    return len(heading) - len(heading.lstrip("#"))


def _end_of(lines: Sequence[str], start: int) -> int:
    """First line behind a heading that begins a part of the same or a higher level."""
    behind = (n for n in _headings(lines) if n > start and _level(lines[n]) <= _level(lines[start]))
    return next(behind, len(lines))


def _insert_part(lines: list[str], at: int, part: Sequence[str]) -> int:
    """Insert lines between blank lines, behind the last line before ``at`` that is not blank; say where."""
    while at > 0 and not lines[at - 1].strip():
        at -= 1
    behind = [] if at < len(lines) and not lines[at].strip() else [""]
    lines[at:at] = [*([""] if at else []), *part, *(behind if at < len(lines) else [])]
    return at + 1 if at else 0
