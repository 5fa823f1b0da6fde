"""A finished run's rows for RESULTS.md: every number with its command, commit, seed and hardware."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperconformer.tables import record_rows
from hyperconformer.wer_tables import result_cells

SECTION = "## Runs"
HEADER = (
    "system",
    "split",
    "search",
    "WER %",
    "95 %",
    "S / D / I",
    "words",
    "seed",
    "parameters",
    "audio h",
    "training h",
    "command",
    "commit",
    "hardware",
    "date",
)


def record_run(path: Path, metrics: Mapping[str, Any]) -> int:
    """Append a run to a file of results: a row for every split and search.

    Parameters
    ----------
    path : Path
        Markdown file, for instance RESULTS.md; made if need be. The rows go under "Runs".
    metrics : mapping
        From :func:`hyperconformer.training.report.run_metrics`.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    InputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record_run(Path(folder) / "RESULTS.md", {"splits": {}})
    0
    """
    rows = [
        run_row(metrics, split, search)
        for split, searches in metrics["splits"].items()
        for search in searches
    ]
    if rows:
        record_rows(path, [SECTION], HEADER, rows)
    return len(rows)


def run_row(metrics: Mapping[str, Any], split: str, search: str) -> list[str]:
    """Fill the cells of one result.

    Parameters
    ----------
    metrics : mapping
        From :func:`hyperconformer.training.report.run_metrics`.
    split, search : str

    Returns
    -------
    list of str
        A cell for every column of ``HEADER``; ``-`` where something is not known.

    Examples
    --------
    >>> result = {"wer": 2.5, "low": 2.0, "high": 3.0, "words": 40, "substitutions": 1, "deletions": 0}
    >>> splits = {"test": {"joint": result | {"insertions": 0}}}
    >>> metrics = {"name": "mini", "seed": 7, "parameters": 1500, "audio_hours": 1.0, "train_hours": 0.089}
    >>> metrics |= {"command": "train.py a.yaml", "commit": "", "hardware": "a CPU", "date": "2026-01-31"}
    >>> metrics |= {"decode": {"joint": {"beam_size": 10}}, "splits": splits}
    >>> " | ".join(run_row(metrics, "test", "joint")[:8])
    'mini | test | joint (beam_size 10) | 2.50 | 2.00 - 3.00 | 1 / 0 / 0 | 40 | 7'
    >>> " | ".join(run_row(metrics, "test", "joint")[8:])
    '1,500 | 1.0 | 0.09 | `train.py a.yaml` | unknown | a CPU | 2026-01-31'
    """
    result = metrics["splits"][split][search]
    return [
        *result_cells(str(metrics["name"]), split, search, metrics["decode"][search], result),
        str(metrics["seed"]),
        f"{metrics['parameters']:,}",
        _hours(metrics["audio_hours"], 1),
        _hours(metrics["train_hours"], 2),
        f"`{metrics['command']}`",
        metrics["commit"] or "unknown",
        metrics["hardware"],
        # The day is enough.
        metrics["date"].split()[0],
    ]


def _hours(hours: float | None, digits: int) -> str:
    return "-" if hours is None else f"{hours:.{digits}f}"
