"""Whether a value from YAML fits a setting's type hint."""

from typing import Any

from hyperconformer.errors import InputError
from hyperconformer.hints import expected, fits


def check_type(key: str, value: Any, hint: Any) -> None:
    """Refuse a value of the wrong type.

    Parameters
    ----------
    key : str
        Name of the setting.
    value : object
        What YAML gave.
    hint : type
        What it must be: a plain type, a Literal, a union, a list, tuple or mapping of these.

    Raises
    ------
    InputError
        If it is something else.

    Examples
    --------
    >>> check_type("speeds", [95, 100], list[int])
    >>> check_type("seed", "one", int)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --seed must be a whole number, got 'one'
    """
    if not fits(value, hint):
        raise InputError(f"--{key} must be {expected(hint)}, got {value!r}")
