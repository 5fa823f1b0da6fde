"""``hyperconformer bench text``: what a mixer costs and gains on text, in time, data and tuning."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperconformer.bench.cases import Case, Outcome
from hyperconformer.bench.checks import CheckFailed
from hyperconformer.bench.columns import text_table
from hyperconformer.bench.figures import draw
from hyperconformer.bench.options import items, length
from hyperconformer.bench.record import Origin, table_of, to_dict
from hyperconformer.bench.report import rows_of
from hyperconformer.bench.runner import run_rounds
from hyperconformer.bench.text.cost import plan_cost
from hyperconformer.bench.text.figures import draw_accuracy, draw_data, draw_tasks, draw_tuning
from hyperconformer.bench.text.found import TextFound
from hyperconformer.bench.text.plan import Ground, Planner, look_at, look_at_tasks, read_settings
from hyperconformer.bench.text.sizes import DEFAULT, REFERENCE, check_text_systems
from hyperconformer.bench.text.tables import SECTION, Found, accuracy_table, data_table, tasks_table
from hyperconformer.bench.text.trials import tuning_table
from hyperconformer.bench.trainings.arguments import numbers, recipe_line, seeds_of
from hyperconformer.bench.trainings.jobs import HALF_DONE, RUNS, Launcher, child, ending, train_part
from hyperconformer.bench.trainings.planned import Planned
from hyperconformer.bench.trainings.report import Report
from hyperconformer.bench.trainings.runs import RunStore
from hyperconformer.bench.trainings.tables import Table
from hyperconformer.errors import InputError
from hyperconformer.tables import record_rows
from hyperconformer.training.text_settings import ClassificationSettings

Say = Callable[[str], object]
Train = Callable[[str, Sequence[Planned]], tuple[dict[str, TextFound], bool]]
PARTS = ("cost", "accuracy", "data", "tuning", "tasks")
LOOKING = {"accuracy", "data", "tuning"}
"""Parts that look at the recipe's texts; cost draws its own, and tasks are made."""
CHILD = "hyperconformer.bench.text.child"


@dataclass(frozen=True)
class TextBench:
    """What was asked for, checked.

    Attributes
    ----------
    parts, systems : list of str
    against : str
        The system that differences refer to.
    settings : ClassificationSettings
        The recipe's.
    ground : Ground or None
        The recipe with its texts, where a part looks at them.
    tasks : mapping of str to Ground
        The recipes of the made tasks.
    planner : Planner
    shares : list of float
        Percent.

    Examples
    --------
    >>> list(TextBench.__annotations__)[:2]
    ['parts', 'systems']
    """

    parts: list[str]
    systems: list[str]
    against: str
    settings: ClassificationSettings
    ground: Ground | None
    tasks: Mapping[str, Ground]
    planner: Planner
    shares: list[float]


def _asked(arguments: argparse.Namespace, machine: Mapping[str, Any]) -> TextBench:
    """Read recipes and data, so that what is wrong is said before hours of training."""
    parts = list(dict.fromkeys(items(arguments.parts or PARTS)))
    for part in parts:
        if part not in PARTS:
            hint = "the recipe comes before all options" if part.endswith(".yaml") else ""
            raise InputError(f"--parts {part}: {hint or 'choose from ' + ', '.join(PARTS)}")
    line = recipe_line("text", arguments.recipe, arguments.further)
    systems = list(dict.fromkeys(items(arguments.mixers or DEFAULT)))
    seeds = seeds_of(arguments.seeds)
    shares = numbers("--shares", arguments.shares, 0.1, 100)
    against = arguments.against or (REFERENCE if REFERENCE in systems else systems[0])
    if against not in systems:
        raise InputError(f"--against {against} is not measured: add it to --mixers")
    _, settings = read_settings(line.hparams_file, line.overrides)
    check_text_systems(systems, texts=settings.model.texts)
    ground = look_at(line.hparams_file, line.overrides) if LOOKING & set(parts) else None
    tasks = look_at_tasks(items(arguments.tasks), line.overrides) if "tasks" in parts else {}
    planner = Planner(systems, seeds, machine["device"], machine["precision"])
    return TextBench(parts, systems, against, settings, ground, tasks, planner, shares)


