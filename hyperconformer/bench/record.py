"""Where a number comes from, and how it enters RESULTS.md."""

import datetime
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from hyperconformer.bench.cases import Case, Kind
from hyperconformer.bench.report import COLUMNS, Row
from hyperconformer.provenance import commit, processor

SECTION = "## Speed and memory"
TITLES: dict[Kind, str] = {"mixer": "### Mixer", "encoder": "### Encoder", "step": "### Training step"}


@dataclass(frozen=True)
class Origin:
    """What a number must come with.

    Attributes
    ----------
    command, commit, hardware, torch, date : str
        The date is the day in UTC.

    Examples
    --------
    >>> Origin("hyperconformer bench mixer", "unknown", "a CPU", "2.11.0", "2026-01-31").date
    '2026-01-31'
    """

    command: str
    commit: str
    hardware: str
    torch: str
    date: str

    @classmethod
    def of(cls, arguments: Sequence[str], case: Case) -> "Origin":
        """Ask the machine.

        Parameters
        ----------
        arguments : sequence of str
            Behind ``hyperconformer``.
        case : Case
            Gives the device and the threads.

        Returns
        -------
        Origin
        """
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        command = shlex.join(["hyperconformer", *arguments])
        return cls(command, commit() or "unknown", _hardware(case), str(torch.__version__), today)


def _hardware(case: Case) -> str:
    if case.device_type == "cuda":
        return torch.cuda.get_device_name(case.device)
    return f"{processor()}, {os.cpu_count()} cores, threads: {case.threads}"


def to_dict(kind: Kind, rows: Sequence[Row], against: str, origin: Origin) -> dict[str, Any]:
    """Everything about a benchmark as plain values.

    Parameters
    ----------
    kind : {"mixer", "encoder", "step"}
    rows : sequence of Row
    against : str
        The reference system.
    origin : Origin

    Returns
    -------
    dict

    Examples
    --------
    >>> sorted(to_dict("mixer", [], "attention", Origin("c", "d", "h", "t", "2026-01-31")))
    ['against', 'cases', 'command', 'commit', 'date', 'hardware', 'kind', 'torch']
    """
    return {**asdict(origin), "kind": kind, "against": against, "cases": [row.to_dict() for row in rows]}


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _table(kind: Kind, rows: Sequence[Row], against: str, origin: Origin) -> tuple[list[str], list[str]]:
    """Header and lines of a Markdown table."""
    columns = COLUMNS[kind]
    header = [*(title for title, _ in columns), "against", "command", "commit", "hardware", "date"]
    came_from = [against, f"`{origin.command}`", origin.commit, origin.hardware, origin.date]
    lines = [_line([*(cell_of(row).inline() for _, cell_of in columns), *came_from]) for row in rows]
    return [_line(header), "|" + "---|" * len(header)], lines


def _end_of(lines: Sequence[str], start: int, mark: str) -> int:
    """First line behind ``start`` that begins a part of the same or a higher level."""
    level = len(mark.split()[0])
    stops = tuple("#" * n + " " for n in range(1, level + 1))
    return next((n for n in range(start + 1, len(lines)) if lines[n].startswith(stops)), len(lines))


def _insert_part(lines: list[str], at: int, part: Sequence[str]) -> None:
    """Insert lines between blank lines, behind the last line before ``at`` that is not blank."""
    while at > 0 and not lines[at - 1].strip():
        at -= 1
    behind = [] if at < len(lines) and not lines[at].strip() else [""]
    lines[at:at] = [*([""] if at else []), *part, *(behind if at < len(lines) else [])]


def add_rows(text: str, kind: Kind, rows: Sequence[Row], against: str, origin: Origin) -> str:
    """Append rows to the table of their benchmark, making section and table where there is none.

    Parameters
    ----------
    text : str
        Markdown, for instance of RESULTS.md.
    kind : {"mixer", "encoder", "step"}
    rows : sequence of Row
    against : str
        The reference system.
    origin : Origin

    Returns
    -------
    str
        The same with the rows; all else as it was.

    Examples
    --------
    >>> origin = Origin("hyperconformer bench step", "abc", "a CPU", "2.11.0", "2026-01-31")
    >>> add_rows("# Results", "step", [], "attention", origin).splitlines()[:5]
    ['# Results', '', '## Speed and memory', '', '### Training step']
    """
    header, new = _table(kind, rows, against, origin)
    lines, title = text.splitlines(), TITLES[kind]
    if SECTION not in lines:
        _insert_part(lines, len(lines), [SECTION])
    start = lines.index(SECTION)
    end = _end_of(lines, start, SECTION)
    if title not in lines[start:end]:
        _insert_part(lines, end, [title, "", *header, *new])
        return "\n".join(lines) + "\n"
    start = lines.index(title, start)
    end = _end_of(lines, start, title)
    tables = [n for n in range(start, end) if lines[n] == header[0]]
    if not tables:
        _insert_part(lines, end, [*header, *new])
        return "\n".join(lines) + "\n"
    last = tables[-1]
    while last < end and lines[last].startswith("|"):
        last += 1
    lines[last:last] = new
    return "\n".join(lines) + "\n"
