"""Where a number comes from, and how it enters RESULTS.md."""

import datetime
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from hyperconformer.bench.cases import Case, Kind
from hyperconformer.bench.columns import COLUMNS
from hyperconformer.bench.report import Row
from hyperconformer.provenance import commit, processor

SECTION = "## Speed and memory"
TITLES: dict[Kind, str] = {
    "mixer": "### Mixer",
    "encoder": "### Encoder",
    "hear": "### PyTorch and onnxruntime",
    "step": "### Training step",
    "train": "### Training",
    "decode": "### Decoding",
    "transcribe": "### Transcription",
    "text": "### Text",
}


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
    kind : {"mixer", "encoder", "hear", "step", "train", "decode", "transcribe", "text"}
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


def table_of(
    kind: Kind, rows: Sequence[Row], against: str, origin: Origin
) -> tuple[list[str], list[str], list[list[str]]]:
    """Lay rows out for the table of their benchmark.

    Parameters
    ----------
    kind : {"mixer", "encoder", "hear", "step", "train", "decode", "transcribe", "text"}
    rows : sequence of Row
    against : str
        The reference system.
    origin : Origin

    Returns
    -------
    headings, header : list of str
    cells : list of list of str
        What :func:`hyperconformer.tables.record_rows` takes.

    Examples
    --------
    >>> origin = Origin("hyperconformer bench step", "abc", "a CPU", "2.11.0", "2026-01-31")
    >>> headings, header, cells = table_of("step", [], "attention", origin)
    >>> headings, header[-1], cells
    (['## Speed and memory', '### Training step'], 'date', [])
    """
    columns = COLUMNS[kind]
    header = [*(title for title, _ in columns), "against", "command", "commit", "hardware", "date"]
    came_from = [against, f"`{origin.command}`", origin.commit, origin.hardware, origin.date]
    cells = [[*(cell_of(row).inline() for _, cell_of in columns), *came_from] for row in rows]
    return [SECTION, TITLES[kind]], header, cells
