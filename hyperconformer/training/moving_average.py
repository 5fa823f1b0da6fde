"""An exponential moving average of the weights, and the model with it for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Weights averaged over the last steps; what validation, test and the bundle use where it is on.

    Early on the average is shorter, so that it does not drag along the random start.

    Parameters
    ----------
    model : Module
        Whose parameters are averaged.
    decay : float
        Share of the old average that a step keeps, for instance 0.999; between 0 and 1.

    References
    ----------
    Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(model.weight)
    >>> average = MovingAverage(model, decay=0.5)
    >>> _ = nn.init.ones_(model.weight)
    >>> average.update(step=1000)
    >>> with average.applied():
    ...     model.weight.item()
    0.5
    >>> model.weight.item()
    1.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.weights = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after a step, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, [p.detach() for p in self.model.parameters()], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights in the block, and its own again after it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state_dict(self) -> dict[str, Tensor]:
        """A state of the model with the averaged weights."""
        averaged = dict(zip((name for name, _ in self.model.named_parameters()), self.weights, strict=True))
        return self.model.state_dict() | averaged

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Read such a state back."""
        for (name, _), weight in zip(self.model.named_parameters(), self.weights, strict=True):
            weight.copy_(state[name])

    @torch.no_grad()
    def _exchange(self) -> None:
        for parameter, weight in zip(self.model.parameters(), self.weights, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(weight)
            weight.copy_(kept)
