"""Many audio files to padded batches, read by threads ahead of whoever takes them."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hyperconformer.audio import audio_seconds, read_audio, read_short_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.longform_options import LongformOptions

THREADS = 4
AHEAD = 2
"""Batches that are read before they are asked for."""

WINDOW = 512
"""Files whose headers are read at once, to bring those of about the same length together."""

Portion = Mapping[int, str]
"""Files that are heard together: the number of each, and its path."""


@dataclass(frozen=True)
class AudioBatch:
    """Padded recordings.

    Attributes
    ----------
    files : mapping of int to str
        Which file each row is, and its path.
    samples_bs : Tensor, shape (B, S), float32
        Zero beyond each recording's end.
    lengths_b : Tensor, shape (B,), long
        Samples of each.
    faults : dict of int to str
        Files that could not be read and have no row, and why.
    longer : mapping of int to str
        Files that last longer than they may and have no row either, and their paths.

    Examples
    --------
    >>> AudioBatch({7: "a.wav"}, torch.zeros(1, 16_000), torch.tensor([16_000]), {}).seconds
    [1.0]
    """

    files: Portion
    samples_bs: Tensor
    lengths_b: Tensor
    faults: dict[int, str]
    longer: Portion = field(default_factory=dict)

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


def plan_files(files: Iterable[tuple[int, str]], options: LongformOptions) -> Iterator[Portion]:
    """Bring files of about the same length together, by what their headers say.

    Parameters
    ----------
    files : iterable of (int, str)
        Number and path of each, of which :data:`WINDOW` are looked at once.
    options : LongformOptions
        Audio of a batch, and what is heard in one piece.

    Yields
    ------
    Portion
        Of files that are longer than a piece, and of those whose header cannot be read, one each, before the
        others of their window.

    Examples
    --------
    >>> list(plan_files(enumerate(["no/such.wav", "none.flac"]), LongformOptions()))
    [{0: 'no/such.wav'}, {1: 'none.flac'}]
    """
    waiting = iter(files)
    while window := list(islice(waiting, WINDOW)):
        with ThreadPoolExecutor(THREADS, thread_name_prefix="header") as pool:
            seconds = list(pool.map(_seconds, (path for _, path in window)))
        alone = [math.inf if length > options.longest_seconds else length for length in seconds]
        for batch in plan_batches(alone, options.batch_seconds):
            yield dict(window[place] for place in batch)


def _seconds(path: str) -> float:
    try:
        return audio_seconds(path)
    except InputError:
        # Whoever reads it says why it cannot be.
        return math.inf


def read_batches(
    portions: Iterable[Portion],
    *,
    most_seconds: float | None = None,
    threads: int = THREADS,
    ahead: int = AHEAD,
) -> Iterator[AudioBatch]:
    """Read files to batches; decoding them does not hold up the thread that computes.

    Parameters
    ----------
    portions : iterable of Portion
        Files of each batch; it is asked for the next one when there is room for it.
    most_seconds : float or None
        A file is read no further; None: all are read to their ends.
    threads : int
        That read.
    ahead : int
        Batches that wait at most; none behind a file that is longer than ``most_seconds``, which may take
        hours.

    Yields
    ------
    AudioBatch
        One of each portion, in their order.

    Examples
    --------
    >>> [batch] = read_batches([{7: "no/such.flac"}])
    >>> batch.files, batch.faults
    ({}, {7: "audio file 'no/such.flac' does not exist: check the path"})
    """
    wanted = iter(portions)
    pending: deque[tuple[Portion, list[Future[Tensor | None]]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="audio") as pool:

        def fill() -> None:
            while len(pending) <= ahead and not (pending and maybe_long(pending[-1][0])):
                if (portion := next(wanted, None)) is None:
                    return
                pending.append(
                    (portion, [pool.submit(_read, path, most_seconds) for path in portion.values()])
                )

        def maybe_long(portion: Portion) -> bool:
            # Of processes that share portions the one that is free first is to have what comes behind it.
            return most_seconds is not None and len(portion) == 1

        try:
            fill()
            while pending:
                batch = _padded(*pending.popleft())
                if not batch.longer:
                    fill()
                yield batch
                fill()
        finally:
            for _, futures in pending:
                for future in futures:
                    future.cancel()


def _read(path: str, most_seconds: float | None) -> Tensor | None:
    samples = read_audio(path) if most_seconds is None else read_short_audio(path, most_seconds)
    return None if samples is None else torch.from_numpy(samples)


def _padded(portion: Portion, futures: Sequence[Future[Tensor | None]]) -> AudioBatch:
    rows: dict[int, Tensor] = {}
    faults: dict[int, str] = {}
    for file, future in zip(portion, futures, strict=True):
        try:
            samples = future.result()
        except InputError as error:
            faults[file] = str(error)
        else:
            if samples is not None:
                rows[file] = samples
    files = {file: portion[file] for file in rows}
    longer = {file: path for file, path in portion.items() if file not in rows and file not in faults}
    padded_bs = pad_sequence(list(rows.values()), batch_first=True) if rows else torch.zeros(0, 0)
    lengths_b = torch.tensor([len(samples) for samples in rows.values()], dtype=torch.long)
    return AudioBatch(files, padded_bs, lengths_b, faults, longer)
