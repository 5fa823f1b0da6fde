"""A test's rows for RESULTS.md: every number with its command, commit and hardware."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperconformer.tables import record_rows
from hyperconformer.wer_tables import result_cells

SECTION = "## Decoding"
HEADER = (
    "model",
    "split",
    "search",
    "WER %",
    "95 %",
    "S / D / I",
    "words",
    "encode x",
    "search x",
    "total x",
    "command",
    "commit",
    "hardware",
    "date",
)


def record_test(path: Path, found: Mapping[str, Any]) -> int:
    """Append a test to a file of results: a row for every split and search.

    Parameters
    ----------
    path : Path
        Markdown file, for instance RESULTS.md; made if need be. The rows go under "Decoding".
    found : mapping
        What ``evaluate.json`` holds.

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
    ...     record_test(Path(folder) / "RESULTS.md", {"splits": {}})
    0
    """
    rows = [test_row(found, split, search) for split, rows in found["splits"].items() for search in rows]
    if rows:
        record_rows(path, [SECTION], HEADER, rows)
    return len(rows)


def test_row(found: Mapping[str, Any], split: str, search: str) -> list[str]:
    """Fill the cells of one result.

    Parameters
    ----------
    found : mapping
        What ``evaluate.json`` holds.
    split, search : str

    Returns
    -------
    list of str
        A cell for every column of ``HEADER``.

    Examples
    --------
    >>> result = {"wer": 2.5, "low": 2.0, "high": 3.0, "words": 40, "substitutions": 1, "deletions": 0}
    >>> result |= {"insertions": 0, "encode_x": 400.0, "search_x": 31.0, "total_x": 28.8, "jobs": 2}
    >>> found = {"model": "results/mini/7775/model", "splits": {"test": {"joint": result}}}
    >>> found |= {"command": "hyperconformer evaluate", "commit": "", "hardware": "a CPU", "threads": "2"}
    >>> found |= {"date": "2026-01-31 12:00 UTC", "dials": {"joint": {"beam_size": 66}}}
    >>> " | ".join(test_row(found, "test", "joint")[:7])
    'results/mini/7775/model | test | joint (beam_size 66) | 2.50 | 2.00 - 3.00 | 1 / 0 / 0 | 40'
    >>> " | ".join(test_row(found, "test", "joint")[7:])
    '400 | 31 | 29 | `hyperconformer evaluate` | unknown | a CPU, threads: 2, jobs: 2 | 2026-01-31'
    """
    result = found["splits"][split][search]
    dials = {name: value for name, value in found["dials"][search].items() if name != "nbest"}
    return [
        *result_cells(found["model"], split, search, dials, result),
        *(f"{result[f'{kind}_x']:.0f}" for kind in ("encode", "search", "total")),
        f"`{found['command']}`",
        found["commit"] or "unknown",
        f"{found['hardware']}, threads: {found['threads']}, jobs: {result['jobs']}",
        # The day is enough.
        found["date"].split()[0],
    ]
