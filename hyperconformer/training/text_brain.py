"""The text classifier's Brain: cross-entropy of the class, judged by the texts that it gets wrong."""

from functools import partial
from typing import Any, NamedTuple, cast

import speechbrain as sb
import torch.nn.functional as F
from torch import Tensor

from hyperconformer.data.text_batches import LabelledBatch
from hyperconformer.inference.text_classifier import batch_texts
from hyperconformer.models.classifier import Classifier
from hyperconformer.training import distributed
from hyperconformer.training.loop import StepBrain
from hyperconformer.training.optimizer import make_optimizer
from hyperconformer.training.step import WholeLosses
from hyperconformer.training.text_settings import ClassificationSettings


class Verdict(NamedTuple):
    """What the classifier made of a text.

    Attributes
    ----------
    number : int
        Of the text in its split, from 0.
    label, predicted : int
        Classes.
    probability : float
        Of the predicted one.

    Examples
    --------
    >>> Verdict(0, 3, 3, 0.9).right
    True
    """

    number: int
    label: int
    predicted: int
    probability: float

    @property
    def right(self) -> bool:
        """Whether it is the class."""
        return self.label == self.predicted


class ClassificationBrain(StepBrain):
    """Train by cross-entropy, validate and test by the share of wrong texts.

    Parameters
    ----------
    model : Classifier
    settings : ClassificationSettings
    run_options : dict
        Options of SpeechBrain's Brain, for instance ``{"device": "cpu"}``.

    Attributes
    ----------
    verdicts : list of Verdict
        On the split that was last validated or tested, of all processes together, in the split's order; in a
        debugging run, on the part of it that was looked at.

    Examples
    --------
    >>> ClassificationBrain.key
    'error'
    """

    key = "error"
    settings: ClassificationSettings

    def __init__(
        self, model: Classifier, settings: ClassificationSettings, run_options: dict[str, Any]
    ) -> None:
        super().__init__(
            model,
            settings,
            make_optimizer=partial(make_optimizer, settings=settings),
            part_names=(),
            run_options=run_options,
        )
        self.verdicts: list[Verdict] = []

    @property
    def model(self) -> Classifier:
        """What learns."""
        return cast(Classifier, self.modules["model"])

    def compute_forward(self, batch: LabelledBatch, stage: sb.Stage) -> tuple[Tensor, Tensor]:
        """Texts to logits (B, C), with their classes (B,)."""
        batch = batch.to(self.device)
        return self.model(*batch_texts(batch)), batch.labels_b

    def compute_objectives(
        self, predictions: tuple[Tensor, Tensor], batch: LabelledBatch, stage: sb.Stage
    ) -> WholeLosses:
        """The loss of every text; outside of training also its verdict."""
        logits_bc, labels_b = predictions[0].float(), predictions[1]
        smoothing = self.settings.label_smoothing if stage == sb.Stage.TRAIN else 0.0
        losses_b = F.cross_entropy(logits_bc, labels_b, reduction="none", label_smoothing=smoothing)
        if stage != sb.Stage.TRAIN:
            surest = logits_bc.softmax(dim=1).max(dim=1)
            columns = (labels_b.tolist(), surest.indices.tolist(), surest.values.tolist())
            self.verdicts += map(Verdict, batch.numbers.tolist(), *columns)
        return WholeLosses(losses_b)

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Forget the last split."""
        self.verdicts = []

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Bring together what all processes found."""
        if stage != sb.Stage.TRAIN:
            self.verdicts = sorted(distributed.gathered(self.verdicts))

    def judged(self) -> dict[str, float]:
        """Percent of the validation texts that are wrong."""
        wrong = sum(not verdict.right for verdict in self.verdicts)
        return {"error": 100 * wrong / max(1, len(self.verdicts))}
