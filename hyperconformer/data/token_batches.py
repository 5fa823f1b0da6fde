"""Which sentences go together, in which order: a pure function of (seed, epoch)."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hyperconformer.data.augment import keyed_rng
from hyperconformer.data.sampler import WHOLE, Share

Batch = TypeVar("Batch")

POOL = 2**17
"""Shuffled sentences among which those of similar lengths are put together."""


class TokenSampler(Sampler[npt.NDArray[np.int64]]):
    """Batches of similar lengths, bounded in padded tokens, begin symbols included.

    Every sentence comes exactly once an epoch. With ``shuffle`` the text is shuffled, cut into pools, and
    each pool sorted by length, cut into batches and those shuffled: new batches every epoch, the same ones
    for the same (seed, epoch). Without it, batches go from long to short.

    Parameters
    ----------
    lengths : array, shape (N,), int64
        Tokens of each sentence.
    max_batch_tokens : int
        Longest sentence of a batch, with its begin, times sentences; one that is longer alone is a batch of
        its own.
    seed : int
        With the epoch, keys the order.
    shuffle : bool
        Random order.
    share : Share
        Of this process: every batch is one step of training for all, and iterating yields its own pieces.

    Raises
    ------
    ValueError
        If ``max_batch_tokens`` is not positive.

    Examples
    --------
    >>> sampler = TokenSampler(np.array([1, 5, 2]), max_batch_tokens=6, shuffle=False)
    >>> [batch.tolist() for batch in sampler]
    [[1], [2, 0]]
    >>> sampler.set_epoch(1, start=1)
    >>> [batch.tolist() for batch in sampler], sampler.steps, sampler.size(1)
    ([[2, 0]], 2, 2)
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.int64],
        *,
        max_batch_tokens: int,
        seed: int = 0,
        shuffle: bool = True,
        share: Share = WHOLE,
    ) -> None:
        if max_batch_tokens <= 0:
            raise ValueError(f"max_batch_tokens must be positive, got {max_batch_tokens}")
        self.lengths, self.max_batch_tokens = lengths, max_batch_tokens
        self.seed, self.shuffle, self.share = seed, shuffle, share
        self.set_epoch(1)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Plan the batches of an epoch, and begin with batch ``start`` of them."""
        rng = keyed_rng(self.seed, "sentences", epoch)
        count = len(self.lengths)
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        pool = POOL if self.shuffle else max(1, count)
        batches: list[npt.NDArray[np.int64]] = []
        for low in range(0, count, pool):
            some = order[low : low + pool]
            some = some[np.argsort(-self.lengths[some], kind="stable")]
            cut = self._cut(self.lengths[some])
            pieces = np.split(some, cut)
            batches += [pieces[i] for i in rng.permutation(len(pieces))] if self.shuffle else pieces
        self._batches, self._start = batches, start

    def _cut(self, lengths: npt.NDArray[np.int64]) -> list[int]:
        """Where batches begin, but the first, in sentences sorted from long to short."""
        cuts: list[int] = []
        place = 0
        while True:
            place += max(1, self.max_batch_tokens // (int(lengths[place]) + 1))
            if place >= len(lengths):
                return cuts
            cuts.append(place)

    @property
    def steps(self) -> int:
        """Batches of the planned epoch, of all processes together."""
        return len(self._batches)

    def size(self, step: int) -> int:
        """Sentences of a batch, of all processes together."""
        return len(self._batches[step])

    def pieces(self, step: int) -> list[npt.NDArray[np.int64]]:
        """What this process does of a batch."""
        return [self._batches[step][low:high] for low, high in self.share.edges(self.size(step))]

    def __iter__(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield this process's pieces of the planned batches."""
        for step in range(self._start, self.steps):
            yield from self.pieces(step)

    def __len__(self) -> int:
        """Pieces of this process that are to come."""
        return sum(len(self.pieces(step)) for step in range(self._start, self.steps))


class TokenLoader(DataLoader[Batch], Generic[Batch]):
    """Batches of a text in a sampler's order.

    Parameters
    ----------
    text : Dataset
        Answers an array of numbers with a batch, as TokenText does.
    sampler : TokenSampler
    num_workers : int
        Reading processes beside the training; 0 reads in between.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from hyperconformer.data.tokens import write_tokens
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "t.model"
    ...     tokenizer = train_tokenizer(["A B"], path, output_neurons=6, model_type="char")
    ...     text = write_tokens(["A", "B A"], tokenizer, Path(folder) / "text")
    ...     loader = TokenLoader(text, TokenSampler(text.lengths, max_batch_tokens=9, shuffle=False))
    ...     [batch.lengths_b.tolist() for batch in loader]
    [[4], [2]]
    """

    def __init__(self, text: Dataset[Batch], sampler: TokenSampler, *, num_workers: int = 0) -> None:
        super().__init__(
            text,
            sampler=cast(Sampler[Any], sampler),
            # The sampler's numbers are whole batches already.
            batch_size=None,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if num_workers else None,
        )

    @property
    def steps(self) -> TokenSampler:
        """What plans the batches."""
        return cast(TokenSampler, self.sampler)
