"""Recordings of any length to segments: short ones whole, long ones cut or in one pass."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from torch import Tensor

from hyperconformer.audio import Samples
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.longform import transcribe_stream
from hyperconformer.inference.longform_options import DEFAULT, LongformOptions
from hyperconformer.inference.one_pass import check_one_pass, longest_heard, one_pass
from hyperconformer.inference.recogniser import Recogniser
from hyperconformer.types import Segment


class Listener:
    """A recogniser that several threads may share, for recordings of any length.

    Parameters
    ----------
    recogniser : Recogniser
    word_times : bool
        Give words their times and confidences.
    longform : LongformOptions
        How recordings are cut that are longer than its ``longest_seconds``.
    one_pass : bool
        Hear such a recording in one pass of the encoder instead, with all of it in memory.

    Attributes
    ----------
    longform : LongformOptions
        The same, but for segments that are shorter where the model can hear no longer ones.

    Raises
    ------
    InputError
        If longer segments were chosen than the model can hear.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> def recogniser(batch, **options):
    ...     return [Segment(0.0, len(samples) / SAMPLE_RATE, "SOUND") for samples in batch]
    >>> recogniser.asr = SimpleNamespace(config=SimpleNamespace(mixer_options={}))
    >>> second = np.zeros(SAMPLE_RATE, np.float32)
    >>> [said.end for said in Listener(recogniser).recording(iter([second, second]), "this", Clock())]
    [2.0]
    """

    def __init__(
        self,
        recogniser: Recogniser,
        *,
        word_times: bool = False,
        longform: LongformOptions = DEFAULT,
        one_pass: bool = False,
    ) -> None:
        self.recogniser = recogniser
        self.longform = longform.within(longest_heard(recogniser.asr.config))
        self._word_times, self._one_pass = word_times, one_pass
        # PyTorch shares one utterance's work between all cores; two at once would only wait for each other.
        self._computing = threading.Lock()

    def batch(
        self, batch: Sequence[Samples], clock: Clock, *, word_times: bool = False
    ) -> list[Segment | InputError]:
        """Recognise some recordings, none of them long.

        Parameters
        ----------
        batch : sequence of ndarray, each of shape (samples,), float32
            Maybe none.
        clock : Clock
            Is told what the time went to.
        word_times : bool
            Give words their times even if nobody asked for them.

        Returns
        -------
        list of Segment or InputError
            As :class:`~hyperconformer.inference.recogniser.Recogniser` gives them.
        """
        if not batch:
            return []
        with self._computing:
            return self.recogniser(batch, word_times=word_times or self._word_times, clock=clock)

    def recording(self, blocks: Iterator[Samples], name: str, clock: Clock) -> Iterator[Segment]:
        """Recognise one recording of whatever length.

        Parameters
        ----------
        blocks : iterator of ndarray, shape (samples,), float32
            At least one. Where the recording is cut, only some are in memory.
        name : str
            What complaints call it.
        clock : Clock
            Is told what the time went to; getting the blocks and finding speech is ``read``.

        Yields
        ------
        Segment
            One of a short recording; of a long one those with text, in order of time.

        Raises
        ------
        InputError
            If the model makes no finite numbers of it, or cannot hear it in one pass.
        """
        head, longest = list[Samples](), self.longform.longest_seconds * SAMPLE_RATE
        with clock("read"):
            while sum(map(len, head)) <= longest and (block := next(blocks, None)) is not None:
                head.append(block)
        if sum(map(len, head)) <= longest:
            (found,) = self.batch([np.concatenate(head)], clock)
            yield or_raise(found, name)
        elif self._one_pass:
            with clock("read"):
                samples = np.concatenate([*head, *blocks])
            yield from self._at_once(samples, name, clock)
        else:
            yield from self._cut(chain(head, blocks), name, clock)

    def _cut(self, blocks: Iterator[Samples], name: str, clock: Clock) -> Iterator[Segment]:
        def recognise(batch: Sequence[Samples]) -> list[Segment]:
            # Segments that overlap are joined by the times of their words.
            return [or_raise(found, name) for found in self.batch(batch, clock, word_times=True)]

        for segment in transcribe_stream(blocks, recognise, self.longform, clock):
            yield segment if self._word_times else replace(segment, words=())

    def _at_once(self, samples: Samples, name: str, clock: Clock) -> Iterator[Segment]:
        asr, recogniser = self.recogniser.asr, self.recogniser

        def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
            with clock("encode"):
                return recogniser.hear(samples_bs, lengths_b)

        def head(memory_nd: Tensor) -> Tensor:
            with clock("search"):
                logits_nv: Tensor = asr.ctc_head(memory_nd)
                return logits_nv

        def recognise(memories: list[Tensor]) -> list[Segment]:
            return recogniser.of_memory(memories, word_times=self._word_times, clock=clock)

        try:
            check_one_pass(asr.config, len(samples) / SAMPLE_RATE)
            with self._computing:
                found = list(one_pass(samples, hear, head, recognise, self.longform))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        yield from found


def or_raise(found: Segment | InputError, name: str) -> Segment:
    """Give a segment, or raise what was found in its place.

    Parameters
    ----------
    found : Segment or InputError
    name : str
        What the complaint calls the recording.

    Returns
    -------
    Segment

    Raises
    ------
    InputError

    Examples
    --------
    >>> or_raise(InputError("no finite scores come of it"), "audio file 'a.wav'")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: audio file 'a.wav': no finite scores come of it
    """
    if isinstance(found, InputError):
        raise InputError(f"{name}: {found}")
    return found
