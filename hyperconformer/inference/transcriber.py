"""Audio to text with a trained model."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from hyperconformer.inference.hub import resolve_model
from hyperconformer.inference.longform import transcribe_stream
from hyperconformer.inference.longform_options import DEFAULT, LongformOptions
from hyperconformer.inference.one_pass import check_one_pass, one_pass
from hyperconformer.inference.reading import THREADS, plan_batches, read_batches
from hyperconformer.inference.recogniser import Recogniser, Samples
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.types import Segment, Transcript

Audio = str | Path | BinaryIO | npt.NDArray[Any] | Tensor
Found = tuple[int, Transcript | InputError]
Progress = Callable[[float], None]
"""Is told of seconds of audio that have been heard since it was told last."""

WINDOW = 512
"""Files whose headers are read at once, to bring those of about the same length together."""


class Transcriber:
    """A trained model, ready to listen; several threads may share one.

    Parameters
    ----------
    recogniser : Recogniser
        As :meth:`load` makes it.
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
        """The network; of onnxruntime what stands for it."""
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
        precision: str = "fp32",
        backend: str | None = None,
        decode: str = "greedy",
        options: Mapping[str, Any] | None = None,
        lm: str | None = None,
        ngram: str | None = None,
        hotwords: str | None = None,
        calibration: str | None = None,
        word_times: bool = False,
        longform: LongformOptions = DEFAULT,
        one_pass: bool = False,
    ) -> "Transcriber":
        """Open a model folder; nothing in it is ever run.

        Parameters
        ----------
        folder : str or Path
            That training or ``hyperconformer export onnx`` wrote, or ``hf://OWNER/NAME@REVISION``.
        device, precision, backend, decode, options, lm, ngram, hotwords, calibration
            As :class:`~hyperconformer.inference.backends.Choice` has them, for instance
            ``decode="joint", options={"beam_size": 20}``.
        word_times, longform, one_pass
            As the class takes them.

        Returns
        -------
        Transcriber

        Raises
        ------
        InputError
            If something cannot be used.
        """
        choice = Choice(
            str(resolve_model(str(folder))),
            device,
            precision,
            backend,
            decode,
            dict(options or {}),
            lm,
            ngram,
            hotwords,
            calibration,
        )
        return cls(open_recogniser(choice), word_times=word_times, longform=longform, one_pass=one_pass)

    def transcribe(
        self, audio: Audio, sample_rate_hz: int | None = None, *, progress: Progress | None = None
    ) -> Transcript:
        """Recognise one recording.

        Parameters
        ----------
        audio : str, Path, binary file, ndarray or Tensor
            A file's path, an open file, or samples: mono, or of shape (samples, channels). Of files that are
            cut into segments only some are in memory, whatever their length.
        sample_rate_hz : int or None
            Of samples; files tell their own.
        progress : callable or None
            Is told of the seconds of audio as they are heard.

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
        clock, tally = Clock(), _Tally(progress)
        segments = tuple(self._segments(audio, sample_rate_hz, clock, tally))
        return Transcript(tally.samples / SAMPLE_RATE, segments, clock.take())

    def stream(self, audio: Audio, sample_rate_hz: int | None = None) -> Iterator[Segment]:
        """Recognise one recording, and give the segments of a long one as they get done.

        Parameters
        ----------
        audio, sample_rate_hz
            As :meth:`transcribe` takes them.

        Yields
        ------
        Segment

        Raises
        ------
        InputError
            If it cannot be read, maybe only when it comes to that part of it.
        """
        return self._segments(audio, sample_rate_hz, Clock(), _Tally(None))

    def transcribe_files(
        self, paths: Iterable[str | Path], *, progress: Progress | None = None
    ) -> Iterator[Found]:
        """Recognise many files, those of about the same length together, while the next ones are read.

        Parameters
        ----------
        paths : iterable of str or Path
        progress : callable or None
            Is told of the seconds of audio as they are heard.

        Yields
        ------
        int
            Which of the files; they come in another order within every :data:`WINDOW`.
        Transcript or InputError
            What was said, the same as :meth:`transcribe` gives, or why the file could not be read.
        """
        waiting, offset = iter(paths), 0
        while window := [str(path) for path in islice(waiting, WINDOW)]:
            for file, found in self._of_window(window, progress):
                yield offset + file, found
            offset += len(window)

    def _of_window(self, paths: Sequence[str], progress: Progress | None) -> Iterator[Found]:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="header") as pool:
            lengths = list(pool.map(_length, paths))
        short: dict[int, float] = {}
        long: list[int] = []
        for file, length in enumerate(lengths):
            if isinstance(length, InputError):
                yield file, length
            elif length <= self.longform.max_segment_seconds:
                short[file] = length
            else:
                long.append(file)
        yield from self._of_short(paths, short, progress)
        for file in long:
            try:
                yield file, self.transcribe(paths[file], progress=progress)
            except InputError as error:
                yield file, error

    def _of_short(
        self, paths: Sequence[str], seconds: Mapping[int, float], progress: Progress | None
    ) -> Iterator[Found]:
        files, clock, tally = list(seconds), Clock(), _Tally(progress)
        plan = plan_batches(list(seconds.values()), self.longform.batch_seconds)
        batches = read_batches([paths[file] for file in files], plan)
        while True:
            with clock("read"):
                batch = next(batches, None)
            if batch is None:
                return
            for place, fault in batch.faults.items():
                yield files[place], InputError(fault)
            rows = zip(batch.samples_bs.numpy(), batch.lengths_b.tolist(), strict=True)
            heard = self._recognise([tally(samples[:length]) for samples, length in rows], clock)
            took, whole = clock.take(), sum(batch.seconds)
            for place, length, found in zip(batch.files, batch.seconds, heard, strict=True):
                timings = {name: spent * length / whole for name, spent in took.items()}
                try:
                    segment = _or_raise(found, f"audio file {paths[files[place]]!r}")
                    yield files[place], Transcript(length, (segment,), timings)
                except InputError as error:
                    yield files[place], error

    def _segments(
        self, audio: Audio, sample_rate_hz: int | None, clock: Clock, tally: "_Tally"
    ) -> Iterator[Segment]:
        if isinstance(audio, np.ndarray | Tensor):
            if sample_rate_hz is None:
                raise InputError("an array does not tell its sample rate: give sample_rate_hz")
            samples = as_house_audio(np.asarray(audio), sample_rate_hz)
            yield from self._of_blocks(iter([samples]), "the array", clock, tally)
        else:
            with open_audio(audio) as recording:
                yield from self._of_blocks(recording.blocks(), recording.name, clock, tally)

    def _of_blocks(
        self, blocks: Iterator[Samples], name: str, clock: Clock, tally: "_Tally"
    ) -> Iterator[Segment]:
        """A recording of whatever length."""
        head, longest = list[Samples](), self.longform.max_segment_seconds * SAMPLE_RATE
        with clock("read"):
            while sum(map(len, head)) <= longest and (block := next(blocks, None)) is not None:
                head.append(block)
        samples = np.concatenate(head)
        if len(samples) <= longest:
            (found,) = self._recognise([tally(samples)], clock)
            yield _or_raise(found, name)
        elif self.one_pass:
            yield from self._in_one_pass(tally(np.concatenate([samples, *blocks])), name, clock)
        else:

            def recognise(batch: Sequence[Samples]) -> list[Segment]:
                # Segments that overlap are joined by the times of their words.
                return [_or_raise(found, name) for found in self._recognise(batch, clock, word_times=True)]

            for segment in transcribe_stream(map(tally, chain([samples], blocks)), recognise, self.longform):
                yield segment if self.word_times else replace(segment, words=())

    def _in_one_pass(self, samples: Samples, name: str, clock: Clock) -> Iterator[Segment]:
        asr, recogniser = self.recogniser.asr, self.recogniser

        def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
            with clock("encode"):
                return recogniser.hear(samples_bs, lengths_b)

        def recognise(memories: list[Tensor]) -> list[Segment]:
            return recogniser.of_memory(memories, word_times=self.word_times, clock=clock)

        try:
            check_one_pass(asr.config, len(samples) / SAMPLE_RATE)
            with self._computing:
                found = list(one_pass(samples, hear, asr.ctc_head, recognise, self.longform))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        yield from found

    def _recognise(
        self, batch: Sequence[Samples], clock: Clock, *, word_times: bool = False
    ) -> list[Segment | InputError]:
        if not batch:
            return []
        with self._computing:
            return self.recogniser(batch, word_times=word_times or self.word_times, clock=clock)


class _Tally:
    """Counts samples that go by."""

    def __init__(self, progress: Progress | None) -> None:
        self.samples, self._progress = 0, progress

    def __call__(self, samples: Samples) -> Samples:
        self.samples += len(samples)
        if self._progress is not None:
            self._progress(len(samples) / SAMPLE_RATE)
        return samples


def _or_raise(found: Segment | InputError, name: str) -> Segment:
    if isinstance(found, InputError):
        raise InputError(f"{name}: {found}")
    return found


def _length(path: str) -> float | InputError:
    try:
        return audio_seconds(path)
    except InputError as error:
        return error
