"""Decoding batches in one process: heard once, searched by all searches, put into words."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from hyperconformer.decoding.searches import Search
from hyperconformer.evaluate.rerank import rerank
from hyperconformer.evaluate.task import Answer, Asked, Done, Said, Task
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.encoding import Encoded, encode_files, set_precision
from hyperconformer.inference.helpers import Helpers
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
    >>> Worker(Task("no/such/model", (), [], (Asked("greedy", SearchOptions()),)))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """

    def __init__(self, task: Task) -> None:
        self.task, self.clock = task, Clock(task.device)
        self.model, self.tokenizer = load_bundle(Path(task.model), task.device)
        named = {"lm": task.lm, "ngram": task.ngram, "hotwords": task.hotwords}
        helpers = Helpers.load(self.tokenizer, **named, device=task.device)
        self.searches: list[Search] = [
            helpers.search(asked.decode, self.model, asked.options, self.tokenizer) for asked in task.asked
        ]
        set_precision(self.model, task.precision)

    def work(self, numbers: Iterable[int] | None = None) -> Iterator[Done]:
        """Decode batches.

        Parameters
        ----------
        numbers : iterable of int or None
            Which ones; None takes all.

        Yields
        ------
        Done
        """
        task = self.task
        for heard in encode_files(self.model, task.paths, task.plan, numbers, clock=self.clock):
            batch = heard.batch
            found = self._searched(heard) if batch.files else []
            with self.clock("words"):
                timed = self._timed(heard, found)
                answers = tuple(
                    dict(zip(batch.files, rows, strict=True))
                    for asked, nbest, words in zip(task.asked, found, timed, strict=True)
                    for rows in self._answers(asked, nbest, words)
                )
            seconds = dict(zip(batch.files, batch.seconds, strict=True))
            yield Done(batch.number, seconds, answers, batch.faults, self.clock.take())

    @torch.inference_mode()
    def _searched(self, heard: Encoded) -> list[NBest]:
        """What every search finds."""
        found: list[NBest] = []
        for place, search in enumerate(self.searches):
            with self.clock(str(place)):
                found.append(search(heard.memory_btd, heard.lengths_b))
        return found

    @torch.inference_mode()
    def _timed(self, heard: Encoded, found: Sequence[NBest]) -> list[list[tuple[Word, ...] | None]]:
        """When the words of every best hypothesis are spoken, if that is asked."""
        if not (self.task.word_timestamps and found):
            return [[None] * len(nbest) for nbest in found]
        from hyperconformer.decoding.alignment import words

        log_probs_btv, frames = self.model.ctc_log_probs(heard.memory_btd).cpu(), heard.lengths_b.tolist()
        return [
            [
                tuple(words(log_probs_btv[row, : frames[row]], best.tokens, self.tokenizer))
                for row, (best, *_) in enumerate(nbest)
            ]
            for nbest in found
        ]

    def _answers(
        self, asked: Asked, nbest: NBest, timed: Sequence[tuple[Word, ...] | None]
    ) -> Iterator[list[Answer]]:
        """In words, for every variant."""
        if not asked.reranked:
            ranked = [[(found.score, found) for found in each] for each in nbest]
            yield [Answer(self._said(each), words) for each, words in zip(ranked, timed, strict=True)]
        for options in asked.reranked:
            best = [rerank(each, asked.options, options)[:1] for each in nbest]
            yield [Answer(self._said(each)) for each in best]

    def _said(self, ranked: Sequence[tuple[float, Hypothesis]]) -> tuple[Said, ...]:
        return tuple(
            Said(self.tokenizer.decode(found.tokens), score, dict(found.parts)) for score, found in ranked
        )
