"""Which frames of a recording may hold speech: gates over a stream of samples, at constant memory.

A gate never sees more than some seconds, so a recording may be endless. When unsure it lets pass: what was
thrown away nobody can recognise.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

import numpy as np
import numpy.typing as npt

from hyperconformer.audio import Samples
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError

Flags = npt.NDArray[np.bool_]
Gate = Callable[[Iterable[Samples]], Iterator[tuple[Samples, Flags]]]

FRAME_SAMPLES = SAMPLE_RATE // 50
FRAMES_PER_SECOND = SAMPLE_RATE // FRAME_SAMPLES

SILENCE_DB = -96.0
"""Half a step of 16 bits: below it nothing can be said, and the features hear nothing."""

FLOOR_PERCENTILE, PEAK_PERCENTILE = 10.0, 99.0
SECONDS_BEHIND, SECONDS_AHEAD = 10, 5
"""What the noise floor and the loudest frames are looked for in."""

RANGE_SHARE, LEAST_MARGIN_DB, MOST_MARGIN_DB = 0.2, 3.0, 10.0
"""Speech begins above the floor by a share of the range up to the loudest frames, within these bounds."""

WEBRTC_MODE = 1
"""How strict webrtcvad is, from 0 to 3."""


def seconds_of(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Cut a stream anew, into seconds.

    Parameters
    ----------
    blocks : iterable of ndarray, shape (samples,), float32
        Of any lengths, also empty.

    Yields
    ------
    ndarray, shape (16 000,), float32
        The last one may be shorter; none is empty.

    Examples
    --------
    >>> [len(second) for second in seconds_of([np.zeros(20_000, np.float32), np.zeros(3, np.float32)])]
    [16000, 4003]
    """
    waiting: list[Samples] = []
    there = 0
    for block in blocks:
        waiting.append(block)
        there += len(block)
        if there >= SAMPLE_RATE:
            joined = np.concatenate(waiting)
            whole = there - there % SAMPLE_RATE
            yield from np.split(joined[:whole], range(SAMPLE_RATE, whole, SAMPLE_RATE))
            # A copy, or the rest of a long block would keep all of it.
            waiting, there = [joined[whole:].copy()], there - whole
    if there:
        yield np.concatenate(waiting)


def levels_db(samples: Samples) -> npt.NDArray[np.float64]:
    """Tell how loud each frame of 20 ms is, without its mean: neither an offset nor a hum below 50 Hz counts.

    Parameters
    ----------
    samples : ndarray, shape (samples,), float32
        Not empty.

    Returns
    -------
    ndarray, shape (ceil(samples / 320),)
        Decibels of full scale, at least :data:`SILENCE_DB`; the last frame may be a part of one.

    Examples
    --------
    >>> levels_db(np.append(np.full(320, 0.5), np.tile([0.6, 0.4], 100)).astype(np.float32)).round(1)
    array([-96., -20.])
    """
    starts = np.arange(0, len(samples), FRAME_SAMPLES)
    sizes = np.diff(np.append(starts, len(samples)))
    wide = samples.astype(np.float64)
    means = np.add.reduceat(wide, starts) / sizes
    powers = np.add.reduceat((wide - np.repeat(means, sizes)) ** 2, starts) / sizes
    return np.maximum(10.0 * np.log10(powers + 1e-20), SILENCE_DB)


