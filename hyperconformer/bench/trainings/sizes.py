"""Systems of equal size, by the width of their feed-forward networks."""

from collections.abc import Callable

from hyperconformer.errors import InputError


class Unequal(InputError):
    """A system cannot be as large as the reference: it is left out, and the report says why.

    Examples
    --------
    >>> str(Unequal("gmlp is too large"))
    'gmlp is too large'
    """


def equal_units(count: Callable[[int], int], wanted: int, multiple: int = 1) -> int:
    """Choose the width with which a system comes nearest to a number of weights, which grows evenly with it.

    Parameters
    ----------
    count : callable
        The system's weights for a width.
    wanted : int
        Weights.
    multiple : int
        Of which the width is one.

    Returns
    -------
    int
        At least ``multiple``.

    Examples
    --------
    >>> equal_units(lambda units: 100 + 3 * units, 400), equal_units(lambda units: 100 + 3 * units, 400, 8)
    (100, 104)
    """
    least, next_one = count(multiple), count(2 * multiple)
    return multiple * max(1, 1 + round((wanted - least) / (next_one - least)))
