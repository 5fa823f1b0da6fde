"""What several runs of several systems say together: means, spreads, and intervals of their differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hyperconformer.bench.checks import CheckFailed
from hyperconformer.bench.text_runs import TextFound
from hyperconformer.significance import drawn_rates

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
        Over the runs: how far it would move with other texts and, where there are several, other runs.
    against : Interval
        The mean minus that of the reference system, on the same texts.

    Examples
    --------
    >>> SystemScore((0.5, 0.7), Interval(0.6, 0.4, 0.8), Interval(0.0, 0.0, 0.0)).spread
    0.14142135623730948
    """

    accuracies: tuple[float, ...]
    mean: Interval
    against: Interval

    @property
    def spread(self) -> float | None:
        """Standard deviation over the runs; None of a single one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None


def score_systems(
    runs: Mapping[str, Sequence[TextFound]], split: str, against: str
) -> dict[str, SystemScore]:
    """Compare systems on a split that all of them were tested on.

    Each of 10,000 draws takes texts with replacement, the same for all runs of all systems, and runs of each system
    with replacement, as :mod:`hyperconformer.significance` does.

    Parameters
    ----------
    runs : mapping of str to sequence of TextFound
        Of each system those that ended well, at least one.
    split : str
    against : str
        The reference system, one of them.

    Returns
    -------
    dict of str to SystemScore
        By system.

    Raises
    ------
    CheckFailed
        If two runs were tested on different texts.

    Examples
    --------
    >>> def found(*rows):
    ...     return [TextFound(row, "ok", correct={"test": row}, texts={"test": "t"}) for row in rows]
    >>> scores = score_systems({"a": found("1100", "1110"), "b": found("1111")}, "test", "a")
    >>> scores["a"].mean.value, scores["b"].against.value
    (0.625, 0.375)
    """
    if len({one.texts[split] for found in runs.values() for one in found}) > 1:
        raise CheckFailed(f"{split}: the runs were tested on different texts: give another --output")
    wrong = {
        system: 1 - np.array([[int(mark) for mark in one.correct[split]] for one in found], dtype=float)
        for system, found in runs.items()
    }
    texts = next(iter(wrong.values())).shape[1]
    drawn = dict(zip(wrong, drawn_rates(list(wrong.values()), np.ones((1, texts))), strict=True))
    scores = {}
    for system, rows in wrong.items():
        accuracies = tuple(float(1 - row.mean()) for row in rows)
        ahead = float(wrong[against].mean() - rows.mean())
        scores[system] = SystemScore(
            accuracies,
            _interval(float(np.mean(accuracies)), 1 - drawn[system]),
            _interval(ahead, drawn[against] - drawn[system] if system != against else np.zeros(1)),
        )
    return scores


def _interval(value: float, draws: np.ndarray) -> Interval:
    low, high = np.percentile(draws, LEVELS)
    return Interval(value, float(low), float(high))
