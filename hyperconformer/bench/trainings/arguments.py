"""Numbers that the command line gives trainings."""

from collections.abc import Sequence

from hyperconformer.bench.options import items
from hyperconformer.errors import InputError


def numbers(option: str, values: Sequence[str], low: float, high: float) -> list[float]:
    """Read numbers of the command line.

    Parameters
    ----------
    option : str
        Named in the message.
    values : sequence of str
        In words, with commas or both.
    low, high : float
        Least and greatest legal number.

    Returns
    -------
    list of float
        Each once.

    Raises
    ------
    InputError

    Examples
    --------
    >>> numbers("--shares", ["10,25", "100"], 0.1, 100)
    [10.0, 25.0, 100.0]
    >>> numbers("--shares", ["200"], 0.1, 100)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --shares 200: give numbers from 0.1 to 100
    """
    found = []
    for item in items(values):
        try:
            number = float(item)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise InputError(f"{option} {item}: give numbers from {low:g} to {high:g}")
        found.append(number)
    return list(dict.fromkeys(found))


def seeds_of(values: Sequence[str]) -> list[int]:
    """Read the seeds of the command line.

    Parameters
    ----------
    values : sequence of str
        In words, with commas or both.

    Returns
    -------
    list of int
        Each once.

    Raises
    ------
    InputError

    Examples
    --------
    >>> seeds_of(["1,2", "1"])
    [1, 2]
    """
    seeds = numbers("--seeds", values, 0, 2**31)
    for seed in seeds:
        if seed != int(seed):
            raise InputError(f"--seeds {seed:g}: give whole numbers")
    return [int(seed) for seed in seeds]
