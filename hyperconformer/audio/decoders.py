"""Audio files to mono samples at their own rate, by libsndfile or, where that cannot, by FFmpeg."""

import re
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from hyperconformer.audio.house import mix
from hyperconformer.audio.sources import AudioFile
from hyperconformer.audio.wholeness import is_cut_short
from hyperconformer.errors import InputError

CHUNK_SECONDS = 10
CHUNK_VALUES = 2**22
"""Most samples of all channels in a chunk; there may be a thousand channels."""

LONGEST_SHORTFALL_SECONDS = 0.1
"""An MP3 header may be a few 26 ms frames off; a file that lacks more than this was cut short."""

_UNKNOWN_FRAMES = 2**48
"""A streamed FLAC file does not know its length, and soundfile then reports 2**63 - 1 samples."""

_SIZES = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
"""What libsndfile notes of a file that is shorter than its header says; it reads on all the same."""

_PLACEHOLDERS = ((2**31 - 2**13, 2**31), (2**32 - 2**13, 2**32), (2**62, 2**64))
"""Sizes that programs write into a pipe, where the true one cannot be filled in later."""

_EXTRA = 'pip install "hyperconformer[av]"'
_CONVERT = "convert it again from its source, for instance by 'ffmpeg -i SOURCE -ar 16000 -ac 1 NEW.wav'"


class Decoder(Protocol):
    """A file that is being decoded.

    Attributes
    ----------
    rate_hz, channels : int
        The file's own.
    seconds : float or None
        Duration; None if it is not known before all is decoded.
    promised_seconds : float or None
        What decoding must reach, lest the file was cut short; None: anything.
    reached_seconds : float
        How far decoding came where that is not what it gave: the pictures of a film may outlast its sound.

    Examples
    --------
    >>> import io
    >>> from hyperconformer.audio.sources import open_source
    >>> buffer = io.BytesIO()
    >>> soundfile.write(buffer, np.zeros((4_000, 2)), samplerate=8_000, format="WAV")
    >>> decoder = open_decoder(open_source(buffer))
    >>> decoder.rate_hz, decoder.channels, decoder.seconds, sum(map(len, decoder.chunks()))
    (8000, 2, 0.5, 4000)
    """

    rate_hz: int
    channels: int
    seconds: float | None
    promised_seconds: float | None
    reached_seconds: float

    def chunks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Decode from the beginning: arrays of mono samples, once."""
        ...

    def close(self) -> None:
        """Let go of what the library holds; the file stays open."""
        ...


def cut_short(name: str, missing_seconds: float, seconds: float) -> str:
    """Word the complaint about an end that comes too early.

    Parameters
    ----------
    name : str
    missing_seconds, seconds : float
        What is missing, and of how much.

    Returns
    -------
    str

    Examples
    --------
    >>> cut_short("audio file 'a.wav'", 1, 60)[:54]
    "audio file 'a.wav' is cut short, 1.0 of 60.0 s are mis"
    """
    return (
        f"{name} is cut short, {missing_seconds:.1f} of {seconds:.1f} s are missing: "
        "copy or convert it again from its source"
    )


def open_decoder(file: AudioFile) -> Decoder:
    """Find who can decode a file, and let him read its header.

    Parameters
    ----------
    file : AudioFile

    Returns
    -------
    Decoder

    Raises
    ------
    InputError
        If nobody can, there are no samples, or the file is clearly cut short.

    Examples
    --------
    >>> from hyperconformer.audio.sources import open_source
    >>> open_decoder(open_source(b"no sound"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: the recording in memory cannot be decoded, ...
    """
    if is_cut_short(file):
        raise InputError(f"{file.name} is cut short: copy or convert it again from its source")
    try:
        decoder = _Sndfile(file)
    except (soundfile.SoundFileError, TypeError):  # TypeError: headerless samples
        refusal = (
            f"{file.name} cannot be decoded, it is corrupt or not wav, flac, ogg, opus or mp3: "
            f"for m4a, aac, wma and video {_EXTRA}; or {_CONVERT}"
        )
    else:
        if decoder.frames > 0:
            return decoder
        # Perhaps its writer died before it could fill in the length.
        decoder.close()
        refusal = f"{file.name} holds no samples: record or copy it again"
    try:
        from hyperconformer.audio.ffmpeg import FFmpeg  # slow to import, and an extra
    except ImportError as error:
        raise InputError(refusal) from error
    return FFmpeg(file)


class _Forwards(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Reads on where it is; soundfile would seek there first, and MP3 files without an index get lost."""

    def seekable(self) -> bool:
        return False


class _Sndfile:
    """What libsndfile decodes."""

    reached_seconds = 0.0

    def __init__(self, file: AudioFile) -> None:
        self._name = file.name
        self._file = _Forwards(file.duplicate(), closefd=True)
        self.rate_hz, self.channels = int(self._file.samplerate), int(self._file.channels)
        self.frames = int(self._file.frames)
        known = self.frames < _UNKNOWN_FRAMES
        self.seconds = self.promised_seconds = self.frames / self.rate_hz if known else None
        try:
            self._refuse_short()
        except InputError:
            self.close()
            raise

    def _refuse_short(self) -> None:
        """Compare what the header says of the file's size with what is there, which libsndfile only notes."""
        sizes = _SIZES.search(self._file.extra_info)
        if sizes is None or self.seconds is None:
            return
        promised, there = map(int, sizes.groups())
        missing_seconds = (promised - there) / max(1, there) * self.seconds
        if missing_seconds > LONGEST_SHORTFALL_SECONDS and not _is_placeholder(promised):
            raise InputError(cut_short(self._name, missing_seconds, self.seconds + missing_seconds))

    def chunks(self) -> Iterator[npt.NDArray[np.float32]]:
        most = max(1, min(CHUNK_SECONDS * self.rate_hz, CHUNK_VALUES // self.channels))
        left = self.frames
        while left > 0:
            try:
                read = self._file.read(min(most, left), dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise InputError(f"{self._name} cannot be decoded, it is corrupt: {_CONVERT}") from error
            if len(read) == 0:
                return
            left -= len(read)
            yield mix(read)

    def close(self) -> None:
        self._file.close()


def _is_placeholder(size: int) -> bool:
    return any(low <= size <= high for low, high in _PLACEHOLDERS)
