"""The language model's Brain: cross-entropy of the next token, judged by perplexity."""

import math
from functools import partial
from typing import Any, cast

import speechbrain as sb
from torch import Tensor

from hyperconformer.data.tokens import TokenBatch
from hyperconformer.models.language_model import LanguageModel, framed, token_losses
from hyperconformer.training import distributed
from hyperconformer.training.lm_settings import LanguageModelSettings
from hyperconformer.training.loop import StepBrain
from hyperconformer.training.optimizer import make_optimizer
from hyperconformer.training.step import WholeLosses


class LanguageModelBrain(StepBrain):
    """Train by cross-entropy, validate and test by perplexity.

    Parameters
    ----------
    model : LanguageModel
    settings : LanguageModelSettings
    run_options : dict
        Options of SpeechBrain's Brain, for instance ``{"device": "cpu"}``.

    Attributes
    ----------
    nats : float
        Negative log-probability of the text that was last validated or tested, of all processes together.
    sentences, words, tokens : int
        Of that text; in a debugging run, of the part of it that was looked at.

    Examples
    --------
    >>> LanguageModelBrain.key
    'perplexity'
    """

    key = "perplexity"
    settings: LanguageModelSettings

    def __init__(
        self, model: LanguageModel, settings: LanguageModelSettings, run_options: dict[str, Any]
    ) -> None:
        super().__init__(
            model,
            settings,
            make_optimizer=partial(make_optimizer, settings=settings),
            part_names=(),
            run_options=run_options,
        )
        self._forget()

    def _forget(self) -> None:
        self.nats = 0.0
        self.sentences = self.words = self.tokens = 0

    @property
    def model(self) -> LanguageModel:
        """What learns."""
        return cast(LanguageModel, self.modules["model"])

    def compute_forward(self, batch: TokenBatch, stage: sb.Stage) -> tuple[Tensor, Tensor, Tensor]:
        """Sentences to logits, with what they should have foretold and where that ends."""
        batch = batch.to(self.device)
        given_bl, target_bl, beyond = framed(batch.tokens_bl, batch.lengths_b)
        return self.model(given_bl), target_bl, beyond

    def compute_objectives(
        self, predictions: tuple[Tensor, Tensor, Tensor], batch: TokenBatch, stage: sb.Stage
    ) -> WholeLosses:
        """The loss of every sentence; outside of training also counted into the perplexity."""
        smoothing = self.settings.label_smoothing if stage == sb.Stage.TRAIN else 0.0
        losses = WholeLosses(token_losses(*predictions, label_smoothing=smoothing).sum(dim=1))
        if stage != sb.Stage.TRAIN:
            self.nats += float(losses.total_b.double().sum())
            self.sentences += len(batch.lengths_b)
            self.words += batch.words
            self.tokens += int(batch.lengths_b.sum())
        return losses

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Forget the last text."""
        self._forget()

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Bring together what all processes counted."""
        if stage != sb.Stage.TRAIN:
            counts = distributed.gathered([(self.nats, self.sentences, self.words, self.tokens)])
            self.nats, self.sentences, self.words, self.tokens = map(sum, zip(*counts, strict=True))

    def judged(self) -> dict[str, float]:
        """The perplexity of a token of the validation."""
        return {"perplexity": perplexity(self.nats, self.tokens + self.sentences)}

    def row(self) -> dict[str, float]:
        """What the model made of the last text; the end of a sentence counts as a token, and as a word."""
        return {
            "sentences": self.sentences,
            "words": self.words,
            "tokens": self.tokens,
            "nats": self.nats,
            "perplexity_token": perplexity(self.nats, self.tokens + self.sentences),
            "perplexity_word": perplexity(self.nats, self.words + self.sentences),
        }


def perplexity(nats: float, count: int) -> float:
    """Of one of so many, from the negative log-probability of all.

    Parameters
    ----------
    nats : float
    count : int

    Returns
    -------
    float
        Infinite where it is too large for a number.

    Examples
    --------
    >>> round(perplexity(2 * math.log(8), 2), 3), perplexity(1e9, 2)
    (8.0, inf)
    """
    mean = nats / max(1, count)
    return math.exp(mean) if mean < 700 else math.inf
