"""Samples as the rest of the package wants them: mono, float32, 16 kHz, finite."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError

Samples = npt.NDArray[np.float32]
"""Mono audio at 16 kHz, shape (samples,)."""

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 1_000_000
"""No speech is left below; a wrong rate would turn a small file into days of audio."""

MOST_CHANNELS = 1024
"""As in libsndfile; an array with more has its samples where its channels should be."""

# What is subtracted from integer samples, and what they are then divided by. Integers of 64 bits have no
# scale that everybody agrees on.
_SCALES = {"uint8": (128, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)}


def mix(samples_by_channel: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Average the channels.

    Parameters
    ----------
    samples_by_channel : ndarray, shape (samples, channels)
        Floats.

    Returns
    -------
    ndarray, shape (samples,), float32

    Examples
    --------
    >>> mix(np.array([[0.5, 0.25]]))
    array([0.375], dtype=float32)
    """
    # Infinity is complained about later, by whoever knows what the recording is called.
    with np.errstate(over="ignore", invalid="ignore"):
        if samples_by_channel.shape[1] == 1:
            return np.ascontiguousarray(samples_by_channel[:, 0], dtype=np.float32)
        mean: npt.NDArray[np.float32] = samples_by_channel.mean(axis=1).astype(np.float32, copy=False)
        return mean


def as_floats(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Scale integer samples to between -1 and 1; floats stay as they are.

    Parameters
    ----------
    samples : ndarray
        uint8, int16, int32 or floats.

    Returns
    -------
    ndarray
        Floats of the same shape.

    Raises
    ------
    ValueError
        If the type is another.

    Examples
    --------
    >>> as_floats(np.array([-(2**15), 2**14], np.int16))
    array([-1. ,  0.5], dtype=float32)
    """
    if samples.dtype.kind == "f":
        return samples
    if samples.dtype.name not in _SCALES:
        raise ValueError(f"samples must be floats, {', '.join(_SCALES)}, not {samples.dtype}")
    zero, scale = _SCALES[samples.dtype.name]
    return (samples.astype(np.float32) - np.float32(zero)) / np.float32(scale)


def check_rate(rate_hz: float, name: str) -> None:
    """Refuse a sample rate that no recording of speech has.

    Parameters
    ----------
    rate_hz : int
    name : str
        What a complaint calls the audio.

    Raises
    ------
    InputError
        If it is no number, below 1 kHz or above 1 MHz.

    Examples
    --------
    >>> check_rate(16_000, "this")
    """
    try:
        usual = LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ
    except TypeError as error:
        raise InputError(
            f"{name} has a sample rate of {rate_hz!r}, which is no number: give it in Hz"
        ) from error
    if not usual:
        raise InputError(
            f"{name} has a sample rate of {rate_hz:g} Hz, outside {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}: "
            "correct or convert it"
        )


class HouseStream:
    """Checks mono samples and brings them to 16 kHz, piece by piece.

    Parameters
    ----------
    rate_hz : int
        Sample rate; another than 16 kHz is converted by soxr at its "HQ" quality.
    name : str
        What a complaint calls the audio.

    Raises
    ------
    InputError
        If the rate is no number, below 1 kHz or above 1 MHz.

    Examples
    --------
    >>> stream = HouseStream(8_000, "this")
    >>> pieces = [*stream.push(np.zeros(4_000, np.float32)), *stream.finish()]
    >>> sum(map(len, pieces))
    8000
    """

    def __init__(self, rate_hz: float, name: str) -> None:
        check_rate(rate_hz, name)
        self._name = name
        self._samples = 0
        self._last = np.zeros(0, np.float32)
        self._resampler = None
        if rate_hz != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def push(self, mono: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
        """Take the next samples.

        Parameters
        ----------
        mono : ndarray, shape (samples,), float32

        Yields
        ------
        ndarray, shape (samples,), float32
            What of the 16 kHz signal is known by now, unless that is nothing.

        Raises
        ------
        InputError
            If a sample is NaN or infinite.
        """
        if not np.isfinite(mono).all():
            raise InputError(
                f"{self._name} holds NaN or infinite samples: write it again as 16-bit wav or flac"
            )
        if self._resampler is not None:
            self._last = mono[-1:].copy() if len(mono) else self._last
            mono = self._resampler.resample_chunk(mono)
        yield from self._counted(mono)

    def finish(self) -> Iterator[npt.NDArray[np.float32]]:
        """Give what is left.

        Yields
        ------
        ndarray, shape (samples,), float32
            Of a recording shorter than half a sample at 16 kHz one sample, its last.

        Raises
        ------
        InputError
            If there was not one sample.
        """
        if self._resampler is not None:
            yield from self._counted(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        if self._samples == 0:
            yield from self._counted(self._last)
        if self._samples == 0:
            raise InputError(f"{self._name} holds no samples: record or copy it again")

    def _counted(self, samples: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
        self._samples += len(samples)
        if len(samples):
            yield samples


def as_house_audio(
    samples: npt.NDArray[Any], rate_hz: float, name: str = "the array"
) -> npt.NDArray[np.float32]:
    """Turn decoded samples into what the rest of the package wants: mono, float32, 16 kHz.

    Parameters
    ----------
    samples : ndarray, shape (samples,) or (samples, channels)
        Floats, normally between -1 and 1, or uint8, int16 or int32 of full scale. Channels are averaged.
    rate_hz : int
        Sample rate; another than 16 kHz is converted by soxr at its "HQ" quality.
    name : str
        What a complaint calls the audio.

    Returns
    -------
    ndarray, shape (samples,), float32

    Raises
    ------
    InputError
        If the array has another shape or type, or no samples, if one is NaN or infinite, or if the rate is
        no number, below 1 kHz or above 1 MHz.

    Examples
    --------
    >>> as_house_audio(np.full((8_000, 2), [0.5, 0.25], np.float32), 8_000, "this").shape
    (16000,)
    >>> as_house_audio(np.array([0, 2**14], np.int16), 16_000)
    array([0. , 0.5], dtype=float32)
    """
    if not isinstance(samples, np.ndarray):
        raise InputError(f"{name} is a {type(samples).__name__}: give a numpy array, by numpy.asarray")
    if samples.ndim not in (1, 2):
        raise InputError(f"{name} has the shape {samples.shape}: give (samples,) or (samples, channels)")
    by_channel = samples if samples.ndim == 2 else samples[:, None]
    channels = by_channel.shape[1]
    if not 1 <= channels <= MOST_CHANNELS:
        raise InputError(
            f"{name} has the shape {samples.shape}, which is {channels} channels: "
            "give (samples, channels), perhaps its transpose"
        )
    try:
        floats = as_floats(by_channel)
    except ValueError as error:
        raise InputError(f"{name}: {error}: convert it, for instance by astype") from error
    stream = HouseStream(rate_hz, name)
    pieces = [*stream.push(mix(floats)), *stream.finish()]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
