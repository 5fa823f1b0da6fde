"""Recordings whose words are tones, and a recogniser that hears them: what is said and when is known."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.types import Segment, Word

Samples = npt.NDArray[np.float32]

VOCABULARY = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT")
WORD_SECONDS = 0.3
_WINDOW = SAMPLE_RATE // 100


def tone(word: str) -> Samples:
    """0.3 s of the word's own frequency."""
    times = np.arange(int(WORD_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.1 * np.sin(2 * np.pi * (500 + 300 * VOCABULARY.index(word)) * times)).astype(np.float32)


def spoken(words: Sequence[str], gaps: Sequence[float], noise: float = 1e-4, seed: int = 0) -> Samples:
    """Words, each after its gap of so many seconds, with a little noise."""
    pieces = [
        piece
        for word, gap in zip(words, gaps, strict=True)
        for piece in (np.zeros(round(gap * SAMPLE_RATE), np.float32), tone(word))
    ]
    silence = np.concatenate(pieces)
    rng = np.random.default_rng(seed)
    return silence + rng.normal(scale=noise, size=len(silence)).astype(np.float32)


def heard(samples: Samples) -> Segment:
    """Recognise tones; of one that was cut so much is heard as is left, and less than half of it wrongly."""
    windows = len(samples) // _WINDOW
    loud = samples[: windows * _WINDOW].reshape(windows, _WINDOW).std(axis=1) > 0.02
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False]))))
    words = tuple(_read(samples, *edge) for edge in edges.reshape(-1, 2))
    seconds = len(samples) / SAMPLE_RATE
    return Segment(0.0, seconds, " ".join(word.text for word in words), words)


def _read(samples: Samples, first: int, stop: int) -> Word:
    piece = samples[first * _WINDOW : stop * _WINDOW]
    start, end = first * _WINDOW / SAMPLE_RATE, stop * _WINDOW / SAMPLE_RATE
    if end - start < WORD_SECONDS / 2:
        return Word("UH", start, end, 0.1)
    peak_hz = np.abs(np.fft.rfft(piece)).argmax() * SAMPLE_RATE / len(piece)
    return Word(VOCABULARY[round((peak_hz - 500) / 300)], start, end, 1.0)


def blocks_of(samples: Samples, *, seed: int = 0, longest: int = 50_000) -> Iterator[Samples]:
    """The same in blocks of drawn lengths, some of them empty."""
    rng = np.random.default_rng(seed)
    place = 0
    while place < len(samples):
        step = int(rng.integers(0, longest))
        yield samples[place : place + step]
        place += step
