"""A recording that is open: decoded block by block, at constant memory."""

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from hyperconformer.audio.decoders import LONGEST_SHORTFALL_SECONDS, Decoder, cut_short, open_decoder
from hyperconformer.audio.house import HouseStream, check_rate
from hyperconformer.audio.sources import AudioFile, AudioSource, open_source
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError


class Recording:
    """A recording that is open, to be decoded as it is needed; made by :func:`open_audio`.

    Parameters
    ----------
    file : AudioFile
        Closed with the recording.

    Attributes
    ----------
    name : str
        What complaints call it.

    Examples
    --------
    >>> import tempfile, soundfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/a.wav", np.zeros(96_000), samplerate=48_000)
    ...     with open_audio(f"{folder}/a.wav") as recording:
    ...         recording.seconds, [len(block) for block in recording.blocks(seconds=1.5)]
    (2.0, [24000, 8000])
    """

    def __init__(self, file: AudioFile) -> None:
        self.name = file.name
        self._file = file
        self._decoder: Decoder | None = open_decoder(file)
        self._seconds, self._channels = self._decoder.seconds, self._decoder.channels
        check_rate(self._decoder.rate_hz, self.name)

    @property
    def seconds(self) -> float | None:
        """Duration as its header has it; None if that does not tell."""
        return self._seconds

    @property
    def channels(self) -> int:
        """Channels before they are averaged."""
        return self._channels

    def blocks(self, seconds: float = 30.0) -> Iterator[npt.NDArray[np.float32]]:
        """Decode it from its beginning; memory depends on the length of a block alone.

        Parameters
        ----------
        seconds : float
            Length of every block but the last.

        Yields
        ------
        ndarray, shape (samples,), float32
            Never empty. All joined are what ``read_audio`` gives.

        Raises
        ------
        InputError
            When it comes to what cannot be decoded or is not finite, or to an end that comes too early.
        ValueError
            If ``seconds`` is shorter than a sample.
        """
        length = round(seconds * SAMPLE_RATE)
        if length < 1:
            raise ValueError(f"seconds must be at least a sample's, got {seconds}")
        waiting: list[npt.NDArray[np.float32]] = []
        for chunk in self.chunks():
            waiting.append(chunk)
            if sum(map(len, waiting)) >= length:
                joined = np.concatenate(waiting)
                whole = len(joined) // length * length
                for start in range(0, whole, length):
                    yield joined[start : start + length].copy()
                waiting = [joined[whole:].copy()]
        if rest := sum(map(len, waiting)):
            yield np.concatenate(waiting)[:rest]

    def chunks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Decode it as :meth:`blocks` does, in pieces as they come, each of some seconds at most."""
        # Its header has been read once; from the second time on it is read again.
        decoder, self._decoder = self._decoder or open_decoder(self._file), None
        with contextlib.closing(decoder):
            stream = HouseStream(decoder.rate_hz, self.name)
            decoded = 0
            for mono in decoder.chunks():
                decoded += len(mono)
                yield from stream.push(mono)
            self._check_whole(decoder, decoded / decoder.rate_hz)
            yield from stream.finish()

    def _check_whole(self, decoder: Decoder, got_seconds: float) -> None:
        promised = decoder.promised_seconds or 0.0
        missing = promised - max(got_seconds, decoder.reached_seconds)
        if missing > LONGEST_SHORTFALL_SECONDS:
            raise InputError(cut_short(self.name, missing, promised))

    def close(self) -> None:
        """Let go of the file."""
        if self._decoder is not None:
            self._decoder.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_audio(source: AudioSource) -> Recording:
    """Open a recording of any length, to be read block by block at constant memory.

    Parameters
    ----------
    source : str, Path, bytes or binary file object
        A path; what an audio file holds; or what it can be read from, which is read from its beginning if it
        has one and left open. Formats are named at ``read_audio``.

    Returns
    -------
    Recording
        To be used in a ``with`` statement.

    Raises
    ------
    InputError
        If it is missing, no regular file, not decodable, without samples, or clearly cut short.

    Examples
    --------
    >>> import io, soundfile
    >>> buffer = io.BytesIO()
    >>> soundfile.write(buffer, np.zeros(80_000), samplerate=8_000, format="FLAC")
    >>> with open_audio(buffer) as recording:
    ...     recording.seconds, sum(len(block) for block in recording.blocks())
    (10.0, 160000)
    """
    file = open_source(source)
    try:
        return Recording(file)
    except BaseException:
        file.close()
        raise
