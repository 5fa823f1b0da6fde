"""The trainings of a report: where in it each belongs, and how they ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hyperconformer.bench.trainings.runs import Found, Run

F = TypeVar("F", bound=Found)


@dataclass(frozen=True)
class Planned:
    """A training, and where in the report it belongs.

    Attributes
    ----------
    system : str
    row : str
        What it is beside the system: a share, a task, or nothing.
    number : int
        Seed, or trial.
    run : Run
    unfit : str
        Why it is not to be made: the system cannot be as large as the others.

    Examples
    --------
    >>> list(Planned.__annotations__)
    ['system', 'row', 'number', 'run', 'unfit']
    """

    system: str
    row: str
    number: int
    run: Run
    unfit: str = ""


def ended_well(planned: Sequence[Planned], found: Mapping[str, F]) -> dict[str, list[F]]:
    """Sort runs that ended well by their system.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to Found
        By the run's key.

    Returns
    -------
    dict of str to list of Found

    Examples
    --------
    >>> ended_well([], {})
    {}
    """
    runs: dict[str, list[F]] = {}
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


def what_failed(planned: Sequence[Planned], found: Mapping[str, Found]) -> list[str]:
    """Say which runs did not end well, and why; that a system does not fit stands in its row.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to Found

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
    >>> from hyperconformer.bench.trainings.runs import Run
    >>> run = Run("gmlp", "x.yaml", {}, "cpu", "fp32", {})
    >>> how_many([Planned("gmlp", "", 1, run)], 1)
    '1 of 1'
    >>> how_many([Planned("gmlp", "", 1, run, "gmlp is too large")], 0)
    'unfit: gmlp is too large'
    """
    reasons = [one.unfit for one in own if one.unfit]
    return f"unfit: {reasons[0]}" if len(reasons) == len(own) else f"{ended} of {len(own)}"
