"""Where words begin and end in the sound: edges that CTC can only guess, moved to where one hears them.

CTC puts a word's tokens somewhere inside the word and does not say how long it lasts. So between tokens of
two words it is asked every 10 ms whether there is sound, and the two edges that agree best are taken: as much
sound as possible belongs to a word, as little silence as possible, neither edge is far from where it was
guessed, and where there is no silence both are one, in a dip or where the spectrum changes most.

*What sounds* must not be far below the loudest frame of the words beside it, and must stand out of the noise.
Of each of 24 bands the power that one frame in ten stays below is taken away three times; what that leaves in
one frame in ten is noise too. The less the loudest frames stand out of the softest, the less all this moves
the edges: in steady noise as loud as the speech they stay as guessed.

The figures below were chosen on spoken digits and on the embedded corpus, see RESULTS.md; around them little
changes. How far an edge may well be from its guess is the word's own affair: tens of milliseconds where its
letters are tokens, a quarter of a second where it is one token.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.features import MIN_POWER, LogMel

Array = npt.NDArray[np.floating[Any]]
Samples = Tensor | Array

HOP_SECONDS = 0.01
BLOCK_FRAMES = 3000
"""Noise is measured, and memory spent, on half a minute at a time."""

EMPHASIS = 0.97
"""Of the sample before that is subtracted: lifts hisses above hum."""

NOISE_SHARE, NOISE_FACTOR = 0.1, 3.0
"""Frames that hold nothing but noise, and how often it is taken away: it is not always at its softest."""

RANGE_DB, STANDS_OUT_DB, SURE_DB = 35.0, 6.0, 6.0
"""The softest sound of a word below its loudest; speech above noise; above that a frame counts in full."""

DISTANCE, DIP, CHANGE = 8.0, 8.0, 6.0
"""Worth so many frames of sound: an edge as far off as it may well be; a dip of 35 dB; 10 dB of change."""

TRUST_DB = 6.0
"""With a contrast of so much nothing is believed, with twice as much all."""

LEAST_REACH_SECONDS = 0.04
CHANGE_FRAMES = 3
DEEPEST_DIP = -0.5
"""More of a dip counts no more: silence is counted by its frames."""


class Guess(NamedTuple):
    """What is known of a word before one listens; all in seconds.

    Attributes
    ----------
    start, end : float
        Where it may begin and end.
    before, after : float
        How far from there it may well begin and end.
    first, last : float
        Centres of the first and the last frame that CTC labels as the word's.

    Examples
    --------
    >>> Guess(0.3, 0.6, before=0.1, after=0.2, first=0.4, last=0.4).end
    0.6
    """

    start: float
    end: float
    before: float
    after: float
    first: float
    last: float


class Sound(NamedTuple):
    """What there is to hear, every 10 ms; frame f is the 10 ms around 10 f ms.

    Attributes
    ----------
    level_f : array, shape (F,)
        Loudness in decibels, without the noise.
    noise_f : array, shape (F,)
        What the noise leaves of itself in it, in decibels.
    contrast_f : array, shape (F,)
        Loudness with the noise, in decibels above what one frame in ten stays below.
    change_f : array, shape (F + 1,)
        How much the shape of the spectrum changes from the 30 ms before frame f to the 30 ms that begin with
        it, in decibels; zero at both ends.

    Examples
    --------
    >>> sound = listen(np.append(np.zeros(8_000), np.sin(np.arange(8_000))))
    >>> sound.level_f.shape, sound.change_f.shape
    ((101,), (102,))
    >>> int((sound.level_f > sound.noise_f + 20).argmax())
    50
    """

    level_f: Array
    noise_f: Array
    contrast_f: Array
    change_f: Array


def listen(samples: Samples) -> Sound:
    """Measure loudness, noise and change.

    Parameters
    ----------
    samples : Tensor or array, shape (S,)
        Mono audio at 16 kHz, without padding, on any device.

    Returns
    -------
    Sound

    Raises
    ------
    ValueError
        If the samples have another shape.

    Examples
    --------
    >>> listen(np.zeros(400)).level_f.round()
    array([-100., -100., -100.])
    >>> listen(np.zeros((1, 400)))
    Traceback (most recent call last):
        ...
    ValueError: samples must have shape (S,), got (1, 400)
    """
    samples_s = torch.as_tensor(samples).detach().cpu().float()
    if samples_s.ndim != 1:
        raise ValueError(f"samples must have shape (S,), got {tuple(samples_s.shape)}")
    hop = round(HOP_SECONDS * SAMPLE_RATE)
    frames = len(samples_s) // hop + 1
    sharp_s = samples_s.clone()
    sharp_s[1:] -= EMPHASIS * samples_s[:-1]
    bands = LogMel(n_fft=320, n_mels=24, window_ms=20.0)
    # Of equal length, so that the last one is not a word long and all speech.
    edges = np.linspace(0, frames, math.ceil(frames / BLOCK_FRAMES) + 1).round().astype(int).tolist()
    parts = []
    for first, stop in pairwise(edges):
        block_1s = sharp_s[None, first * hop : stop * hop]
        decibels_1fm, _ = bands(block_1s, torch.tensor([block_1s.shape[1]]))
        parts.append(_heard(decibels_1fm[0, : stop - first].double().numpy()))
    level_f, noise_f, contrast_f, change_f = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Sound(level_f, noise_f, contrast_f, np.append(change_f, 0.0))


def edges_in_sound(sound: Sound, guesses: Sequence[Guess]) -> list[tuple[float, float]]:
    """Move the edges of words to where they are heard.

    Parameters
    ----------
    sound : Sound
    guesses : sequence of Guess
        Of each word, in order.

    Returns
    -------
    list of (float, float)
        Start and end of each word in seconds, in order and without overlap, with the word's labelled frames
        inside; as guessed where nothing can be told.

    Examples
    --------
    >>> tone, silence = np.sin(np.arange(8_000)), np.zeros(4_000)
    >>> sound = listen(np.concatenate([silence, tone, silence, tone, silence]))
    >>> guesses = [Guess(0.3, 0.6, 0.1, 0.2, 0.4, 0.4), Guess(1.1, 1.4, 0.1, 0.2, 1.2, 1.2)]
    >>> [(round(start, 2), round(end, 2)) for start, end in edges_in_sound(sound, guesses)]
    [(0.24, 0.76), (0.99, 1.51)]
    """
    starts, ends = [word.start for word in guesses], [word.end for word in guesses]
    if not np.isfinite(sound.level_f).all():
        return list(zip(starts, ends, strict=True))
    frames = len(sound.level_f)
    for place in range(len(guesses) + 1):
        left = guesses[place - 1] if place else None
        right = guesses[place] if place < len(guesses) else None
        # Edge f lies before frame f, and a labelled frame inside its word.
        low = round(left.last / HOP_SECONDS) + 1 if left else 0
        high = round(right.first / HOP_SECONDS) if right else frames
        # A token of two words leaves nothing between them, and beyond its end there is no sound to hear.
        if not low < high <= frames:
            continue
        end, start = _cut(sound, low, high, left, right)
        if left:
            ends[place - 1] = end
        if right:
            starts[place] = start
    in_order = np.maximum.accumulate(np.array((starts, ends)).T.reshape(-1)).reshape(-1, 2)
    return [(float(start), float(end)) for start, end in in_order]


def _cut(sound: Sound, low: int, high: int, left: Guess | None, right: Guess | None) -> tuple[float, float]:
    """The end of the word on the left and the start of the one on the right, from edge low to edge high."""
    level_f, noise_f = sound.level_f[low:high], sound.noise_f[low:high]
    words = [_frames_of(word) for word in (left, right) if word]
    loudest = min(sound.level_f[word].max() for word in words)
    contrast = min(sound.contrast_f[word].max() for word in words)
    trust = min(1.0, max(0.0, contrast / TRUST_DB - 1.0))
    over_f = level_f - np.maximum(loudest - RANGE_DB, noise_f + STANDS_OUT_DB)
    heard_f = trust * np.clip(over_f / SURE_DB, -1.0, 1.0)
    # Sound from low to an edge is for it as an end, and against it as a start.
    gain_e = np.append(0.0, np.cumsum(heard_f))
    inner = np.minimum(over_f[:-1], over_f[1:]) / RANGE_DB
    price_e = np.zeros(len(gain_e))
    price_e[1:-1] = DIP * np.maximum(inner, DEEPEST_DIP) - CHANGE * sound.change_f[low + 1 : high] / 10.0
    price_e *= trust
    times_e = HOP_SECONDS * (np.arange(low, high + 1) - 0.5)
    nothing = np.zeros(len(gain_e))
    end_e = gain_e - price_e - _pull(times_e, left.end, left.after) if left else nothing
    start_e = -gain_e - price_e - _pull(times_e, right.start, right.before) if right else nothing
    start = int(np.argmax(np.maximum.accumulate(end_e) + start_e))
    end = int(np.argmax(end_e[: start + 1]))
    return float(times_e[end]), float(times_e[start])


def _pull(times_e: Array, guess: float, reach: float) -> Array:
    """What an edge costs that is not where it was guessed."""
    pull_e: Array = DISTANCE * np.abs(times_e - guess) / max(reach, LEAST_REACH_SECONDS)
    return pull_e


def _frames_of(word: Guess) -> slice:
    """Frames that are surely, or as guessed, the word's; at least one."""
    first, last = min(word.start, word.first), max(word.end, word.last)
    return slice(max(0, round(first / HOP_SECONDS)), round(last / HOP_SECONDS) + 1)


