"""Whether a plain value, as YAML and JSON give them, fits a type hint."""

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

# int | str makes the one, int | Literal[...] the other.
_UNIONS = (types.UnionType, Union)
_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "null",
}


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is of a type.

    Parameters
    ----------
    value : object
    hint : type
        A plain type, a Literal, a union, a list, tuple or mapping of these.

    Returns
    -------
    bool

    Examples
    --------
    >>> fits([95, 100], list[int]), fits(True, int), fits(1, float), fits(None, int | None)
    (True, False, True, True)
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin in _UNIONS:
        return any(fits(value, argument) for argument in arguments)
    if origin in (list, tuple):
        length = len(value) == len(arguments) if origin is tuple and isinstance(value, list | tuple) else True
        return isinstance(value, list | tuple) and length and all(fits(v, arguments[0]) for v in value)
    if origin is not None:
        return isinstance(value, Mapping)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def expected(hint: Any) -> str:
    """Say what a type wants.

    Parameters
    ----------
    hint : type
        As :func:`fits` takes it.

    Returns
    -------
    str

    Examples
    --------
    >>> expected(int | None)
    'a whole number or null'
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in _UNIONS:
        return " or ".join(map(expected, arguments))
    if origin in (list, tuple):
        count = f" of {len(arguments)}" if origin is tuple else ""
        return f"a list{count} such as '[a, b]', each item {expected(arguments[0])}"
    return "a mapping" if origin is not None else _NAMES[hint]
