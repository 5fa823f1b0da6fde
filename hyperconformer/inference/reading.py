"""Many audio files to padded batches, read by threads ahead of whoever takes them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hyperconformer.audio import read_audio, read_short_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError

THREADS = 4
AHEAD = 2
"""Batches that are read before they are asked for."""


@dataclass(frozen=True)
class AudioBatch:
    """Padded recordings.

    Attributes
    ----------
    number : int
        Place of the batch in its plan.
    files : tuple of int
        Which file each row is.
    samples_bs : Tensor, shape (B, S), float32
        Zero beyond each recording's end.
    lengths_b : Tensor, shape (B,), long
        Samples of each.
    faults : dict of int to str
        Files that could not be read and have no row, and why.
    longer : tuple of int
        Files that last longer than they may and have no row either.

    Examples
    --------
    >>> AudioBatch(0, (7,), torch.zeros(1, 16_000), torch.tensor([16_000]), {}).seconds
    [1.0]
    """

    number: int
    files: tuple[int, ...]
    samples_bs: Tensor
    lengths_b: Tensor
    faults: dict[int, str]
    longer: tuple[int, ...] = ()

    @property
    def seconds(self) -> list[float]:
        """Duration of each recording."""
        return [samples / SAMPLE_RATE for samples in self.lengths_b.tolist()]


def plan_batches(seconds: Sequence[float], most_seconds: float) -> list[list[int]]:
    """Bring recordings of about the same length together, the longest first.

    What does not fit into the memory so shows at once, and the last batches, of which processes that share
    the work get an unequal number, are quick.

    Parameters
    ----------
    seconds : sequence of float
        Duration of each recording.
    most_seconds : float
        Padded audio of a batch; a recording that is longer stands alone.

    Returns
    -------
    list of list of int

    Examples
    --------
    >>> plan_batches([1.0, 9.0, 4.0, 2.0], most_seconds=8.0)
    [[1], [2, 3], [0]]
    """
    batches: list[list[int]] = []
    for file in sorted(range(len(seconds)), key=lambda file: -seconds[file]):
        if batches and seconds[batches[-1][0]] * (len(batches[-1]) + 1) <= most_seconds:
            batches[-1].append(file)
        else:
            batches.append([file])
    return batches


def read_batches(
    paths: Sequence[str],
    plan: Sequence[Sequence[int]],
    numbers: Iterable[int] | None = None,
    *,
    most_seconds: float | None = None,
    threads: int = THREADS,
    ahead: int = AHEAD,
) -> Iterator[AudioBatch]:
    """Read the batches of a plan; decoding a file does not hold up the thread that computes.

    Parameters
    ----------
    paths : sequence of str
        Audio files.
    plan : sequence of sequence of int
        Of :func:`plan_batches`.
    numbers : iterable of int or None
        Which batches, in this order; it is asked for the next one when there is room for it. None: all.
    most_seconds : float or None
        A file is read no further; None: all are read to their ends.
    threads : int
        That read.
    ahead : int
        Batches that wait at most.

    Yields
    ------
    AudioBatch

    Examples
    --------
    >>> [batch] = read_batches(["no/such.flac"], [[0]])
    >>> batch.files, batch.faults
    ((), {0: "audio file 'no/such.flac' does not exist: check the path"})
    """
    wanted = iter(range(len(plan)) if numbers is None else numbers)
    pending: deque[tuple[int, dict[int, Future[Tensor | None]]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="audio") as pool:

        def fill() -> None:
            for number in islice(wanted, ahead + 1 - len(pending)):
                futures = {file: pool.submit(_read, paths[file], most_seconds) for file in plan[number]}
                pending.append((number, futures))

        try:
            fill()
            while pending:
                batch = _padded(*pending.popleft())
                fill()
                yield batch
        finally:
            for _, futures in pending:
                for future in futures.values():
                    future.cancel()


def _read(path: str, most_seconds: float | None) -> Tensor | None:
    samples = read_audio(path) if most_seconds is None else read_short_audio(path, most_seconds)
    return None if samples is None else torch.from_numpy(samples)


def _padded(number: int, futures: dict[int, Future[Tensor | None]]) -> AudioBatch:
    rows: dict[int, Tensor] = {}
    faults: dict[int, str] = {}
    for file, future in futures.items():
        try:
            samples = future.result()
        except InputError as error:
            faults[file] = str(error)
        else:
            if samples is not None:
                rows[file] = samples
    longer = tuple(file for file in futures if file not in rows and file not in faults)
    padded_bs = pad_sequence(list(rows.values()), batch_first=True) if rows else torch.zeros(0, 0)
    lengths_b = torch.tensor([len(samples) for samples in rows.values()], dtype=torch.long)
    return AudioBatch(number, tuple(rows), padded_bs, lengths_b, faults, longer)
