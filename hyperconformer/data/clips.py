"""A recording as a corpus names it: a file, a stretch of one, or sound inside a data set."""

import errno
import hashlib
import io
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from hyperconformer.audio import as_house_audio, audio_seconds, open_audio, read_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError

TOLERANCE_SECONDS = 0.1
"""By how much a duration that somebody wrote down may differ from the file's own."""

_LOUDEST = 2.0
"""Decoders overshoot full scale by a little; samples above this are no floats between -1 and 1."""


@dataclass(frozen=True)
class Sound:
    """Decoded samples and their rate.

    Attributes
    ----------
    samples : ndarray, shape (samples,) or (samples, channels)
        Floats between -1 and 1, or integers of 16 bits.
    rate_hz : int
        Sample rate.

    Examples
    --------
    >>> Sound(np.zeros(8_000), 8_000).rate_hz
    8000
    """

    samples: npt.NDArray[np.generic]
    rate_hz: int


@dataclass(frozen=True)
class Clip:
    """Where the sound of an utterance is.

    Attributes
    ----------
    source : Path, bytes or Sound
        An audio file, what one holds, or decoded samples.
    start : float
        Where the utterance begins, in seconds.
    seconds : float or None
        How long it is; None: to the end.
    channel : int or None
        The channel that is meant, from 0; None: the mean of all.

    Examples
    --------
    >>> Clip(Path("call.wav"), start=12.5, seconds=3.0, channel=1).channel
    1
    """

    source: Path | bytes | Sound
    start: float = 0.0
    seconds: float | None = None
    channel: int | None = None


def settle(clip: Clip, identity: str, folder: Path, *, decode: bool = True) -> tuple[Path, float]:
    """Find the file that holds a clip and nothing else, writing it as FLAC if there is none.

    A whole file stays where it is. Anything else is written once: its name depends on the sound's origin,
    so that it is found again the next time.

    Parameters
    ----------
    clip : Clip
        What is wanted.
    identity : str
        The utterance's id; the file's name begins with it.
    folder : Path
        Where files are written; made if needed.
    decode : bool
        Decode whole files as well, to see that nothing is wrong with them.

    Returns
    -------
    path : Path
        Audio file.
    seconds : float
        Its duration.

    Raises
    ------
    InputError
        If the audio cannot be read, ends before the clip does, or lacks the channel.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     soundfile.write(f"{parent}/long.wav", np.zeros(32_000), 16_000)
    ...     clip = Clip(Path(parent, "long.wav"), start=0.5, seconds=1.0)
    ...     path, seconds = settle(clip, "a/1", Path(parent, "clips"))
    ...     path.name[:4], path.suffix, seconds
    ('a_1-', '.flac', 1.0)
    """
    if isinstance(clip.source, Path) and _is_whole(clip, clip.source):
        if decode:
            read_audio(clip.source)
        return clip.source, audio_seconds(clip.source)
    name = re.sub(r"[^\w.-]", "_", identity)[:80]
    target = folder / f"{name}-{_digest(clip)}.flac"
    if not target.exists():
        _write(target, _read(clip, f"audio of {identity!r}"))
    return target, audio_seconds(target)


def _is_whole(clip: Clip, path: Path) -> bool:
    """Whether a clip is all of its file; wants what is in it to be there."""
    there = audio_seconds(path)
    ends = clip.start + (clip.seconds if clip.seconds is not None else 0.0)
    if ends > there + TOLERANCE_SECONDS or clip.start >= there:
        raise InputError(
            f"audio file {str(path)!r} lasts {there:.2f} s, the utterance is said to go from "
            f"{clip.start:.2f} to {ends:.2f} s: correct its start and duration"
        )
    if clip.channel is not None:
        with open_audio(path) as recording:
            channels = recording.channels
        if clip.channel >= channels:
            raise InputError(_no_channel(f"audio file {str(path)!r}", channels, clip.channel))
        if channels > 1:
            return False
    return clip.start == 0 and (clip.seconds is None or clip.seconds >= there - TOLERANCE_SECONDS)


def _no_channel(name: str, channels: int, channel: int) -> str:
    return f"{name} has {channels} channels, none with the number {channel}: count from 0"