def energy_gate(seconds: Iterable[Samples]) -> Iterator[tuple[Samples, Flags]]:
    """Let pass what is louder than the noise around it.

    The floor is a low percentile of the levels of some seconds before and after, so steady noise is no speech
    however loud, and a quiet recording is as good as a loud one. Speech begins well above the floor and ends
    half as far above it. Music, which is no steadier than speech, passes.

    Parameters
    ----------
    seconds : iterable of ndarray
        Of :func:`seconds_of`.

    Yields
    ------
    ndarray, shape (samples,), float32
        The same, 5 seconds later.
    ndarray, shape (ceil(samples / 320),), bool
        Whether each frame of 20 ms may be speech.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(scale=0.01, size=48_000).astype(np.float32)
    >>> noise[16_000:32_000] *= 10
    >>> [bool(flags.mean() > 0.5) for _, flags in energy_gate(seconds_of([noise]))]
    [False, True, False]
    """
    levels: deque[npt.NDArray[np.float64]] = deque(maxlen=SECONDS_BEHIND + 1 + SECONDS_AHEAD)
    waiting: deque[tuple[Samples, npt.NDArray[np.float64]]] = deque()
    speaking = False
    for second in seconds:
        own = levels_db(second)
        levels.append(own)
        waiting.append((second, own))
        if len(waiting) > SECONDS_AHEAD:
            samples, own = waiting.popleft()
            flags = _louder(own, np.concatenate(levels), speaking)
            speaking = bool(flags[-1])
            yield samples, flags
    while waiting:
        samples, own = waiting.popleft()
        flags = _louder(own, np.concatenate(levels), speaking)
        speaking = bool(flags[-1])
        yield samples, flags


def _louder(own_db: npt.NDArray[np.float64], around_db: npt.NDArray[np.float64], speaking: bool) -> Flags:
    """Frames that are speech, given whether the frame before them was."""
    floor_db, peak_db = np.percentile(around_db, (FLOOR_PERCENTILE, PEAK_PERCENTILE))
    margin_db = np.clip(RANGE_SHARE * (peak_db - floor_db), LEAST_MARGIN_DB, MOST_MARGIN_DB)
    begins, ends = own_db > floor_db + margin_db, own_db <= floor_db + margin_db / 2
    # Where neither is so, the last frame of which either was tells.
    told = np.where(begins | ends, np.arange(1, len(own_db) + 1), 0)
    last = np.maximum.accumulate(told)
    known: Flags = np.append(speaking, begins)
    return known[last]


def webrtc_gate(seconds: Iterable[Samples]) -> Iterator[tuple[Samples, Flags]]:
    """Let pass what WebRTC's voice activity detector calls speech (``pip install "hyperconformer[vad]"``).

    It knows how speech is spread over frequencies, so it tells it from loud noise better than
    :func:`energy_gate`; it hears nothing in recordings that are very quiet.

    Parameters
    ----------
    seconds : iterable of ndarray
        Of :func:`seconds_of`.

    Yields
    ------
    ndarray, shape (samples,), float32
        The same.
    ndarray, shape (ceil(samples / 320),), bool
        Whether each frame of 20 ms may be speech.

    Raises
    ------
    InputError
        If ``webrtcvad-wheels`` is not installed.

    Examples
    --------
    >>> [flags.any().item() for _, flags in webrtc_gate([np.zeros(400, np.float32)])]
    [False]
    """
    try:
        detector = import_module("webrtcvad").Vad(WEBRTC_MODE)
    except ImportError as error:
        raise InputError(
            'vad "webrtc" needs webrtcvad-wheels: pip install "hyperconformer[vad]", or take "energy"'
        ) from error
    for samples in seconds:
        padded = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES)).clip(-1.0, 1.0)
        frames = (padded * 32_767).astype("<i2").reshape(-1, FRAME_SAMPLES)
        yield samples, np.array([detector.is_speech(frame.tobytes(), SAMPLE_RATE) for frame in frames])


def open_gate(seconds: Iterable[Samples]) -> Iterator[tuple[Samples, Flags]]:
    """Let everything pass.

    Parameters
    ----------
    seconds : iterable of ndarray
        Of :func:`seconds_of`.

    Yields
    ------
    ndarray, shape (samples,), float32
        The same.
    ndarray, shape (ceil(samples / 320),), bool
        True.

    Examples
    --------
    >>> [flags.tolist() for _, flags in open_gate([np.zeros(400, np.float32)])]
    [[True, True]]
    """
    for samples in seconds:
        yield samples, np.ones(-(-len(samples) // FRAME_SAMPLES), dtype=np.bool_)


VOICE_ACTIVITY: dict[str, Gate] = {"energy": energy_gate, "webrtc": webrtc_gate, "none": open_gate}
"""Gates by name."""
