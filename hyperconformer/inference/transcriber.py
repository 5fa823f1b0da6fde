"""Audio to text with a trained model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hyperconformer.audio import Samples, as_house_audio, open_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.backends import Choice, open_recogniser
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.hub import resolve_model
from hyperconformer.inference.listener import Listener, or_raise
from hyperconformer.inference.longform_options import DEFAULT, LongformOptions
from hyperconformer.inference.reading import AudioBatch, Portion, plan_files, read_batches
from hyperconformer.inference.recogniser import Recogniser
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.types import Segment, Transcript

Audio = str | Path | BinaryIO | npt.NDArray[Any] | Tensor
Found = tuple[int, Transcript | InputError]
Heard = Found | float
"""What was said in a file, or seconds of audio that have been heard since the last ones."""
Progress = Callable[[float], None]
"""Is told of seconds of audio that have been heard since it was told last."""


class Transcriber:
    """A trained model, ready to listen; several threads may share one.

    Parameters
    ----------
    recogniser : Recogniser
        As :meth:`load` makes it.
    word_times : bool
        Give words their times and confidences.
    longform : LongformOptions
        How recordings are cut that are longer than its ``longest_seconds``, and the audio of a batch.
    one_pass : bool
        Hear such a recording in one pass of the encoder instead, with all of it in memory.

    Raises
    ------
    InputError
        If longer segments were chosen than the model can hear.

    Examples
    --------
    Any model folder will do; this one has learnt nothing and is quickly made:

    >>> import tempfile
    >>> from hyperconformer.inference.bundle import save_bundle
    >>> from hyperconformer.models.config import ModelConfig
    >>> from hyperconformer.text import train_tokenizer
    >>> scratch = tempfile.TemporaryDirectory()
    >>> tokenizer = train_tokenizer(["ONE TWO"], Path(scratch.name) / "t.model", output_neurons=12)
    >>> untrained = ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2, num_encoder_layers=1))
    >>> model = save_bundle(Path(scratch.name) / "model", untrained, tokenizer, metrics={}, card="")
    >>> transcriber = Transcriber.load(model, word_times=True)

    Samples, a file's path or an open file to text, segments and words:

    >>> transcript = transcriber.transcribe(np.zeros(8_000), sample_rate_hz=8_000)
    >>> transcript.seconds, transcript.text == " ".join(word.text for word in transcript.words)
    (1.0, True)

    Segments as they get done, and many files at once:

    >>> [segment.end for segment in transcriber.stream(np.zeros(8_000), sample_rate_hz=8_000)]
    [1.0]
    >>> for file, found in transcriber.transcribe_files(["no/such.wav"]):
    ...     print(file, found.text if isinstance(found, Transcript) else found)
    0 audio file 'no/such.wav' does not exist: check the path
    >>> scratch.cleanup()
    """

    def __init__(
        self,
        recogniser: Recogniser,
        *,
        word_times: bool = False,
        longform: LongformOptions = DEFAULT,
        one_pass: bool = False,
    ) -> None:
        self._listener = Listener(recogniser, word_times=word_times, longform=longform, one_pass=one_pass)

    @property
    def model(self) -> ASR:
        """The network; of onnxruntime what stands for it."""
        return self._listener.recogniser.asr

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the model."""
        return self._listener.recogniser.tokenizer

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
            device=device,
            precision=precision,
            backend=backend,
            decode=decode,
            options=dict(options or {}),
            lm=lm,
            ngram=ngram,
            hotwords=hotwords,
            calibration=calibration,
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
            If it cannot be read, or a file is given a rate or samples none.
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
            Which of the files; they come in another order within every
            :data:`~hyperconformer.inference.reading.WINDOW`.
        Transcript or InputError
            What was said, the same as :meth:`transcribe` gives, or why the file could not be read.
        """
        for found in self.hear(plan_files(enumerate(map(str, paths)), self._listener.longform)):
            if not isinstance(found, float):
                yield found
            elif progress is not None:
                progress(found)

    def hear(self, portions: Iterable[Portion]) -> Iterator[Heard]:
        """Recognise files portion by portion, while the next ones are read.

        Parameters
        ----------
        portions : iterable of Portion
            As :func:`~hyperconformer.inference.reading.plan_files` gives them.

        Yields
        ------
        Heard
            What was said in a file, as :meth:`transcribe_files` has it, or seconds of audio that have been
            heard since the last ones.
        """
        clock, longest = Clock(), self._listener.longform.longest_seconds
        for batch in clock.each("read", read_batches(portions, most_seconds=longest)):
            for file, fault in batch.faults.items():
                yield file, InputError(fault)
            yield from self._of_batch(batch, clock)
            for file, path in batch.longer.items():
                yield from self.hear_alone(file, path)

    def _of_batch(self, batch: AudioBatch, clock: Clock) -> Iterator[Heard]:
        rows = zip(batch.samples_bs.numpy(), batch.lengths_b.tolist(), strict=True)
        heard = self._listener.batch([samples[:length] for samples, length in rows], clock)
        took, whole = clock.take(), float(sum(batch.seconds))
        yield whole
        for (file, path), length, found in zip(batch.files.items(), batch.seconds, heard, strict=True):
            timings = {name: spent * length / whole for name, spent in took.items()}
            try:
                segment = or_raise(found, f"audio file {path!r}")
                yield file, Transcript(length, (segment,), timings)
            except InputError as error:
                yield file, error

    def hear_alone(self, file: int, audio: Audio) -> Iterator[Heard]:
        """Recognise one recording, as long as it likes.

        Parameters
        ----------
        file : int
            Its number.
        audio : str, Path or binary file

        Yields
        ------
        Heard
            As :meth:`hear` does; of a long recording seconds of audio with every segment.
        """
        segments, clock, tally, told = list[Segment](), Clock(), _Tally(None), 0
        try:
            for segment in self._segments(audio, None, clock, tally):
                segments.append(segment)
                yield (tally.samples - told) / SAMPLE_RATE
                told = tally.samples
            yield (tally.samples - told) / SAMPLE_RATE
            yield file, Transcript(tally.samples / SAMPLE_RATE, tuple(segments), clock.take())
        except InputError as error:
            yield file, error

    def _segments(
        self, audio: Audio, sample_rate_hz: int | None, clock: Clock, tally: "_Tally"
    ) -> Iterator[Segment]:
        with ExitStack() as opened:
            with clock("read"):
                blocks, name = _blocks(audio, sample_rate_hz, opened)
            yield from self._listener.recording(map(tally, blocks), name, clock)


class _Tally:
    """Counts samples that go by."""

    def __init__(self, progress: Progress | None) -> None:
        self.samples, self._progress = 0, progress

    def __call__(self, samples: Samples) -> Samples:
        self.samples += len(samples)
        if self._progress is not None:
            self._progress(len(samples) / SAMPLE_RATE)
        return samples


def _blocks(audio: Audio, sample_rate_hz: int | None, opened: ExitStack) -> tuple[Iterator[Samples], str]:
    """A recording's blocks and its name; a file stays open as long as the stack does."""
    if isinstance(audio, np.ndarray | Tensor):
        if sample_rate_hz is None:
            raise InputError("an array does not tell its sample rate: give sample_rate_hz")
        samples = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else audio
        return iter([as_house_audio(samples, sample_rate_hz)]), "the array"
    recording = opened.enter_context(open_audio(audio))
    if sample_rate_hz is not None:
        raise InputError(f"{recording.name}: a file tells its own rate: leave sample_rate_hz out")
    return recording.blocks(), recording.name
