"""From an audio file to mono float32 samples at 16 kHz, and to its duration."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError

_LONGEST_SHORTFALL_SECONDS = 0.1
"""An MP3 header may be a few 26 ms frames off; a file that lacks more than this was cut short."""

_UNKNOWN_FRAMES = 2**48
"""A streamed FLAC file does not know its length, and soundfile then reports 2**63 - 1 samples."""


def read_audio(path: str | Path) -> npt.NDArray[np.float32]:
    """Read a recording as the rest of the package wants it: mono, float32, 16 kHz.

    Several channels are averaged; another sample rate is converted by soxr at its "HQ" quality.

    Parameters
    ----------
    path : str or Path
        A wav, flac, ogg, opus or mp3 file of any sample rate and channel count.

    Returns
    -------
    ndarray, shape (samples,), float32
        Samples, normally between -1 and 1.

    Raises
    ------
    InputError
        If the file is missing, a folder, not decodable, cut short or without samples, or if a
        sample is NaN or infinite.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stereo = np.full((44_100, 2), [0.5, 0.25])
    ...     soundfile.write(f"{folder}/one-second.wav", stereo, samplerate=44_100)
    ...     samples = read_audio(f"{folder}/one-second.wav")
    >>> samples.shape, samples.dtype, round(float(samples[8_000]), 3)
    ((16000,), dtype('float32'), 0.375)
    """
    promised_seconds = audio_seconds(path)
    try:
        samples_by_channel, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise _unreadable(path) from error
    missing_seconds = promised_seconds - len(samples_by_channel) / rate_hz
    if missing_seconds > _LONGEST_SHORTFALL_SECONDS:
        raise InputError(
            f"audio file {str(path)!r} is cut short, {missing_seconds:.1f} of {promised_seconds:.1f} s are "
            "missing: copy or convert it again from its source"
        )
    return as_house_audio(samples_by_channel, rate_hz, f"audio file {str(path)!r}")


def as_house_audio(
    samples_by_channel: npt.NDArray[np.float32], rate_hz: int, name: str
) -> npt.NDArray[np.float32]:
    """Turn decoded samples into what the rest of the package wants: mono, float32, 16 kHz.

    Parameters
    ----------
    samples_by_channel : ndarray, shape (samples, channels), float32
        Channels are averaged.
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
        If there are no samples, or one is NaN or infinite.

    Examples
    --------
    >>> as_house_audio(np.full((8_000, 2), [0.5, 0.25], np.float32), 8_000, "this").shape
    (16000,)
    """
    samples: npt.NDArray[np.float32] = np.ascontiguousarray(samples_by_channel[:, 0])
    if samples_by_channel.shape[1] > 1:
        with np.errstate(over="ignore", invalid="ignore"):
            samples = samples_by_channel.mean(axis=1)
    if not np.isfinite(samples).all():
        raise InputError(f"{name} holds NaN or infinite samples: write it again as 16-bit wav or flac")
    if rate_hz != SAMPLE_RATE:
        samples = soxr.resample(samples, rate_hz, SAMPLE_RATE, quality="HQ")
    if len(samples) == 0:
        raise InputError(f"{name} holds no samples: record or copy it again")
    return samples


def audio_seconds(path: str | Path) -> float:
    """Read the duration of a recording from its header, without decoding it.

    The decoded length agrees to less than one sample at 16 kHz for wav, flac, ogg and opus files
    and for mp3 files that carry the usual Xing/Info or VBRI tag.

    Parameters
    ----------
    path : str or Path
        A wav, flac, ogg, opus or mp3 file.

    Returns
    -------
    float
        Duration in seconds, greater than zero.

    Raises
    ------
    InputError
        If the file is missing, a folder, not an audio file or without samples, or if its header
        does not tell the length.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/short.flac", np.zeros(12_000), samplerate=48_000)
    ...     audio_seconds(f"{folder}/short.flac")
    0.25
    """
    try:
        header = soundfile.info(path)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless .raw samples
        raise _unreadable(path) from error
    frames, rate_hz = int(header.frames), int(header.samplerate)
    if frames <= 0:
        raise InputError(f"audio file {str(path)!r} holds no samples: record or copy it again")
    if frames >= _UNKNOWN_FRAMES:
        raise InputError(
            f"audio file {str(path)!r} does not tell its length (a streamed recording): "
            "convert it once, for instance by 'ffmpeg -i OLD.flac NEW.flac'"
        )
    return frames / rate_hz


def _unreadable(path: str | Path) -> InputError:
    """Say why a file could not be opened or decoded; libsndfile's own words are often misleading."""
    name = repr(str(path))
    if os.path.isdir(path):
        return InputError(f"{name} is a folder, not an audio file: name one of the files in it")
    if not os.path.exists(path):
        return InputError(f"audio file {name} does not exist: check the path")
    if not os.access(path, os.R_OK):
        return InputError(f"audio file {name} may not be read: check its permissions")
    return InputError(
        f"audio file {name} cannot be decoded, it is corrupt or not wav, flac, ogg, opus or mp3: "
        "convert it again from its source, for instance by 'ffmpeg -i SOURCE -ar 16000 -ac 1 NEW.wav'"
    )
