"""Values with the intervals around them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hyperconformer.significance import Floats

LEVELS = (2.5, 97.5)


class Interval(NamedTuple):
    """A value with the 95 % interval around it.

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
    values : tuple of float
        Of every run.
    mean : Interval
        Over the runs: how far it would move with another test and, where there are several runs on the same
        one, other runs.
    against : Interval or None
        The mean minus that of the reference system; None where they were not tested on the same.

    Examples
    --------
    >>> round(SystemScore((0.5, 0.7), Interval(0.6, 0.4, 0.8), None).spread, 4)
    0.1414
    """

    values: tuple[float, ...]
    mean: Interval
    against: Interval | None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the runs; None of a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None


def interval_of(value: float, draws: Floats) -> Interval:
    """Put a value into the middle 95 % of what was drawn.

    Parameters
    ----------
    value : float
    draws : array

    Returns
    -------
    Interval

    Examples
    --------
    >>> interval_of(0.5, np.linspace(0, 1, 101))
    Interval(value=0.5, low=0.025, high=0.975)
    """
    low, high = np.percentile(draws, LEVELS)
    return Interval(float(value), float(low), float(high))
