"""The tables of ``bench text``, a function for each part."""

from collections.abc import Mapping, Sequence

import numpy as np

from hyperconformer.bench.text.found import TextFound
from hyperconformer.bench.text.scores import score_systems
from hyperconformer.bench.trainings.intervals import SystemScore
from hyperconformer.bench.trainings.planned import (
    Planned,
    by_row,
    ended_well,
    how_many,
    of_system,
    systems_of,
    what_failed,
)
from hyperconformer.bench.trainings.tables import Table, percent, percent_range
from hyperconformer.data.text_tasks import TASKS

SECTION = "## Text classification"
# As many seeds tell something of what another seed would give.
FEW_SEEDS = 3
Found = Mapping[str, TextFound]


def _score_cells(score: SystemScore | None) -> list[str]:
    if score is None:
        return ["-"] * 5
    return [*percent_range(score.mean), percent(score.spread), *percent_range(score.against, "+")]


def _scored(
    planned: Sequence[Planned], found: Found, against: str
) -> list[tuple[str, str, SystemScore | None]]:
    """(split, system, score) of every test of runs that belong together."""
    runs = ended_well(planned, found)
    systems = systems_of(planned)
    if not runs:
        return [("-", system, None) for system in systems]
    tests = next(iter(runs.values()))[0].tests
    scores = {split: score_systems(runs, split, against) for split in tests}
    return [(split, system, scores[split].get(system)) for split in tests for system in systems]


def _notes(planned: Sequence[Planned], found: Found) -> list[str]:
    """What failed, and what numbers are to be held against."""
    notes = what_failed(planned, found)
    if not planned:
        return notes
    classes = planned[0].run.decided["num_classes"]
    notes.append(f"guessing among {classes} equally likely classes: {percent(1 / classes)} %")
    if len({one.number for one in planned}) < FEW_SEEDS:
        notes.append(f"fewer than {FEW_SEEDS} seeds: differences say little")
    return notes


def accuracy_table(planned: Sequence[Planned], found: Found, against: str) -> Table:
    """Lay out accuracy of every system at equal parameters.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to TextFound
        By the run's key.
    against : str
        The reference system.

    Returns
    -------
    Table

    Examples
    --------
    >>> accuracy_table([], {}, "hypermixing").header[:3]
    ['corpus', 'test', 'system']
    """
    header = [
        "corpus",
        "test",
        "system",
        "d_ffn",
        "weights",
        "seeds",
        "accuracy %",
        "95 % interval",
        "spread",
    ]
    header += [f"- {against}", "95 % interval of that", "strangers' AUROC %", "minutes"]
    runs, rows = ended_well(planned, found), []
    for split, system, score in _scored(planned, found, against):
        own, ended = of_system(planned, system), runs.get(system, [])
        decided = own[0].run.decided
        aurocs = [row["auroc"] / 100 for one in ended for row in one.strangers.values()]
        rows.append(
            [
                str(decided["corpus"]),
                split,
                system,
                "-" if own[0].unfit else str(decided["d_ffn"]),
                _weights(ended),
                how_many(own, len(ended)),
                *_score_cells(score),
                percent(float(np.mean(aurocs)) if aurocs else None),
                f"{np.mean([one.train_seconds for one in ended]) / 60:.1f}" if ended else "-",
            ]
        )
    return Table("### Accuracy at equal parameters", header, rows, _notes(planned, found))


def data_table(planned: Sequence[Planned], found: Found, against: str) -> Table:
    """Lay out accuracy against the share of the training texts.

    Parameters
    ----------
    planned, found, against
        As of :func:`accuracy_table`.

    Returns
    -------
    Table

    Examples
    --------
    >>> data_table([], {}, "hypermixing").header[:3]
    ['corpus', 'share %', 'texts']
    """
    header = [
        "corpus",
        "share %",
        "texts",
        "test",
        "system",
        "seeds",
        "accuracy %",
        "95 % interval",
        "spread",
    ]
    header += [f"- {against}", "95 % interval of that"]
    rows = []
    for share, some in by_row(planned).items():
        runs = ended_well(some, found)
        for split, system, score in _scored(some, found, against):
            own, ended = of_system(some, system), runs.get(system, [])
            texts = str(ended[0].train_texts) if ended else "-"
            seeds = how_many(own, len(ended))
            corpus = str(own[0].run.decided["corpus"])
            rows.append([corpus, share, texts, split, system, seeds, *_score_cells(score)])
    return Table("### Accuracy against the training data", header, rows, _notes(planned, found))


def tasks_table(planned: Sequence[Planned], found: Found) -> Table:
    """Lay out accuracy on made tasks, at the lengths of training and beyond.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to TextFound

    Returns
    -------
    Table

    Examples
    --------
    >>> tasks_table([], {}).header
    ['task', 'chance %', 'system', 'weights', 'seeds']
    """
    rows: list[list[str]] = []
    tests: list[str] = []
    for task, some in by_row(planned).items():
        runs = ended_well(some, found)
        for system in systems_of(some):
            own, ended = of_system(some, system), runs.get(system, [])
            tests = ended[0].tests if ended else tests
            cells = [_mean_and_least([one.accuracy[split] for one in ended]) for split in tests]
            start = [task, percent(TASKS[task].chance), system, _weights(ended), how_many(own, len(ended))]
            rows.append([*start, *cells])
    header = ["task", "chance %", "system", "weights", "seeds", *(f"{test} % (least)" for test in tests)]
    rows = [[*row, *["-"] * (len(header) - len(row))] for row in rows]
    return Table("### Made tasks", header, rows, what_failed(planned, found))


def _weights(ended: Sequence[TextFound]) -> str:
    """Of a system's runs, which are all equally large."""
    return f"{ended[0].parameters:,}" if ended else "-"


def _mean_and_least(accuracies: Sequence[float]) -> str:
    return f"{percent(float(np.mean(accuracies)))} ({percent(min(accuracies))})" if accuracies else "-"
