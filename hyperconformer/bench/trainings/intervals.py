"""A value with the interval around it."""

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
