"""What several runs of several systems say together: means, spreads, and intervals of their differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hyperconformer.bench.text_runs import TextFound
from hyperconformer.significance import Floats, drawn_rates

LEVELS = (2.5, 97.5)


class Interval(NamedTuple):
    """A value with the 95 % interval around it, fractions.

    Attributes
    ----------
    value, low, high : float

    Examples
    --------
    >>> Interval(0.5, 0.4, 0.6).high
    0.6
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SystemScore:
    """The runs of one system on one split.

    Attributes
    ----------
    accuracies : tuple of float
        Of every run.
    mean : Interval
        Over the runs: how far it would move with other texts and, where there are several on the same texts,
        other runs.
    against : Interval or None
        The mean minus that of the reference system; None where they were not tested on the same texts.

    Examples
    --------
    >>> round(SystemScore((0.5, 0.7), Interval(0.6, 0.4, 0.8), None).spread, 4)
    0.1414
    """

    accuracies: tuple[float, ...]
    mean: Interval
    against: Interval | None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the runs; None of a single one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None


def score_systems(
    runs: Mapping[str, Sequence[TextFound]], split: str, against: str
) -> dict[str, SystemScore]:
    """Compare systems on a split that all of them were tested on.

    Each of 10,000 draws takes texts with replacement, the same for all runs of all systems, and runs of each
    system with replacement, as :mod:`hyperconformer.significance` does. Made texts are others for every seed:
    there only texts are drawn, of all seeds together.

    Parameters
    ----------
    runs : mapping of str to sequence of TextFound
        Of each system those that ended well, at least one, in the order of the seeds.
    split : str
    against : str
        The reference system.

    Returns
    -------
    dict of str to SystemScore
        By system.

    Examples
    --------
    >>> def found(*rows):
    ...     return [TextFound(row, "ok", correct={"test": row}, texts={"test": "t"}) for row in rows]
    >>> scores = score_systems({"a": found("1100", "1110"), "b": found("1111")}, "test", "a")
    >>> scores["a"].mean.value, scores["b"].against.value
    (0.625, 0.375)
    """
    scores: dict[str, SystemScore] = {}
    alike: dict[tuple[str, ...], list[str]] = {}
    for system, found in runs.items():
        alike.setdefault(tuple(dict.fromkeys(one.texts[split] for one in found)), []).append(system)
    for texts, systems in alike.items():
        wrong = {system: _wrong(runs[system], split, one_test=len(texts) == 1) for system in systems}
        weights = np.ones((1, next(iter(wrong.values())).shape[1]))
        drawn = dict(zip(systems, drawn_rates(list(wrong.values()), weights), strict=True))
        for system in systems:
            accuracies = tuple(
                one.correct[split].count("1") / len(one.correct[split]) for one in runs[system]
            )
            mean = _interval(1 - wrong[system].mean(), 1 - drawn[system])
            ahead = None
            if against in drawn and system != against:
                value = wrong[against].mean() - wrong[system].mean()
                ahead = _interval(value, drawn[against] - drawn[system])
            scores[system] = SystemScore(accuracies, mean, ahead)
    return {system: scores[system] for system in runs}


def _wrong(found: Sequence[TextFound], split: str, *, one_test: bool) -> Floats:
    """Mistakes (runs, texts), or of tests that differ (1, all texts)."""
    rows = [1 - np.array([int(mark) for mark in one.correct[split]], dtype=float) for one in found]
    return np.stack(rows) if one_test else np.concatenate(rows)[None]


def _interval(value: float, draws: Floats) -> Interval:
    low, high = np.percentile(draws, LEVELS)
    return Interval(float(value), float(low), float(high))
