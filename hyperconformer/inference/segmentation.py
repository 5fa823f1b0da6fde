"""Cut a recording of any length into stretches of speech, at constant memory."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hyperconformer.audio import Samples
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.inference.longform_options import DEFAULT, LongformOptions
from hyperconformer.inference.voice_activity import (
    FRAME_SAMPLES,
    FRAMES_PER_SECOND,
    VOICE_ACTIVITY,
    Flags,
    seconds_of,
)

_SPEECH = round(0.06 * FRAMES_PER_SECOND)
"""Shorter speech, in frames, is a click."""

_PAUSE = round(0.3 * FRAMES_PER_SECOND)
"""Shorter silence may be inside of a word; a segment is never cut there."""

_SILENCE = round(0.5 * FRAMES_PER_SECOND)
"""This much silence ends a segment, however short."""

_MARGIN = round(0.2 * FRAMES_PER_SECOND)
"""Kept before and after speech: words begin and end softly."""


class SpeechSegment(NamedTuple):
    """A stretch of a recording that may hold speech.

    Attributes
    ----------
    start_sample : int
        Where in the recording it begins. Before the end of the segment before it where speech was cut.
    samples : ndarray, shape (samples,), float32

    Examples
    --------
    >>> segment = SpeechSegment(16_000, np.zeros(32_000, np.float32))
    >>> segment.start, segment.end
    (1.0, 3.0)
    """

    start_sample: int
    samples: Samples

    @property
    def start(self) -> float:
        """Seconds from the recording's beginning."""
        return self.start_sample / SAMPLE_RATE

    @property
    def end(self) -> float:
        """Seconds from the recording's beginning."""
        return (self.start_sample + len(self.samples)) / SAMPLE_RATE


class _Cut(NamedTuple):
    """A segment in frames of the buffer, and where the buffer then goes on."""

    begin: int
    end: int
    resume: int


def speech_segments(blocks: Iterable[Samples], options: LongformOptions = DEFAULT) -> Iterator[SpeechSegment]:
    """Find the speech of a recording.

    Half a second of silence ends a segment. One that would be too long is cut in its longest pause (after a
    quarter of what it may last); where there is none, it is cut in the midst of speech, and the next one
    begins a little earlier. What is found does not depend on how the recording comes in blocks, and no more
    of it is held than the longest segment and some seconds.

    Parameters
    ----------
    blocks : iterable of ndarray, shape (samples,), float32
        Mono audio at 16 kHz, in order.
    options : LongformOptions

    Yields
    ------
    SpeechSegment
        In order of time.

    Raises
    ------
    InputError
        If the voice activity detector is not installed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> speech = rng.normal(scale=0.1, size=(3, 16_000)).astype(np.float32)
    >>> silence = rng.normal(scale=0.001, size=(3, 24_000)).astype(np.float32)
    >>> recording = [block for pair in zip(silence, speech) for block in pair]
    >>> [(round(found.start, 1), round(found.end, 1)) for found in speech_segments(recording)]
    [(1.3, 2.7), (3.8, 5.2), (6.3, 7.5)]
    """
    longest = round(options.longest_seconds * FRAMES_PER_SECOND)
    overlap = round(options.shared_seconds * FRAMES_PER_SECOND)
    return _segments(VOICE_ACTIVITY[options.vad](seconds_of(blocks)), longest, overlap)


def _segments(gated: Iterable[tuple[Samples, Flags]], longest: int, overlap: int) -> Iterator[SpeechSegment]:
    start, samples, speech = 0, np.zeros(0, np.float32), np.zeros(0, np.bool_)
    for ended, (more_samples, more_speech) in _with_last(gated):
        samples, speech = np.concatenate((samples, more_samples)), np.concatenate((speech, more_speech))
        while cut := _next_cut(speech, longest, overlap, ended):
            begin, end, resume = (frame * FRAME_SAMPLES for frame in cut)
            if end > begin:
                yield SpeechSegment(start + begin, samples[begin:end].copy())
            start, samples, speech = start + resume, samples[resume:], speech[cut.resume :]


def _with_last(
    gated: Iterable[tuple[Samples, Flags]],
) -> Iterator[tuple[bool, tuple[Samples, Flags]]]:
    """Say of each whether it is the last one."""
    held = None
    for item in gated:
        if held is not None:
            yield False, held
        held = item
    if held is not None:
        yield True, held


def _next_cut(speech: Flags, longest: int, overlap: int, ended: bool) -> _Cut | None:
    """The next segment of the buffer, empty where only silence is dropped; None: more must be heard first."""
    starts, stops = _runs(speech)
    frames = len(speech)
    if not len(starts):
        dropped = frames - (0 if ended else _MARGIN)
        return _Cut(0, 0, dropped) if dropped > 0 else None
    begin = max(0, int(starts[0]) - _MARGIN)
    latest = begin + longest
    pauses = np.append(starts[1:], frames) - stops
    final = pauses >= _SILENCE
    final[-1] |= ended
    if final.any():
        last = int(final.argmax())
        end = min(int(stops[last]) + _MARGIN, frames)
        if end <= latest:
            return _Cut(begin, end, end)
    elif frames < latest + _PAUSE:
        return None
    usable = np.where((stops >= begin + longest // 4) & (stops + _PAUSE // 2 <= latest), pauses, 0)
    best = len(usable) - 1 - int(usable[::-1].argmax())
    if usable[best] < _PAUSE:
        return _Cut(begin, latest, latest - overlap)
    middle = int(stops[best]) + int(pauses[best]) // 2
    return _Cut(begin, min(int(stops[best]) + _MARGIN, middle, latest), middle)


def _runs(speech: Flags) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First frames and stops of speech: short silences are closed, clicks left out unless they may go on."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], speech, [False]))))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return starts, stops
    apart = starts[1:] - stops[:-1] >= _PAUSE
    starts, stops = starts[np.append(True, apart)], stops[np.append(apart, True)]
    kept = (stops - starts >= _SPEECH) | (stops == len(speech))
    return starts[kept], stops[kept]