def _digest(clip: Clip) -> str:
    """Tell clips apart by their origin, without decoding it."""
    digest = hashlib.sha256(repr((clip.start, clip.seconds, clip.channel)).encode())
    if isinstance(clip.source, Path):
        status = clip.source.stat()
        digest.update(f"{clip.source.resolve()} {status.st_size} {status.st_mtime_ns}".encode())
    elif isinstance(clip.source, bytes):
        digest.update(clip.source)
    else:
        digest.update(
            f"{clip.source.rate_hz} {clip.source.samples.dtype} {clip.source.samples.shape}".encode()
        )
        digest.update(np.ascontiguousarray(clip.source.samples).tobytes())
    return digest.hexdigest()[:12]


def _read(clip: Clip, name: str) -> npt.NDArray[np.float32]:
    """Decode a clip, and nothing around it."""
    if isinstance(clip.source, Sound):
        samples_by_channel, rate_hz = _as_floats(clip.source.samples, name), clip.source.rate_hz
        if not 0 < rate_hz < 1_000_000:
            raise InputError(f"{name} has a sample rate of {rate_hz} Hz: correct it")
    else:
        samples_by_channel, rate_hz = _decode(clip, name)
    if clip.channel is not None:
        if clip.channel >= samples_by_channel.shape[1]:
            raise InputError(_no_channel(name, samples_by_channel.shape[1], clip.channel))
        samples_by_channel = samples_by_channel[:, clip.channel : clip.channel + 1]
    return as_house_audio(samples_by_channel, rate_hz, name)


def _decode(clip: Clip, name: str) -> tuple[npt.NDArray[np.float32], int]:
    source = io.BytesIO(clip.source) if isinstance(clip.source, bytes) else clip.source
    try:
        with soundfile.SoundFile(source) as file:
            rate_hz = int(file.samplerate)
            if clip.start:
                file.seek(round(clip.start * rate_hz))
            frames = -1 if clip.seconds is None else round(clip.seconds * rate_hz)
            samples_by_channel = file.read(frames, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError) as error:
        raise InputError(
            f"{name} cannot be decoded: it is corrupt, or no audio that libsndfile reads"
        ) from error
    if len(samples_by_channel) < frames - TOLERANCE_SECONDS * rate_hz:
        got = len(samples_by_channel) / rate_hz
        raise InputError(f"{name} is cut short, it has {got:.2f} of {clip.seconds:.2f} s: copy it again")
    return samples_by_channel, rate_hz


def _as_floats(samples: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.float32]:
    """Bring decoded samples into the form (samples, channels), float32."""
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fi":
        raise InputError(f"{name} is no array of samples, its shape is {samples.shape}: save it again")
    floats = samples.astype(np.float32)
    if samples.dtype.kind == "i":
        floats /= np.float32(2**15)
    if floats.size and np.abs(floats).max() > _LOUDEST:
        raise InputError(
            f"{name} has samples up to {np.abs(samples).max():g}: store floats from -1 to 1, or int16"
        )
    floats = floats[:, None] if floats.ndim == 1 else floats
    # Some programs put channels first; no recording has more channels than samples.
    return floats.T if 0 < floats.shape[0] < floats.shape[1] else floats


def _write(target: Path, samples: npt.NDArray[np.float32]) -> None:
    """Write 16-bit FLAC, whole or not at all."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(draft, np.clip(samples, -1, 1), SAMPLE_RATE, "PCM_16", format="FLAC")
        os.replace(draft, target)
    except soundfile.SoundFileError as error:  # it does not say why, and the disk is full most of the time
        free = shutil.disk_usage(target.parent).free
        number = errno.ENOSPC if free < len(samples) * 4 else errno.EIO
        raise OSError(number, os.strerror(number), str(target)) from error
    finally:
        draft.unlink(missing_ok=True)


def decoded_seconds(path: str | Path) -> float:
    """Read the duration of a recording, having decoded it all.

    Parameters
    ----------
    path : str or Path
        A wav, flac, ogg, opus or mp3 file.

    Returns
    -------
    float
        Duration in seconds, as the header has it.

    Raises
    ------
    InputError
        Where :func:`read_audio` or :func:`audio_seconds` would.

    Examples
    --------
    >>> decoded_seconds("no/such.flac")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: audio file 'no/such.flac' does not exist: check the path
    """
    read_audio(path)
    return audio_seconds(path)
