"""What a person at the keyboard is meant to read when the input is bad."""

import math


class InputError(ValueError):
    """Bad input, said in one line that names the offender and the remedy.

    The command line prints the message without a traceback and exits with status 2;
    anything else that escapes is a bug and keeps its traceback.

    Examples
    --------
    >>> raise InputError("data_folder 'x' does not exist: point --data_folder at LibriSpeech")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder 'x' does not exist: point --data_folder at LibriSpeech
    """


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Refuse a number that is out of range, or none.

    Parameters
    ----------
    name : str
        What the number is.
    value : float
    low, high : float
        Least and greatest legal value.

    Raises
    ------
    ValueError
        If it lies elsewhere.

    Examples
    --------
    >>> check_range("dropout", 1.5, 0, 1)
    Traceback (most recent call last):
        ...
    ValueError: dropout must lie between 0 and 1, got 1.5
    """
    if not low <= value <= high:
        wanted = f"be at least {low}" if high == math.inf else f"lie between {low} and {high}"
        raise ValueError(f"{name} must {wanted}, got {value}")


def one_line(error: Exception, longest: int) -> str:
    """Fit what a library says into a message of one line.

    Parameters
    ----------
    error : Exception
    longest : int
        Characters to keep.

    Returns
    -------
    str

    Examples
    --------
    >>> one_line(ValueError("no   good"), 300)
    'no good'
    """
    return " ".join(str(error).split())[:longest]
