"""Recordings of any length to text at constant memory: find speech, recognise it, join the pieces."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from hyperconformer.audio import Samples
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.longform_options import DEFAULT, LongformOptions
from hyperconformer.inference.segmentation import speech_segments
from hyperconformer.inference.stitching import stitch
from hyperconformer.types import Segment, Word

Recognise = Callable[[list[Samples]], Sequence[Segment]]
Content = TypeVar("Content")


def transcribe_stream(
    blocks: Iterable[Samples],
    recognise: Recognise,
    options: LongformOptions = DEFAULT,
    clock: Clock | None = None,
) -> Iterator[Segment]:
    """Transcribe a recording while it comes in.

    Parameters
    ----------
    blocks : iterable of ndarray, shape (samples,), float32
        Mono audio at 16 kHz, in order. It is asked for more only when a batch is done.
    recognise : callable
        Some arrays of samples to as many segments; their times count from each array's first sample. Those
        with text have words.
    options : LongformOptions
    clock : Clock or None
        Is told what getting the blocks and finding speech took: ``read``.

    Yields
    ------
    Segment
        In order of time, none without text. Times count from the recording's beginning, and none lies beyond
        its end. One that lost words to its neighbour has no ``hypotheses``: they would say more than its
        text.

    Raises
    ------
    InputError
        If ``vad`` is not installed.
    ValueError
        If ``recognise`` gives text without words where two segments overlap, or another number of segments.

    Examples
    --------
    >>> import numpy as np
    >>> def recognise(arrays):
    ...     return [Segment(0.0, len(samples) / 16_000, "SOUND") for samples in arrays]
    >>> rng = np.random.default_rng(0)
    >>> recording = rng.normal(scale=0.001, size=80_000).astype(np.float32)
    >>> recording[32_000:48_000] *= 100
    >>> [said] = transcribe_stream([recording], recognise)
    >>> round(said.start, 1), round(said.end, 1), said.text
    (1.8, 3.2, 'SOUND')
    """
    segments = (clock or Clock()).each("read", speech_segments(blocks, options))
    pieces = ((segment.start, segment.end, segment.samples) for segment in segments)
    return joined(recognised(pieces, recognise, options.batch_seconds))


def recognised(
    pieces: Iterable[tuple[float, float, Content]],
    recognise: Callable[[list[Content]], Sequence[Segment]],
    batch_seconds: float,
) -> Iterator[Segment]:
    """Recognise pieces of a recording in batches.

    Parameters
    ----------
    pieces : iterable of (float, float, content)
        Where each begins and ends, in seconds, and what is to be recognised.
    recognise : callable
        Contents to as many segments, with times of their own.
    batch_seconds : float
        What is recognised at once, padding included; a longer piece stands alone.

    Yields
    ------
    Segment
        One a piece, in times of the recording, none beyond the piece's end.

    Raises
    ------
    ValueError
        If ``recognise`` gives another number of segments.

    Examples
    --------
    >>> def recognise(contents):
    ...     return [Segment(0.0, 1.0, f"{content}, {len(contents)} AT ONCE") for content in contents]
    >>> pieces = [(0.0, 1.0, "A"), (4.0, 5.0, "B"), (6.0, 7.0, "C")]
    >>> [(said.start, said.text) for said in recognised(pieces, recognise, batch_seconds=2.0)]
    [(0.0, 'A, 2 AT ONCE'), (4.0, 'B, 2 AT ONCE'), (6.0, 'C, 1 AT ONCE')]
    """
    batch: list[tuple[float, float, Content]] = []
    longest = 0.0

    def said() -> Iterator[Segment]:
        segments = recognise([content for _, _, content in batch])
        for (start, end, _), segment in zip(batch, segments, strict=True):
            yield _later(segment, start, end)

    for start, end, content in pieces:
        longest = max(longest, end - start)
        if batch and longest * (len(batch) + 1) > batch_seconds:
            yield from said()
            batch, longest = [], end - start
        batch.append((start, end, content))
    if batch:
        yield from said()


def joined(pieces: Iterable[Segment]) -> Iterator[Segment]:
    """Take out what was heard twice, where a segment begins before the one before it has ended.

    Parameters
    ----------
    pieces : iterable of Segment
        In order of time.

    Yields
    ------
    Segment
        Those with text; they do not overlap.

    Raises
    ------
    ValueError
        If one of two that overlap has text but no words.

    Examples
    --------
    >>> one, two = Word("ONE", 0.2, 0.6, 1.0), Word("TWO", 1.0, 1.5, 1.0)
    >>> pieces = [Segment(0.0, 1.6, "ONE TWO", (one, two)), Segment(0.8, 2.0, "TWO", (two,))]
    >>> [(said.text, said.start, said.end) for said in joined(pieces)]
    [('ONE', 0.0, 1.0), ('TWO', 1.0, 2.0)]
    """
    held: Segment | None = None
    for piece in pieces:
        if held is not None and piece.start < held.end:
            held, piece = _parted(held, piece)
        if held is not None and held.text:
            yield held
        held = piece
    if held is not None and held.text:
        yield held


def _parted(left: Segment, right: Segment) -> tuple[Segment, Segment]:
    """Two segments that overlap, each with the words that it hears better; they meet where these do."""
    for piece in (left, right):
        if piece.text and not piece.words:
            raise ValueError(
                f"a segment from {piece.start} to {piece.end} s has text but no words to join by"
            )
    ours, theirs = stitch(left.words, right.words, right.start, left.end)
    seam = (right.start + left.end) / 2
    seam = min([seam, *(word.start for word in theirs)])
    seam = max([seam, *(word.end for word in ours)])
    left, right = _with_words(left, ours), _with_words(right, theirs)
    return replace(left, end=seam), replace(right, start=seam)


def _with_words(segment: Segment, words: Sequence[Word]) -> Segment:
    if len(words) == len(segment.words):
        return replace(segment, words=tuple(words))
    text = " ".join(word.text for word in words)
    return replace(segment, text=text, words=tuple(words), hypotheses=())


def _later(segment: Segment, seconds: float, latest: float) -> Segment:
    """Count times from so many seconds earlier; a sum that is rounded up may not pass the end."""
    start, end = (min(time + seconds, latest) for time in (segment.start, segment.end))
    words = tuple(
        replace(word, start=min(word.start + seconds, latest), end=min(word.end + seconds, latest))
        for word in segment.words
    )
    return replace(segment, start=start, end=end, words=words)
