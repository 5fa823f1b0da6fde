"""``hyperconformer bench contest``: which recogniser is better, at equal size, data and steps."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperconformer.bench.cases import Case
from hyperconformer.bench.contest.entries import Budget, Entry, contest_folder, read_budgets, read_entries
from hyperconformer.bench.contest.figures import draw_epochs, draw_lengths
from hyperconformer.bench.contest.found import ContestFound
from hyperconformer.bench.contest.plan import Ground, Planner, look_at
from hyperconformer.bench.contest.speed import with_rates
from hyperconformer.bench.contest.tables import (
    SECTION,
    Found,
    joined_table,
    log_table,
    main_table,
    speed_table,
)
from hyperconformer.bench.contest.verdicts import verdict_table
from hyperconformer.bench.options import items
from hyperconformer.bench.record import Origin
from hyperconformer.bench.trainings.arguments import recipe_line, seeds_of
from hyperconformer.bench.trainings.jobs import HALF_DONE, RUNS, Launcher, child, ending, train_part
from hyperconformer.bench.trainings.planned import Planned
from hyperconformer.bench.trainings.report import Report
from hyperconformer.bench.trainings.runs import RunStore
from hyperconformer.bench.trainings.tables import Table
from hyperconformer.errors import InputError

Say = Callable[[str], object]
LayOut = Callable[[str, Sequence[Planned], Found, str], Table]
CHILD = "hyperconformer.bench.contest.child"
SYSTEMS, DIALS, BUDGETS = "systems.yaml", "dials.yaml", "budgets.yaml"
TABLES: dict[str, LayOut] = {
    "": main_table,
    "joined recordings": joined_table,
    "speed": speed_table,
    "trainings": log_table,
    "verdicts": verdict_table,
}
"""By what their headings add to the part's."""


@dataclass(frozen=True)
class Contest:
    """What was asked for, checked.

    Attributes
    ----------
    budget : str
    entries : list of Entry
        The reference first, where it is among them.
    dials : bool
        Whether they are dials of our system.
    grounds : list of Ground
        A recipe with its data for each part.
    planner : Planner

    Examples
    --------
    >>> list(Contest.__annotations__)[:2]
    ['budget', 'entries']
    """

    budget: str
    entries: list[Entry]
    dials: bool
    grounds: list[Ground]
    planner: Planner

    def heading(self, part: str, further: str) -> str:
        """What stands above a table of a part."""
        return "### " + ", ".join(filter(None, (part, self.budget, "dials" if self.dials else "", further)))

    def tables(self) -> dict[str, LayOut]:
        """Those that are told of a part: claims are about the reference among systems, not dials."""
        silent = self.dials or self.planner.reference not in self.entries
        return {name: lay_out for name, lay_out in TABLES.items() if not (silent and name == "verdicts")}


def chosen(option: str, asked: Sequence[str] | None, legal: Sequence[str]) -> list[str]:
    """Choose names of a table.

    Parameters
    ----------
    option : str
        Named in the message.
    asked : sequence of str or None
        In words, with commas or both; none of them means all.
    legal : sequence of str

    Returns
    -------
    list of str
        In the order of the table.

    Raises
    ------
    InputError

    Examples
    --------
    >>> chosen("--systems", ["b,a"], ["a", "b", "c"]), chosen("--systems", None, ["a"])
    (['a', 'b'], ['a'])
    >>> chosen("--systems", ["d"], ["a", "b"])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --systems d: choose from a, b
    """
    names = items(asked or ()) or list(legal)
    for name in names:
        if name not in legal:
            raise InputError(f"{option} {name}: choose from {', '.join(legal)}")
    return [name for name in legal if name in names]


