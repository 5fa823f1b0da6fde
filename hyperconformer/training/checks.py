"""Whether a value from YAML fits a type hint."""

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from hyperconformer.errors import InputError

# int | str makes the one, int | Literal[...] the other.
_UNIONS = (types.UnionType, Union)
_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "null",
}


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
    if not _fits(value, hint):
        raise InputError(f"--{key} must be {_expected(hint)}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin in _UNIONS:
        return any(_fits(value, argument) for argument in arguments)
    if origin in (list, tuple):
        length = len(value) == len(arguments) if origin is tuple and isinstance(value, list | tuple) else True
        return isinstance(value, list | tuple) and length and all(_fits(v, arguments[0]) for v in value)
    if origin is not None:
        return isinstance(value, Mapping)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _expected(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in _UNIONS:
        return " or ".join(map(_expected, arguments))
    if origin in (list, tuple):
        count = f" of {len(arguments)}" if origin is tuple else ""
        return f"a list{count} such as '[a, b]', each item {_expected(arguments[0])}"
    return "a mapping" if origin is not None else _NAMES[hint]