def _heard(decibels_fm: Array) -> tuple[Array, Array, Array, Array]:
    """Of a block: loudness, noise, contrast, and the change of the spectrum's shape before each frame."""
    power_fm = 10.0 ** (decibels_fm / 10.0)
    noise_m = np.quantile(power_fm, NOISE_SHARE, axis=0)
    speech_f = np.maximum(power_fm - NOISE_FACTOR * noise_m, 0.0).sum(axis=1)
    level_f = 10.0 * np.log10(speech_f + MIN_POWER)
    frames = len(decibels_fm)
    sums_fm = np.cumsum(np.concatenate((np.zeros((1, decibels_fm.shape[1])), decibels_fm)), axis=0)
    here = np.arange(frames)
    first, stop = np.maximum(here - CHANGE_FRAMES, 0), np.minimum(here + CHANGE_FRAMES, frames)
    before_fm = (sums_fm[here] - sums_fm[first]) / np.maximum(here - first, 1)[:, None]
    after_fm = (sums_fm[stop] - sums_fm[here]) / (stop - here)[:, None]
    change_f = (after_fm - before_fm).std(axis=1)
    change_f[0] = 0.0
    raw_f = 10.0 * np.log10(power_fm.sum(axis=1))
    noise_f = np.full(frames, np.quantile(level_f, NOISE_SHARE))
    return level_f, noise_f, raw_f - np.quantile(raw_f, NOISE_SHARE), change_f
