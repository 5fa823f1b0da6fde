"""The tables of ``bench text``, a function for each part."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hyperconformer.bench.text_plan import Planned
from hyperconformer.bench.text_runs import TextFound
from hyperconformer.bench.text_scores import Interval, SystemScore, score_systems
from hyperconformer.data.text_tasks import TASKS

SECTION = "## Text classification"
# As many seeds tell something of what another seed would give.
FEW_SEEDS = 3
Found = Mapping[str, TextFound]


class Table(NamedTuple):
    """Rows under a heading.

    Attributes
    ----------
    heading : str
    header : list of str
    rows : list of list of str
    notes : list of str
        What stands below.

    Examples
    --------
    >>> print(Table("Tasks", ["system", "%"], [["identity", "50.0"]], ["so it is"]).text())
    Tasks
    system    %
    identity  50.0
    so it is
    """

    heading: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]

    def text(self) -> str:
        """Aligned for a person."""
        columns = list(zip(self.header, *self.rows, strict=True))
        padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
        lines = ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
        return "\n".join([self.heading, *lines, *self.notes])

    def dicts(self) -> list[dict[str, str]]:
        """Rows for JSON."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]


def percent(fraction: float | None) -> str:
    """Write a fraction as percent.

    Parameters
    ----------
    fraction : float or None

    Returns
    -------
    str

    Examples
    --------
    >>> percent(0.98765), percent(None)
    ('98.77', '-')
    """
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _range(interval: Interval | None, sign: str = "") -> list[str]:
    if interval is None:
        return ["-", "-"]
    value, low, high = (f"{100 * number:{sign}.2f}" for number in interval)
    return [value, f"{low} to {high}"]


def ended_well(planned: Sequence[Planned], found: Found) -> dict[str, list[TextFound]]:
    """Sort runs that ended well by their system.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to TextFound
        By the run's key.

    Returns
    -------
    dict of str to list of TextFound

    Examples
    --------
    >>> ended_well([], {})
    {}
    """
    runs: dict[str, list[TextFound]] = {}
    for one in planned:
        if found[one.run.key].status == "ok":
            runs.setdefault(one.system, []).append(found[one.run.key])
    return runs


def by_row(planned: Sequence[Planned]) -> dict[str, list[Planned]]:
    """Sort runs by the row they belong to.

    Parameters
    ----------
    planned : sequence of Planned

    Returns
    -------
    dict of str to list of Planned

    Examples
    --------
    >>> by_row([])
    {}
    """
    rows: dict[str, list[Planned]] = {}
    for one in planned:
        rows.setdefault(one.row, []).append(one)
    return rows


def systems_of(planned: Sequence[Planned]) -> list[str]:
    """Name the systems of runs, each once, in their order.

    Parameters
    ----------
    planned : sequence of Planned

    Returns
    -------
    list of str

    Examples
    --------
    >>> systems_of([])
    []
    """
    return list(dict.fromkeys(one.system for one in planned))


def of_system(planned: Sequence[Planned], system: str) -> list[Planned]:
    """Choose the runs of a system.

    Parameters
    ----------
    planned : sequence of Planned
    system : str

    Returns
    -------
    list of Planned

    Examples
    --------
    >>> of_system([], "gmlp")
    []
    """
    return [one for one in planned if one.system == system]


def what_failed(planned: Sequence[Planned], found: Found) -> list[str]:
    """Say which runs did not end well, and why; that a system does not fit stands in its row.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to TextFound

    Returns
    -------
    list of str

    Examples
    --------
    >>> what_failed([], {})
    []
    """
    well = ("ok", "unfit")
    wrong = {one.run.key: one.run.name for one in planned if found[one.run.key].status not in well}
    return [f"{name}: {found[key].status}: {found[key].note}" for key, name in wrong.items()]


def how_many(own: Sequence[Planned], ended: int) -> str:
    """Say how many runs of a system ended, or why it has none.

    Parameters
    ----------
    own : sequence of Planned
        Of one system.
    ended : int

    Returns
    -------
    str

    Examples
    --------
    >>> from hyperconformer.bench.text_runs import TextRun
    >>> run = TextRun("gmlp", "x.yaml", {}, "cpu", "fp32", {})
    >>> how_many([Planned("gmlp", "", 1, run)], 1)
    '1 of 1'
    >>> how_many([Planned("gmlp", "", 1, run, "gmlp is too large")], 0)
    'unfit: gmlp is too large'
    """
    reasons = [one.unfit for one in own if one.unfit]
    return f"unfit: {reasons[0]}" if len(reasons) == len(own) else f"{ended} of {len(own)}"


def _score_cells(score: SystemScore | None) -> list[str]:
    if score is None:
        return ["-"] * 5
    return [*_range(score.mean), percent(score.spread), *_range(score.against, "+")]


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
