"""Audio that libsndfile does not read, by PyAV (FFmpeg's libraries): m4a, aac, wma, the sound of a video."""

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from hyperconformer.audio.house import as_floats, mix
from hyperconformer.audio.sources import AudioFile
from hyperconformer.errors import InputError, one_line

# Not among them: lists that name other files or addresses, pictures and text, which FFmpeg opens as well.
FORMATS = (
    "3gp,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,loas,m4a,matroska,mov,mp3,mp4,mpc,mpc8,mpeg,"
    "mpegts,ogg,oma,rm,tak,tta,voc,w64,wav,webm,wv"
)

# Containers that write down how long they are; of others FFmpeg guesses it by the bit rate.
TELLS_LENGTH = {"asf", "avi", "caf", "flac", "flv", "matroska", "mov", "tta", "w64", "wav", "wv"}

CHUNK_SAMPLES = 2**16

AVSEEK_SIZE = 0x10000
"""FFmpeg's third way to seek: it only asks for the size."""

_DURATION = re.compile(r"(\d+):(\d+):([\d.]+)")
_CONVERT = "convert it again from its source, for instance by 'ffmpeg -i SOURCE -ar 16000 -ac 1 NEW.wav'"


def audio_codecs() -> list[str]:
    """Name the decoders of sound, so that no other is ever run on a stranger's file.

    Returns
    -------
    list of str

    Examples
    --------
    >>> {"aac", "wmav2"} <= set(audio_codecs()), "h264" in audio_codecs()
    (True, False)
    """
    return sorted(name for name in av.codecs_available if _is_audio(name))


def _is_audio(name: str) -> bool:
    try:
        return bool(av.Codec(name, "r").type == "audio")
    except (av.FFmpegError, ValueError):  # it only encodes
        return False


_LIMITS = {
    "format_whitelist": FORMATS,
    "codec_whitelist": ",".join(audio_codecs()),
    "protocol_whitelist": "none",
}


class FFmpeg:
    """What FFmpeg decodes: the first audio stream of a file.

    Parameters
    ----------
    file : AudioFile

    Raises
    ------
    InputError
        If it cannot be decoded or has no sound.

    Examples
    --------
    >>> from hyperconformer.audio.sources import open_source
    >>> FFmpeg(open_source(b"no sound"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: the recording in memory cannot be decoded, it is corrupt or of no \
known format: ...
    """

    def __init__(self, file: AudioFile) -> None:
        self._name = file.name
        self.reached_seconds = 0.0
        try:
            self._container = av.open(_Reader(file), "r", options=_LIMITS, metadata_errors="replace")
        except (av.FFmpegError, ValueError, LookupError, OSError, MemoryError) as error:
            raise self._undecodable("it is corrupt or of no known format") from error
        try:
            self._stream = self._sound()
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise InputError(f"{file.name} holds no samples: record or copy it again")
            self.rate_hz, self.channels = self._first.sample_rate, self._first.layout.nb_channels
            self.seconds, self.promised_seconds = self._lengths()
            exact = self.seconds is not None and "mov" in self._container.format.name.split(",")
            self._samples = round((self.seconds or 0.0) * self.rate_hz) if exact else sys.maxsize
        except BaseException:
            self.close()
            raise

    def _undecodable(self, why: str) -> InputError:
        return InputError(f"{self._name} cannot be decoded, {why}: {_CONVERT}")

    def _sound(self) -> Any:
        if not self._container.streams.audio:
            raise InputError(f"{self._name} has no sound: name one that has")
        stream = self._container.streams.audio[0]
        if stream.codec_context is None:
            raise self._undecodable("its sound is of no known kind")
        if self._container.format.name == "caf" and stream.codec_context.name.startswith("pcm"):
            # libsndfile would have read it were it whole; FFmpeg does not mind.
            raise self._undecodable("it is corrupt or cut short")
        return stream

    def _lengths(self) -> tuple[float | None, float | None]:
        """Duration of the sound, and of all that is in the container."""
        if not TELLS_LENGTH & set(self._container.format.name.split(",")):
            return None, None
        whole = self._container.duration / av.time_base if self._container.duration else None
        tagged = _DURATION.fullmatch(self._stream.metadata.get("DURATION", ""))
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base), whole
        if tagged:
            hours, minutes, seconds = map(float, tagged.groups())
            return 3600 * hours + 60 * minutes + seconds, whole
        return whole, whole

    def _decode(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self.reached_seconds = max(self.reached_seconds, end)
                if packet.stream is self._stream:
                    yield from packet.decode()
        except (av.FFmpegError, ValueError, LookupError, OSError, MemoryError) as error:
            raise self._undecodable(f"it is corrupt ({one_line(error, 100)})") from error

    def chunks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Decode from the beginning: arrays of mono samples, once."""
        waiting: list[npt.NDArray[np.float32]] = []
        left = self._samples
        frame = self._first
        while frame is not None and left > 0:
            if frame.sample_rate != self.rate_hz:
                raise self._undecodable("its sample rate changes midway")
            # The last frame of AAC is filled up with what was never said.
            waiting.append(_mono(frame)[: min(left, frame.samples)])
            left -= frame.samples
            if sum(map(len, waiting)) >= CHUNK_SAMPLES:
                yield np.concatenate(waiting)
                waiting = []
            frame = next(self._frames, None)
        if waiting:
            yield np.concatenate(waiting)

    def close(self) -> None:
        """Let go of the container; the file stays open."""
        self._container.close()


class _Reader:
    """What PyAV asks of a file. A broken one may send it to nowhere; PyAV prints what is raised."""

    def __init__(self, file: AudioFile) -> None:
        self._handle, self._size = file.handle, file.size
        self._handle.seek(0)
        self.read, self.tell = self._handle.read, self._handle.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == AVSEEK_SIZE:
            return self._size
        try:
            place: int = self._handle.seek(offset, whence)
        except (OSError, ValueError):
            return -1
        return place

    def seekable(self) -> bool:
        return True


def _mono(frame: Any) -> npt.NDArray[np.float32]:
    """A frame's samples, channel beside channel or one plane after the other."""
    samples = as_floats(frame.to_ndarray())
    channels = frame.layout.nb_channels
    return mix(samples.T if frame.format.is_planar else samples.reshape(-1, channels))
