"""Which utterances go together, in which order, at which speed: a pure function of (seed, epoch)."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from hyperconformer.data.augment import keyed_rng

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """One utterance as one epoch asks for it.

    Attributes
    ----------
    index : int
        Position in the list of utterances.
    epoch : int
        Keys the utterance's augmentation.
    speed : int
        Percent of the recorded speed.

    Examples
    --------
    >>> Draw(3, 1, 105).speed
    105
    """

    index: int
    epoch: int
    speed: int


class Share(NamedTuple):
    """What one process does of every batch.

    Attributes
    ----------
    rank, world : int
        This process and their number.
    pieces : int
        Pieces into which each process cuts its part, one after the other through its memory.

    Examples
    --------
    >>> Share(rank=1, world=2, pieces=3).of("abcdefg")
    ['b', 'd', 'fg']
    """

    rank: int = 0
    world: int = 1
    pieces: int = 1

    def of(self, batch: Sequence[T]) -> list[Sequence[T]]:
        """Cut a batch, as evenly as can be; a piece without utterances is left out."""
        return [batch[low:high] for low, high in self.edges(len(batch))]

    def edges(self, size: int) -> list[tuple[int, int]]:
        """First item of each piece of a batch of some size, and the one behind its last."""
        count = min(self.world * self.pieces, size)
        edges = [size * n // count for n in range(count + 1)]
        return list(itertools.pairwise(edges))[self.rank :: self.world]


WHOLE = Share()


class BatchSampler(Sampler[list[Draw]]):
    """Batches of similar lengths, bounded in padded seconds after the change of speed, and in tokens.

    Every utterance comes exactly once an epoch. With ``shuffle``, lengths are blurred by a tenth before
    they are sorted and the batches come in random order: new batches every epoch, the same ones for
    the same (seed, epoch). Without it, batches go from long to short.

    A batch is what one step of training learns from, however many processes there are: each gets its share
    of every batch, cut into pieces. Iterating yields the pieces of this process.

    Parameters
    ----------
    seconds : sequence of float
        Duration of each utterance.
    max_batch_seconds : float
        Longest utterance of the batch times utterances; one that is longer alone is a batch of its own.
    tokens : sequence of int or None
        Tokens of each utterance; None does not bound them.
    max_batch_tokens : float
        Most tokens of an utterance of the batch times utterances, likewise.
    seed : int
        With the epoch, keys the order and the speeds.
    speeds : sequence of int
        Percentages to draw from.
    shuffle : bool
        Random order.
    share : Share
        Of this process.

    Raises
    ------
    ValueError
        If a bound is not positive.

    Examples
    --------
    >>> sampler = BatchSampler([1.0, 5.0, 1.2], max_batch_seconds=6, shuffle=False)
    >>> [[draw.index for draw in batch] for batch in sampler]
    [[1], [2, 0]]
    >>> sampler.set_epoch(1, start=1)
    >>> [[draw.index for draw in batch] for batch in sampler], sampler.steps, sampler.size(1)
    ([[2, 0]], 2, 2)
    """

    def __init__(
        self,
        seconds: Sequence[float],
        *,
        max_batch_seconds: float,
        tokens: Sequence[int] | None = None,
        max_batch_tokens: float = float("inf"),
        seed: int = 0,
        speeds: Sequence[int] = (100,),
        shuffle: bool = True,
        share: Share = WHOLE,
    ) -> None:
        for name, bound in (("max_batch_seconds", max_batch_seconds), ("max_batch_tokens", max_batch_tokens)):
            if not bound > 0:
                raise ValueError(f"{name} must be positive, got {bound}")
        self.seconds = np.asarray(seconds, dtype=np.float64)
        self.tokens = np.zeros(len(self.seconds)) if tokens is None else np.asarray(tokens)
        self.max_batch_seconds, self.max_batch_tokens = max_batch_seconds, max_batch_tokens
        self.epoch, self.start = 1, 0
        self.seed, self.speeds, self.shuffle, self.share = seed, tuple(speeds), shuffle, share
        self.set_epoch(1)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Plan the batches of an epoch, and begin with batch ``start`` of them."""
        self.epoch, self.start, self._batches = epoch, start, self._plan(epoch)

    def _plan(self, epoch: int) -> list[list[Draw]]:
        rng = keyed_rng(self.seed, "batches", epoch)
        count = len(self.seconds)
        speeds = rng.choice(np.asarray(self.speeds), size=count)
        seconds = self.seconds * 100 / speeds
        blur = rng.uniform(0.9, 1.1, size=count) if self.shuffle else np.ones(count)
        order = np.argsort(-seconds * blur, kind="stable")
        batches = [
            [Draw(int(index), epoch, int(speeds[index])) for index in batch]
            for batch in self._bounded(order, seconds)
        ]
        return [batches[i] for i in rng.permutation(len(batches))] if self.shuffle else batches

    def _bounded(self, order: npt.NDArray[np.int64], seconds: npt.NDArray[np.float64]) -> list[list[int]]:
        """Fill one batch after the other, in the given order."""
        batches: list[list[int]] = []
        longest, wordiest = 0.0, 0.0
        for index in order:
            longest, wordiest = max(longest, seconds[index]), max(wordiest, self.tokens[index])
            size = len(batches[-1]) + 1 if batches else 0
            fits = longest * size <= self.max_batch_seconds and wordiest * size <= self.max_batch_tokens
            if batches and fits:
                batches[-1].append(int(index))
            else:
                batches.append([int(index)])
                longest, wordiest = seconds[index], self.tokens[index]
        return batches

    @property
    def steps(self) -> int:
        """Batches of the planned epoch, of all processes together."""
        return len(self._batches)

    def size(self, step: int) -> int:
        """Utterances of a batch, of all processes together."""
        return len(self._batches[step])

    def pieces(self, step: int) -> list[Sequence[Draw]]:
        """What this process does of a batch."""
        return self.share.of(self._batches[step])

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this process's pieces of the planned batches."""
        return self._pieces(self._batches[self.start :])

    def _pieces(self, batches: Sequence[Sequence[Draw]]) -> Iterator[list[Draw]]:
        for batch in batches:
            yield from map(list, self.share.of(batch))

    def onwards(self) -> Iterator[list[Draw]]:
        """Yield the pieces of the planned epoch, then of all after it, whatever is planned since."""
        epoch, batches = self.epoch, self._batches[self.start :]
        while len(self.seconds):
            yield from self._pieces(batches)
            epoch += 1
            batches = self._plan(epoch)

    def __len__(self) -> int:
        """Pieces of this process that are to come."""
        return sum(len(self.pieces(step)) for step in range(self.start, self.steps))
