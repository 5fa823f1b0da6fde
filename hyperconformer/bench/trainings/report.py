"""Where what trainings found goes: tables in print, JSON, rows of a file of results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperconformer.bench.record import Origin
from hyperconformer.bench.trainings.runs import Found
from hyperconformer.bench.trainings.tables import Table
from hyperconformer.tables import record_rows


@dataclass(frozen=True)
class Report:
    """Where the findings go.

    Attributes
    ----------
    folder : Path
    record : Path or None
        A file with tables.
    section : str
        Its heading above those of the tables.
    origin : Origin

    Examples
    --------
    >>> list(Report.__annotations__)
    ['folder', 'record', 'section', 'origin']
    """

    folder: Path
    record: Path | None
    section: str
    origin: Origin

    def part(self, name: str, table: Table, found: Sequence[Found]) -> None:
        """Tell what trainings found; commit, hardware and day are those of their own time."""
        well = [one for one in found if one.status == "ok"]
        commits, machines, days = (
            list(dict.fromkeys(values))
            for values in (
                [one.commit or "unknown" for one in well],
                [one.machine for one in well],
                [one.date[:10] for one in well],
            )
        )
        command = self.origin.command
        if len(commits) > 1:
            table.notes.append(
                f"of {len(commits)} commits ({', '.join(commits)}): another --output trains all anew"
            )
        if len(machines) > 1:
            table.notes.append(f"minutes are not comparable: {'; '.join(machines)}")
        came = {"command": command, "commits": commits, "hardware": machines, "dates": days}
        self.write(name, {**came, "rows": table.dicts(), "notes": table.notes})
        if self.record is not None and well:
            header = [*table.header, "command", "commit", "hardware", "date"]
            came_from = [f"`{command}`", ", ".join(commits), "; ".join(machines), ", ".join(days)]
            rows = [[*row, *came_from] for row in table.rows]
            record_rows(self.record, [self.section, table.heading], header, rows)
        print(f"\n{table.text()}", flush=True)

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Leave plain values as JSON."""
        (self.folder / f"{name}.json").write_text(json.dumps(values) + "\n", encoding="utf-8")