def _cost_cases(
    bench: TextBench, template: Case, arguments: argparse.Namespace
) -> tuple[list[Case], list[Outcome]]:
    lengths = [max(1, round(length(item))) for item in items(arguments.lengths)]
    return plan_cost(template, bench.settings.model, bench.systems, lengths, arguments.batch_tokens)


def _planned(bench: TextBench, arguments: argparse.Namespace) -> dict[str, list[Planned]]:
    """All trainings, by part, in the order in which they are made."""
    planner, ground = bench.planner, bench.ground
    plans: dict[str, Callable[[], list[Planned]]] = {"tasks": lambda: planner.tasks(bench.tasks)}
    if ground is not None:
        plans = {
            "accuracy": lambda: planner.accuracy(ground),
            **plans,
            "data": lambda: planner.data(ground, bench.shares),
            "tuning": lambda: planner.tuning(ground, arguments.trials),
        }
    return {part: plan() for part, plan in plans.items() if part in bench.parts}


def _tables(bench: TextBench) -> dict[str, Callable[[Sequence[Planned], Found], Table]]:
    return {
        "accuracy": lambda planned, found: accuracy_table(planned, found, bench.against),
        "data": lambda planned, found: data_table(planned, found, bench.against),
        "tuning": tuning_table,
        "tasks": tasks_table,
    }


FIGURES: dict[str, Callable[[Sequence[Planned], Found, Path], list[Path]]] = {
    "accuracy": draw_accuracy,
    "data": draw_data,
    "tuning": draw_tuning,
    "tasks": draw_tasks,
}


def _tell_cost(report: Report, outcomes: Sequence[Outcome], against: str) -> None:
    """Tell time and memory."""
    rows = rows_of(outcomes, against)
    report.write("cost", to_dict("text", rows, against, report.origin))
    draw(rows, report.folder)
    if report.record is not None:
        record_rows(report.record, *table_of("text", rows, against, report.origin))
    print(text_table(rows, against), flush=True)


def _train_parts(
    bench: TextBench, planned: Mapping[str, Sequence[Planned]], report: Report, train: Train
) -> bool:
    """Train and tell part by part; True if a training failed, or a part had none."""
    failed = False
    for part, some in planned.items():
        found, wrong = train(part, some)
        failed |= wrong
        report.part(part, _tables(bench)[part](some, found), list(found.values()))
        FIGURES[part](some, found, report.folder)
    return failed


def run_text(
    arguments: argparse.Namespace,
    words: Sequence[str],
    machine: Mapping[str, Any],
    say: Say,
) -> int:
    """Measure and train what was asked for, and report part by part.

    Parameters
    ----------
    arguments : argparse.Namespace
        Those of ``bench text``; its folder is there.
    words : sequence of str
        The command, for the record.
    machine : mapping
        Device, precision, threads and time limit of a case.
    say : callable
        Hears of the progress, line by line.

    Returns
    -------
    int
        0, or 1 if a system is not correct, a training failed, or a part had none to make.

    Raises
    ------
    InputError
        If an argument is of no use.

    Examples
    --------
    >>> run_text(argparse.Namespace(parts=["speed"]), [], {}, print)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --parts speed: choose from cost, accuracy, data, tuning, tasks
    """
    bench = _asked(arguments, machine)
    once = {"seconds": 1.0, "batch_size": 1, "repeats": arguments.repeats}
    template = Case("text", "identity", "forward", **once, **machine)
    record = arguments.record and Path(arguments.record)
    report = Report(Path(arguments.output), record, SECTION, Origin.of(words, template))
    planned = _planned(bench, arguments)
    store = RunStore(report.folder / RUNS, TextFound)
    if "cost" in bench.parts:
        cases, unfit = _cost_cases(bench, template, arguments)
        try:
            _tell_cost(report, [*run_rounds(cases, arguments.rounds, say), *unfit], bench.against)
        except CheckFailed as error:
            say(f"error: not measured: {error}")
            return 1
    launch = Launcher(report.folder / HALF_DONE, machine["threads"], child(CHILD), TextFound)

    def train(part: str, some: Sequence[Planned]) -> tuple[dict[str, TextFound], bool]:
        return train_part(part, some, store, arguments.jobs, say, launch)

    with ending(launch.stop):
        return int(_train_parts(bench, planned, report, train))
