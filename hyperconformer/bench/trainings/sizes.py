"""Systems of equal size, by the width of their feed-forward networks."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from torch import nn

from hyperconformer.errors import InputError
from hyperconformer.models.config import ClassifierConfig, ModelConfig
from hyperconformer.nn.initialise import without_weights

C = TypeVar("C", ModelConfig, ClassifierConfig)


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


def as_large(config: C, count: Callable[[C], int], wanted: int, multiple: int = 1) -> tuple[C, float]:
    """Choose the feed-forward networks' width with which a model comes nearest to a number of weights.

    Parameters
    ----------
    config : ModelConfig or ClassifierConfig
    count : callable
        The weights of such a model.
    wanted : int
        Weights.
    multiple : int
        Of which the width is one.

    Returns
    -------
    config
        With that ``d_ffn``.
    float
        How many more weights it has than wanted, as a share of these.

    Examples
    --------
    >>> config, more = as_large(ModelConfig(output_neurons=30), lambda one: 100 + 3 * one.d_ffn, 400, 8)
    >>> config.d_ffn, round(more, 3)
    (104, 0.03)
    """
    units = equal_units(lambda units: count(replace(config, d_ffn=units)), wanted, multiple)
    config = replace(config, d_ffn=units)
    return config, count(config) / wanted - 1


def weights_of(make: Callable[[], nn.Module]) -> int:
    """Count the weights of a module, without any memory for them.

    Parameters
    ----------
    make : callable
        Makes it.

    Returns
    -------
    int

    Examples
    --------
    >>> weights_of(lambda: nn.Linear(10**6, 10**6))
    1000001000000
    """
    with without_weights():
        return sum(weight.numel() for weight in make().parameters())
