"""Where the time of a long computation goes."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import torch

Item = TypeVar("Item")


class Clock:
    """Seconds by name.

    Parameters
    ----------
    device : str
        Where the work is done; a GPU is waited for at both ends of what is timed.

    Attributes
    ----------
    seconds : Counter of str
        What was measured since :meth:`take`.

    Examples
    --------
    >>> clock = Clock()
    >>> with clock("search"):
    ...     pass
    >>> list(clock.take()), clock.seconds
    (['search'], Counter())
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device, self.seconds = device, Counter[str]()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add what happens meanwhile to a name."""
        self._wait()
        start = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            # mypy takes a Counter's values for whole numbers.
            self.seconds[name] += time.perf_counter() - start  # type: ignore[assignment]  # see above

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Add what getting each item takes, but not what is done with it."""
        waiting, more = iter(items), True
        while more:
            with self(name):
                found = list(islice(waiting, 1))
            more = bool(found)
            yield from found

    def take(self) -> dict[str, float]:
        """Give what was measured, and begin anew."""
        taken, self.seconds = dict(self.seconds), Counter[str]()
        return {name: float(value) for name, value in taken.items()}

    def _wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)
