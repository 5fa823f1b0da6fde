"""Where the weights of plain layers start, or that they need not start at all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = ("normal_", "uniform_")


def initialise(module: nn.Module) -> None:
    """Xavier for plain products, variance 1 / D for embeddings (they are scaled by sqrt(D)).

    Parameters
    ----------
    module : nn.Module
        For ``apply``: a linear layer or an embedding is drawn anew, everything else stays.

    References
    ----------
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.

    Examples
    --------
    >>> layer = nn.Linear(3, 5).apply(initialise)
    >>> layer.bias.tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)


def centre(weight: Tensor, dim: int) -> None:
    """Let weights sum to zero along an axis, in place.

    Parameters
    ----------
    weight : Tensor
        Any shape; one without memory stays as it is.
    dim : int
        The axis.

    Examples
    --------
    >>> weight = torch.tensor([[1.0, 3.0]])
    >>> centre(weight, dim=1)
    >>> weight
    tensor([[-1.,  1.]])
    """
    if not weight.is_meta:
        weight -= weight.mean(dim=dim, keepdim=True)


class _Undrawn(TorchFunctionMode):
    """Random numbers are not drawn: for tensors without memory that would import seconds of PyTorch."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") in _DRAWS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules whose weights have shapes and no memory, in no time: what is loaded takes their place.

    Examples
    --------
    >>> with without_weights():
    ...     layer = nn.Linear(10**6, 10**6).apply(initialise)
    >>> layer.weight.shape, layer.weight.is_meta
    (torch.Size([1000000, 1000000]), True)
    """
    with torch.device("meta"), _Undrawn():
        yield