def _entries(arguments: argparse.Namespace, folder: Path) -> tuple[list[Entry], Entry]:
    """The systems or dials that were asked for, dials behind the reference; and the reference."""
    dials = arguments.dials is not None
    if dials and arguments.systems is not None:
        raise InputError("--dials are changes of our system: leave --systems away")
    table = read_entries(folder / (DIALS if dials else SYSTEMS))
    option, asked = ("--dials", arguments.dials) if dials else ("--systems", arguments.systems)
    names = chosen(option, asked, list(table))
    first = next(iter(table))
    return [table[name] for name in dict.fromkeys((*([first] if dials else []), *names))], table[first]


def _asked(arguments: argparse.Namespace, machine: Mapping[str, Any], say: Say) -> Contest:
    """Read tables, recipes and data, so that what is wrong is said before hours of training."""
    folder = contest_folder(arguments.recipes)
    budgets = read_budgets(folder / BUDGETS)
    if arguments.budget not in budgets:
        raise InputError(f"--budget {arguments.budget}: choose from {', '.join(budgets)}")
    budget: Budget = budgets[arguments.budget]
    parts = chosen("--parts", arguments.parts, list(budget.parts))
    line = recipe_line("contest", budget.parts[parts[0]].recipe, arguments.further)
    entries, reference = _entries(arguments, folder)
    seeds = seeds_of(arguments.seeds) if arguments.seeds else budget.seeds
    grounds = []
    for part in parts:
        say(f"{part}: looking at the data")
        progress = sys.stderr.isatty()
        grounds.append(
            look_at(part, budget.parts[part], arguments.data_folder, line.overrides, progress=progress)
        )
    planner = Planner(entries, reference, seeds, machine["device"], machine["precision"])
    return Contest(arguments.budget, entries, arguments.dials is not None, grounds, planner)


def _tell(contest: Contest, part: str, planned: Sequence[Planned], found: Found, report: Report) -> None:
    """Tables and figures of a part."""
    kind = f"{part}_dials" if contest.dials else part
    against = contest.entries[0].name
    for further, lay_out in contest.tables().items():
        table = lay_out(contest.heading(part, further), planned, found, against)
        name = "_".join(filter(None, (kind, further.replace(" ", "_"))))
        report.part(name, table, list(found.values()))
    draw_lengths(planned, found, report.folder, f"{kind}_length")
    draw_epochs(planned, found, report.folder, f"{kind}_epochs")


def run_contest(
    arguments: argparse.Namespace, words: Sequence[str], machine: Mapping[str, Any], say: Say
) -> int:
    """Train what was asked for, then report part by part.

    Parameters
    ----------
    arguments : argparse.Namespace
        Those of ``bench contest``; its folder is there.
    words : sequence of str
        The command, for the record.
    machine : mapping
        Device, precision and threads.
    say : callable
        Hears of the progress, line by line.

    Returns
    -------
    int
        0, or 1 if a training failed, or a part had none to make.

    Raises
    ------
    InputError
        If an argument is of no use.

    Examples
    --------
    >>> run_contest(argparse.Namespace(recipes="no/such/contest"), [], {}, print)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --recipes no/such/contest is no folder: see recipes/LibriSpeech/contest
    """
    contest = _asked(arguments, machine, say)
    template = Case("train", "identity", "step", seconds=1.0, batch_size=1, **machine)
    record = arguments.record and Path(arguments.record)
    report = Report(Path(arguments.output), record, SECTION, Origin.of(words, template))
    store = RunStore(report.folder / RUNS, ContestFound)
    launch = Launcher(report.folder / HALF_DONE, machine["threads"], child(CHILD), ContestFound)
    plans = {ground.part: contest.planner.runs(ground) for ground in contest.grounds}
    trained: dict[str, Found] = {}
    failed = False
    with ending(launch.stop):
        for part, planned in plans.items():
            trained[part], wrong = train_part(part, planned, store, arguments.jobs, say, launch)
            failed |= wrong
        # All at the end: a call that goes on where another was stopped must not tell twice what is over.
        for part, planned in plans.items():
            say(f"{part}: measuring the encoders, nothing beside")
            found = with_rates(planned, trained[part], machine["device"], machine["threads"])
            _tell(contest, part, planned, found, report)
    return int(failed)
