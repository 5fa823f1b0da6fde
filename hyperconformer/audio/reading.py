"""From an audio file to mono float32 samples at 16 kHz, and to its duration."""

import numpy as np
import numpy.typing as npt

from hyperconformer.audio.recording import Recording, open_audio
from hyperconformer.audio.sources import AudioSource
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError

LONGEST_AT_ONCE_HOURS = 24
"""In memory that is 5.5 GB; a few compressed megabytes of silence can claim to be weeks."""


def read_audio(source: AudioSource) -> npt.NDArray[np.float32]:
    """Read a recording as the rest of the package wants it: mono, float32, 16 kHz.

    Several channels are averaged; another sample rate is converted by soxr at its "HQ" quality.

    Parameters
    ----------
    source : str, Path, bytes or binary file object
        wav, flac, ogg, opus, mp3 and what else libsndfile reads; with the extra ``av`` also m4a, aac, wma,
        the first sound track of a video, and more; any channel count, 1 kHz to 1 MHz.

    Returns
    -------
    ndarray, shape (samples,), float32
        Samples, normally between -1 and 1.

    Raises
    ------
    InputError
        If it is missing, no regular file, not decodable, cut short, longer than a day or without samples, or
        if a sample is NaN or infinite.

    Examples
    --------
    >>> import tempfile, soundfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stereo = np.full((44_100, 2), [0.5, 0.25])
    ...     soundfile.write(f"{folder}/one-second.wav", stereo, samplerate=44_100)
    ...     samples = read_audio(f"{folder}/one-second.wav")
    >>> samples.shape, samples.dtype, round(float(samples[8_000]), 3)
    ((16000,), dtype('float32'), 0.375)
    """
    longest_seconds = LONGEST_AT_ONCE_HOURS * 3600.0
    with open_audio(source) as recording:
        told = recording.seconds
        samples = None if told and told > longest_seconds else _up_to(longest_seconds, recording)
        if samples is None:
            raise InputError(
                f"{recording.name} lasts more than {LONGEST_AT_ONCE_HOURS} hours, which is too long to hold "
                "at once: cut it"
            )
    return samples


def read_short_audio(source: AudioSource, most_seconds: float) -> npt.NDArray[np.float32] | None:
    """Read a recording as :func:`read_audio` does, unless it lasts longer than one thought.

    Its header may say less than there is, so it is decoded no further than needed to tell.

    Parameters
    ----------
    source : str, Path, bytes or binary file object
    most_seconds : float

    Returns
    -------
    ndarray, shape (samples,), float32, or None
        None: there is more of it.

    Raises
    ------
    InputError
        As :func:`read_audio`.

    Examples
    --------
    >>> import io, soundfile
    >>> second = io.BytesIO()
    >>> soundfile.write(second, np.zeros(8_000), samplerate=8_000, format="WAV")
    >>> len(read_short_audio(second, 1.0)), read_short_audio(second, 0.5)
    (16000, None)
    """
    with open_audio(source) as recording:
        return _up_to(most_seconds, recording)


def _up_to(most_seconds: float, recording: Recording) -> npt.NDArray[np.float32] | None:
    chunks: list[npt.NDArray[np.float32]] = []
    samples = 0
    for chunk in recording.chunks():
        chunks.append(chunk)
        samples += len(chunk)
        if samples > most_seconds * SAMPLE_RATE:
            return None
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def audio_seconds(source: AudioSource) -> float:
    """Read the duration of a recording from its header; only where that does not tell, decode it.

    The decoded length agrees to less than one sample at 16 kHz for wav, flac, ogg and opus files
    and for mp3 files that carry the usual Xing/Info or VBRI tag.

    Parameters
    ----------
    source : str, Path, bytes or binary file object
        As :func:`read_audio` takes it.

    Returns
    -------
    float
        Duration in seconds, greater than zero.

    Raises
    ------
    InputError
        If it is missing, no regular file, not an audio file or without samples.

    Examples
    --------
    >>> import tempfile, soundfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/short.flac", np.zeros(12_000), samplerate=48_000)
    ...     audio_seconds(f"{folder}/short.flac")
    0.25
    """
    with open_audio(source) as recording:
        if recording.seconds is not None:
            return recording.seconds
        return sum(len(chunk) for chunk in recording.chunks()) / SAMPLE_RATE
