"""Which utterances go together, in which order, at which speed: a pure function of (seed, epoch)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from hyperconformer.data.augment import keyed_rng


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


class BatchSampler(Sampler[list[Draw]]):
    """Batches of similar lengths, bounded in padded seconds after the change of speed.

    Every utterance comes exactly once an epoch. With ``shuffle``, lengths are blurred by a tenth before
    they are sorted and the batches come in random order: new batches every epoch, the same ones for
    the same (seed, epoch). Without it, batches go from long to short.

    Parameters
    ----------
    seconds : sequence of float
        Duration of each utterance.
    max_batch_seconds : float
        Longest utterance of the batch times utterances; one that is longer alone is a batch of its own.
    seed : int
        With the epoch, keys the order and the speeds.
    speeds : sequence of int
        Percentages to draw from.
    shuffle : bool
        Random order.

    Raises
    ------
    ValueError
        If ``max_batch_seconds`` is not positive.

    Examples
    --------
    >>> sampler = BatchSampler([1.0, 5.0, 1.2], max_batch_seconds=6, shuffle=False)
    >>> [[draw.index for draw in batch] for batch in sampler]
    [[1], [2, 0]]
    """

    def __init__(
        self,
        seconds: Sequence[float],
        *,
        max_batch_seconds: float,
        seed: int = 0,
        speeds: Sequence[int] = (100,),
        shuffle: bool = True,
    ) -> None:
        if max_batch_seconds <= 0:
            raise ValueError(f"max_batch_seconds must be positive, got {max_batch_seconds}")
        self.seconds = np.asarray(seconds, dtype=np.float64)
        self.max_batch_seconds = max_batch_seconds
        self.seed, self.speeds, self.shuffle = seed, tuple(speeds), shuffle
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        """Plan the batches of an epoch; SpeechBrain's training loop calls it before each."""
        rng = keyed_rng(self.seed, "batches", epoch)
        count = len(self.seconds)
        speeds = rng.choice(np.asarray(self.speeds), size=count)
        seconds = self.seconds * 100 / speeds
        blur = rng.uniform(0.9, 1.1, size=count) if self.shuffle else np.ones(count)
        batches: list[list[Draw]] = []
        longest = 0.0
        for index in np.argsort(-seconds * blur, kind="stable"):
            draw = Draw(int(index), epoch, int(speeds[index]))
            longest = max(longest, seconds[index])
            if batches and longest * (len(batches[-1]) + 1) <= self.max_batch_seconds:
                batches[-1].append(draw)
            else:
                batches.append([draw])
                longest = seconds[index]
        if self.shuffle:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        self._batches = batches

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield the planned batches."""
        return iter(self._batches)

    def __len__(self) -> int:
        """Batches in the planned epoch."""
        return len(self._batches)
