"""What the command line gives trainings: numbers, and values for a recipe's keys."""

from collections.abc import Collection, Iterable, Sequence

from hyperconformer.bench.options import items
from hyperconformer.errors import InputError
from hyperconformer.training.command import CommandLine


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


def recipe_line(bench: str, recipe: str, further: Sequence[str]) -> CommandLine:
    """Read a recipe's name and values for its keys.

    Parameters
    ----------
    bench : str
        Named in the message.
    recipe : str
        YAML file.
    further : sequence of str
        Words like ``--key=value``.

    Returns
    -------
    CommandLine

    Raises
    ------
    InputError
        If one is an option of train.py, which a bench decides.

    Examples
    --------
    >>> recipe_line("text", "x.yaml", ["--lr=0.1"]).overrides
    {'lr': 0.1}
    >>> recipe_line("text", "x.yaml", ["--debug"])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --debug is an option of train.py, not of bench text
    """
    line = CommandLine.parse([recipe, *further])
    if line.run_options:
        raise InputError(f"--{next(iter(line.run_options))} is an option of train.py, not of bench {bench}")
    return line


def check_undecided(bench: str, keys: Collection[str], decided: Iterable[str], flags: str) -> None:
    """Refuse values for keys that a bench decides itself.

    Parameters
    ----------
    bench : str
        Named in the message.
    keys : collection of str
        That are given.
    decided : iterable of str
    flags : str
        What to give instead.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_undecided("text", {"mixer": "fourier"}, ("seed", "mixer"), "--mixers")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --mixer is not for bench text: it takes --mixers
    """
    for key in decided:
        if key in keys:
            raise InputError(f"--{key} is not for bench {bench}: it takes {flags}")
