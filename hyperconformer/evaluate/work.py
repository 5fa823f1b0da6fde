"""Decoding batches in one process: heard once, searched by all searches, put into words."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hyperconformer.decoding.alignment import words_of_batch
from hyperconformer.decoding.confidence import UNCALIBRATED
from hyperconformer.decoding.rescoring import rank
from hyperconformer.decoding.searches import make_search
from hyperconformer.errors import InputError
from hyperconformer.evaluate.task import Answer, Asked, Done, Said, Task
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.encoding import Encoded, encode_files, set_precision
from hyperconformer.inference.reading import Portion
from hyperconformer.inference.search_models import open_models
from hyperconformer.types import Hypothesis, Word

NBest = Sequence[Sequence[Hypothesis]]


class Worker:
    """Models in memory, ready to decode batches.

    Parameters
    ----------
    task : Task

    Raises
    ------
    InputError
        If a model cannot be used.

    Examples
    --------
    >>> from hyperconformer.decoding.options import SearchOptions
    >>> Worker(Task("no/such/model", (Asked("greedy", SearchOptions()),)))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """

    def __init__(self, task: Task) -> None:
        self.task, self.clock = task, Clock(task.device)
        self.model, self.tokenizer = load_bundle(Path(task.model), task.device)
        named = {"lm": task.lm, "ngram": task.ngram, "hotwords": task.hotwords}
        try:
            models = open_models(self.model, self.tokenizer, **named)
            self.searches = [make_search(asked.decode, models, asked.options) for asked in task.asked]
        except ValueError as error:
            raise InputError(str(error)) from error
        set_precision(self.model, task.precision)

    def __call__(self, portions: Iterable[Portion]) -> Iterator[Done]:
        """Decode batches.

        Parameters
        ----------
        portions : iterable of Portion
            Audio files of each.

        Yields
        ------
        Done
        """
        begun = time.monotonic()
        for heard in encode_files(self.model, portions, clock=self.clock):
            batch = heard.batch
            answers = tuple(self._answers(heard)) if batch.files else ()
            seconds = dict(zip(batch.files, batch.seconds, strict=True))
            span = begun, time.monotonic()
            yield Done(seconds, answers, batch.faults, self.clock.take(), span)
            begun = time.monotonic()

    @torch.inference_mode()
    def _answers(self, heard: Encoded) -> Iterator[dict[int, Answer]]:
        """What every variant of every search says."""
        log_probs_btv = None
        if self.task.word_timestamps:
            with self.clock("encode"):
                log_probs_btv = self.model.ctc_log_probs(heard.memory_btd).cpu()
        for place, (asked, search) in enumerate(zip(self.task.asked, self.searches, strict=True)):
            with self.clock(str(place)):
                nbest = search(heard.memory_btd, heard.lengths_b)
                timed = self._timed(asked.decode, nbest, log_probs_btv, heard)
                for rows in self._in_words(asked, nbest, timed):
                    yield dict(zip(heard.batch.files, rows, strict=True))

    def _timed(
        self, decode: str, nbest: NBest, log_probs_btv: Tensor | None, heard: Encoded
    ) -> list[tuple[Word, ...] | None]:
        """When the words of every best hypothesis are spoken, if that is asked."""
        if log_probs_btv is None:
            return [None] * len(nbest)
        calibration = self.task.calibrations.get(decode, UNCALIBRATED)
        batch = heard.batch
        sounds = [
            row[:length] for row, length in zip(batch.samples_bs, batch.lengths_b.tolist(), strict=True)
        ]
        best = [found[0].tokens for found in nbest]
        frames = heard.lengths_b.tolist()
        return [
            *words_of_batch(
                log_probs_btv, frames, best, self.tokenizer, samples=sounds, calibration=calibration
            )
        ]

    def _in_words(
        self, asked: Asked, nbest: NBest, timed: Sequence[tuple[Word, ...] | None]
    ) -> Iterator[list[Answer]]:
        """Rows for every variant."""
        if not asked.reranked:
            yield [Answer(self._said(each), words) for each, words in zip(nbest, timed, strict=True)]
        for options in asked.reranked:
            yield [Answer(self._said(rank(each, options)[:1])) for each in nbest]

    def _said(self, nbest: Sequence[Hypothesis]) -> tuple[Said, ...]:
        decode = self.tokenizer.decode
        return tuple(Said(decode(found.tokens), found.score, dict(found.parts)) for found in nbest)
