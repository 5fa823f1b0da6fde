"""What hears and what searches, put together: samples to segments with text and word times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hyperconformer.audio import Samples
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.decoding.alignment import SECONDS_PER_FRAME, words_of_batch
from hyperconformer.decoding.confidence import UNCALIBRATED, Calibration
from hyperconformer.decoding.searches import Search
from hyperconformer.errors import InputError
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.encoding import NO_SCORES
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.types import Hypothesis, Segment, Word

Hear = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Samples (B, S) and the number of each (B,) to encoder output (B, T, D) and its valid frames (B,)."""


@dataclass(frozen=True)
class Recogniser:
    """A backend and a search.

    Attributes
    ----------
    asr : ASR
        What searches ask: its CTC head, its decoder, its config.
    hear : callable
        Samples to encoder output, zero at padded frames.
    search : callable
        Encoder output to the n best hypotheses of each utterance.
    tokenizer : Tokenizer
    calibration : Calibration
        Of confidences.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from hyperconformer.models.config import ModelConfig
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "t.model")
    ...     tokens = train_tokenizer(["A B"], path, output_neurons=6, model_type="char")
    >>> asr = ASR(ModelConfig(output_neurons=6, d_model=8, nhead=2)).eval()
    >>> said = [[Hypothesis(tuple(tokens.encode("A B")), 0.0)]]
    >>> def hear(samples_bs, lengths_b):
    ...     return torch.zeros(1, 25, 8), torch.tensor([25])
    >>> [segment] = Recogniser(asr, hear, lambda *heard: said, tokens)([np.zeros(16_000, np.float32)])
    >>> segment.end, segment.text, segment.words
    (1.0, 'A B', ())
    """

    asr: ASR
    hear: Hear
    search: Search
    tokenizer: Tokenizer
    calibration: Calibration = UNCALIBRATED

    @torch.inference_mode()
    def __call__(
        self, batch: Sequence[Samples], *, word_times: bool = False, clock: Clock | None = None
    ) -> list[Segment | InputError]:
        """Recognise a batch.

        Parameters
        ----------
        batch : sequence of ndarray, each of shape (samples,), float32
            Mono, 16 kHz, at least one sample.
        word_times : bool
            Give the words their times and confidences.
        clock : Clock or None
            Is told what the time went to: ``encode``, ``search``, ``words``.

        Returns
        -------
        list of Segment or InputError
            Of each recording, from its beginning to its end; an error where the model makes no finite
            numbers of it.
        """
        clock = Clock() if clock is None else clock
        with clock("encode"):
            samples = [torch.from_numpy(row) for row in batch]
            lengths_b = torch.tensor([len(row) for row in samples])
            memory_btd, frames_b = self.hear(pad_sequence(samples, batch_first=True), lengths_b)
            finite_b = memory_btd.isfinite().flatten(1).all(dim=1)
            fine = finite_b.tolist()
        if not all(fine):
            memory_btd, frames_b = memory_btd[finite_b], frames_b[finite_b]
            samples = [row for row, is_finite in zip(samples, fine, strict=True) if is_finite]
        said = iter(self._decoded(memory_btd, frames_b, samples, word_times, clock) if any(fine) else ())
        return [next(said) if is_finite else InputError(f"it {NO_SCORES}") for is_finite in fine]

    @torch.inference_mode()
    def of_memory(
        self, memories: Sequence[Tensor], *, word_times: bool = False, clock: Clock | None = None
    ) -> list[Segment]:
        """Recognise what has been heard.

        Parameters
        ----------
        memories : sequence of Tensor, each of shape (T, D), float32
            Encoder output.
        word_times, clock
            As for audio.

        Returns
        -------
        list of Segment
        """
        frames_b = torch.tensor([len(memory_td) for memory_td in memories], device=memories[0].device)
        clock = Clock() if clock is None else clock
        memory_btd = pad_sequence(list(memories), batch_first=True)
        return self._decoded(memory_btd, frames_b, None, word_times, clock)

    def _decoded(
        self,
        memory_btd: Tensor,
        frames_b: Tensor,
        samples: Sequence[Tensor] | None,
        word_times: bool,
        clock: Clock,
    ) -> list[Segment]:
        """Search, and give what is found text and times."""
        with clock("search"):
            found = self.search(memory_btd, frames_b)
        with clock("words"):
            frames = frames_b.tolist()
            if samples is None:
                seconds = [SECONDS_PER_FRAME * count for count in frames]
            else:
                seconds = [len(row) / SAMPLE_RATE for row in samples]
            timed = self._timed(memory_btd, frames, found, samples) if word_times else [()] * len(frames)
            decode = self.tokenizer.decode
            rows = zip(seconds, found, timed, strict=True)
            return [
                Segment(0.0, end, decode(nbest[0].tokens), said, tuple(nbest)) for end, nbest, said in rows
            ]

    def _timed(
        self,
        memory_btd: Tensor,
        frames: Sequence[int],
        found: Sequence[Sequence[Hypothesis]],
        samples: Sequence[Tensor] | None,
    ) -> list[tuple[Word, ...]]:
        """The words of every best hypothesis, looked for in the samples where these are there."""
        return words_of_batch(
            self.asr.ctc_log_probs(memory_btd).cpu(),
            frames,
            [nbest[0].tokens for nbest in found],
            self.tokenizer,
            samples=samples,
            calibration=self.calibration,
        )
