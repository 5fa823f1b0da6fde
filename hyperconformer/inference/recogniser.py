"""What hears and what searches, put together: arrays of samples to segments with text and word times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.decoding.alignment import words
from hyperconformer.decoding.confidence import UNCALIBRATED, Calibration
from hyperconformer.errors import InputError
from hyperconformer.inference.clock import Clock
from hyperconformer.text import Tokenizer
from hyperconformer.types import Hypothesis, Segment, Word

Samples = npt.NDArray[np.float32]


class Heard(NamedTuple):
    """What a backend makes of a padded batch.

    Attributes
    ----------
    memory_btd : Tensor, shape (B, T, D), float32
        Encoder output, zero at padded frames.
    lengths_b : Tensor, shape (B,), long
        Its valid frames.
    log_probs : callable
        Gives the CTC log-probabilities (B, T, V), for which not every search has a use.

    Examples
    --------
    >>> Heard(torch.zeros(1, 2, 3), torch.tensor([2]), lambda: torch.zeros(1, 2, 5)).log_probs().shape
    torch.Size([1, 2, 5])
    """

    memory_btd: Tensor
    lengths_b: Tensor
    log_probs: Callable[[], Tensor]

    def rows(self, kept_b: Tensor) -> "Heard":
        """Some of the utterances."""
        here_b = kept_b.to(self.memory_btd.device)
        return Heard(self.memory_btd[here_b], self.lengths_b[here_b], lambda: self.log_probs()[here_b])


@dataclass(frozen=True)
class Recogniser:
    """A backend and a search.

    Attributes
    ----------
    hear : callable
        Samples (B, S) and the number of each (B,) to :class:`Heard`.
    search : callable
        :class:`Heard` to the n best hypotheses of each utterance, at least one, best first.
    tokenizer : Tokenizer
    calibration : Calibration
        Of confidences.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "t.model")
    ...     words = train_tokenizer(["A B"], path, output_neurons=6, model_type="char")
    >>> heard = Heard(torch.zeros(1, 25, 4), torch.tensor([25]), lambda: torch.zeros(1, 25, 6))
    >>> said = [[Hypothesis(tuple(words.encode("A B")), 0.0)]]
    >>> recogniser = Recogniser(lambda samples_bs, lengths_b: heard, lambda heard: said, words)
    >>> [segment] = recogniser([np.zeros(16_000, np.float32)])
    >>> segment.end, segment.text, segment.words
    (1.0, 'A B', ())
    """

    hear: Callable[[Tensor, Tensor], Heard]
    search: Callable[[Heard], Sequence[Sequence[Hypothesis]]]
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
            samples_bs = pad_sequence([torch.from_numpy(samples) for samples in batch], batch_first=True)
            lengths_b = torch.tensor([len(samples) for samples in batch])
            heard = self.hear(samples_bs, lengths_b)
            finite_b = heard.memory_btd.isfinite().flatten(1).all(dim=1).cpu()
            heard = heard if finite_b.all() else heard.rows(finite_b)
        with clock("search"):
            found = iter(self.search(heard) if finite_b.any() else ())
        with clock("words"):
            log_probs = iter(heard.log_probs().cpu()) if word_times else None
            frames = iter(heard.lengths_b.tolist())
            segments: list[Segment | InputError] = []
            for samples, fine in zip(batch, finite_b.tolist(), strict=True):
                if not fine:
                    segments.append(_infinite())
                    continue
                nbest, valid = next(found), next(frames)
                own = None if log_probs is None else next(log_probs)[:valid]
                segments.append(self._segment(samples, nbest, own))
        return segments

    def _segment(self, samples: Samples, nbest: Sequence[Hypothesis], log_probs_tv: Tensor | None) -> Segment:
        seconds, timed = len(samples) / SAMPLE_RATE, tuple[Word, ...]()
        tokens = nbest[0].tokens
        if log_probs_tv is not None:
            heard = torch.from_numpy(samples)
            given = words(log_probs_tv, tokens, self.tokenizer, calibration=self.calibration, samples=heard)
            timed = tuple(given)
        return Segment(0.0, seconds, self.tokenizer.decode(tokens), timed, tuple(nbest))


def _infinite() -> InputError:
    return InputError(
        "no finite scores come of it: its samples are far too large, or the model's precision is too short"
    )
