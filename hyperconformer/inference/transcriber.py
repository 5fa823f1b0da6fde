"""Audio to text with a trained model."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hyperconformer.audio import as_house_audio, audio_seconds, open_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.backends import Choice, open_recogniser
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.longform import transcribe_stream
from hyperconformer.inference.longform_options import DEFAULT, LongformOptions
from hyperconformer.inference.one_pass import check_one_pass, one_pass
from hyperconformer.inference.reading import THREADS, plan_batches, read_batches
from hyperconformer.inference.recogniser import Recogniser, Samples
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.types import Segment, Transcript

WINDOW = 512
"""Files whose headers are read at once, to bring those of about the same length together."""


class Transcriber:
    """A trained model, ready to listen; several threads may share one.

    Parameters
    ----------
    recogniser : Recogniser
    word_times : bool
        Give words their times and confidences.
    longform : LongformOptions
        How recordings are cut that are longer than its ``max_segment_seconds``, and the audio of a batch.
    one_pass : bool
        Hear such a recording in one pass of the encoder instead, with all of it in memory.

    Examples
    --------
    >>> Transcriber.load("no/such/model")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """

    def __init__(
        self,
        recogniser: Recogniser,
        *,
        word_times: bool = False,
        longform: LongformOptions = DEFAULT,
        one_pass: bool = False,
    ) -> None:
        self.recogniser, self.word_times = recogniser, word_times
        self.longform, self.one_pass = longform, one_pass
        # PyTorch shares one utterance's work between all cores; two at once would only wait for each other.
        self._computing = threading.Lock()

    @property
    def model(self) -> ASR:
        """What searches ask."""
        return self.recogniser.asr

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the model."""
        return self.recogniser.tokenizer

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = "cpu",
        *,
        word_times: bool = False,
        longform: LongformOptions = DEFAULT,
        one_pass: bool = False,
        **choice: Any,
    ) -> "Transcriber":
        """Open a model folder; nothing in it is ever run.

        Parameters
        ----------
        folder : str or Path
            That training wrote, or for ``backend="onnxruntime"`` that ``hyperconformer export onnx`` wrote.
        device : str
            ``cpu``, ``cuda`` or ``cuda:1``.
        word_times, longform, one_pass
            As the class takes them.
        **choice
            What else :class:`~hyperconformer.inference.backends.Choice` takes, for instance
            ``decode="joint", options={"beam_size": 20}``.

        Returns
        -------
        Transcriber

        Raises
        ------
        InputError
            If something cannot be used.
        """
        recogniser = open_recogniser(Choice(str(folder), device, **choice))
        return cls(recogniser, word_times=word_times, longform=longform, one_pass=one_pass)

    def transcribe(
        self, audio: str | Path | BinaryIO | npt.NDArray[Any], sample_rate_hz: int = SAMPLE_RATE
    ) -> Transcript:
        """Recognise one recording, of whatever length, at constant memory.

        Parameters
        ----------
        audio : str, Path, binary file or ndarray
            A file's path, an open file, or samples: mono, or of shape (samples, channels).
        sample_rate_hz : int
            Of samples; files tell their own.

        Returns
        -------
        Transcript

        Raises
        ------
        InputError
            If it cannot be read.

        Examples
        --------
        >>> import tempfile
        >>> from hyperconformer.inference.bundle import save_bundle
        >>> from hyperconformer.models.config import ModelConfig
        >>> from hyperconformer.text import train_tokenizer
        >>> config = ModelConfig(output_neurons=12, d_model=8, nhead=2, num_encoder_layers=1)
        >>> with tempfile.TemporaryDirectory() as scratch:
        ...     words = train_tokenizer(["ONE TWO"], Path(scratch) / "t.model", output_neurons=12)
        ...     folder = save_bundle(Path(scratch) / "model", ASR(config), words, metrics={}, card="")
        ...     transcriber = Transcriber.load(folder)
        >>> transcriber.transcribe(np.zeros(8_000), sample_rate_hz=8_000).seconds
        1.0
        """
        if isinstance(audio, np.ndarray):
            return self._of_blocks(iter([as_house_audio(audio, sample_rate_hz)]), "the array")
        with open_audio(audio) as recording:
            return self._of_blocks(recording.blocks(), recording.name)

    def transcribe_files(self, paths: Iterable[str | Path]) -> Iterator[tuple[int, Transcript | InputError]]:
        """Recognise many files, those of about the same length together, while the next ones are read.

        Parameters
        ----------
        paths : iterable of str or Path

        Yields
        ------
        int
            Which of the files; they come in another order within every :data:`WINDOW`.
        Transcript or InputError
            What was said, the same as :meth:`transcribe` gives, or why the file could not be read.

        Examples
        --------
        >>> transcriber = Transcriber(None)
        >>> [(file, error)] = transcriber.transcribe_files(["no/such.flac"])
        >>> print(error)
        audio file 'no/such.flac' does not exist: check the path
        """
        waiting, offset = iter(paths), 0
        while window := [str(path) for path in islice(waiting, WINDOW)]:
            for file, found in self._of_window(window):
                yield offset + file, found
            offset += len(window)

    def _of_window(self, paths: Sequence[str]) -> Iterator[tuple[int, Transcript | InputError]]:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="header") as pool:
            lengths = dict(enumerate(pool.map(_length, paths)))
        faults = {file: length for file, length in lengths.items() if isinstance(length, InputError)}
        yield from faults.items()
        longest = self.longform.max_segment_seconds
        short = {
            file: length
            for file, length in lengths.items()
            if isinstance(length, float) and length <= longest
        }
        yield from self._of_short(paths, short)
        for file in lengths.keys() - faults.keys() - short.keys():
            try:
                yield file, self.transcribe(paths[file])
            except InputError as error:
                yield file, error

    def _of_short(
        self, paths: Sequence[str], seconds: Mapping[int, float]
    ) -> Iterator[tuple[int, Transcript | InputError]]:
        files = list(seconds)
        plan = plan_batches(list(seconds.values()), self.longform.batch_seconds)
        batches, clock = read_batches([paths[file] for file in files], plan), Clock()
        while True:
            with clock("read"):
                batch = next(batches, None)
            if batch is None:
                return
            for place, fault in batch.faults.items():
                yield files[place], InputError(fault)
            rows = zip(batch.samples_bs.numpy(), batch.lengths_b.tolist(), strict=True)
            heard = self._recognise([samples[:length] for samples, length in rows], clock)
            took, whole = clock.take(), sum(batch.seconds)
            for place, length, segment in zip(batch.files, batch.seconds, heard, strict=True):
                timings = {name: spent * length / whole for name, spent in took.items()}
                try:
                    said = _said(segment, f"audio file {paths[files[place]]!r}")
                    yield files[place], Transcript(length, (said,), timings)
                except InputError as error:
                    yield files[place], error

    def _of_blocks(self, blocks: Iterator[Samples], name: str) -> Transcript:
        """A recording of whatever length."""
        clock, head, longest = Clock(), list[Samples](), self.longform.max_segment_seconds * SAMPLE_RATE
        with clock("read"):
            while sum(map(len, head)) <= longest and (block := next(blocks, None)) is not None:
                head.append(block)
        samples, heard = np.concatenate(head), 0
        if len(samples) <= longest:
            (found,) = self._recognise([samples], clock)
            return Transcript(len(samples) / SAMPLE_RATE, (_said(found, name),), clock.take())

        if self.one_pass:
            samples = np.concatenate([samples, *blocks])
            segments = self._in_one_pass(samples, clock, name)
            return Transcript(len(samples) / SAMPLE_RATE, segments, clock.take())

        def counted() -> Iterator[Samples]:
            nonlocal heard
            for block in chain([samples], blocks):
                heard += len(block)
                yield block

        def recognise(batch: Sequence[Samples]) -> list[Segment]:
            # Segments that overlap are joined by the times of their words.
            return [_said(found, name) for found in self._recognise(batch, clock, word_times=True)]

        segments = tuple(transcribe_stream(counted(), recognise, self.longform))
        return Transcript(heard / SAMPLE_RATE, segments, clock.take())

    def _in_one_pass(self, samples: Samples, clock: Clock, name: str) -> tuple[Segment, ...]:
        asr, recogniser = self.recogniser.asr, self.recogniser
        check_one_pass(asr.config, len(samples) / SAMPLE_RATE)

        def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
            with clock("encode"):
                return recogniser.hear(samples_bs, lengths_b)

        def recognise(memories: list[Tensor]) -> list[Segment]:
            return recogniser.of_memory(memories, word_times=self.word_times, clock=clock)

        try:
            with self._computing:
                return tuple(one_pass(samples, hear, asr.ctc_head, recognise, self.longform))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    def _recognise(
        self, batch: Sequence[Samples], clock: Clock, *, word_times: bool = False
    ) -> list[Segment | InputError]:
        if not batch:
            return []
        with self._computing:
            return self.recogniser(batch, word_times=word_times or self.word_times, clock=clock)


def _said(found: Segment | InputError, name: str) -> Segment:
    if isinstance(found, InputError):
        raise InputError(f"{name}: {found}")
    return found


def _length(path: str) -> float | InputError:
    try:
        return audio_seconds(path)
    except InputError as error:
        return error
