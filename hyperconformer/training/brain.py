"""The recogniser's Brain: its losses, and the searches that judge it."""

from functools import partial
from typing import Any, cast

import speechbrain as sb
import torch
from torch import Tensor

from hyperconformer.data.pipeline import Batch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import Models, Search, make_search
from hyperconformer.models.asr import ASR, Outputs
from hyperconformer.nn.masks import padding_mask
from hyperconformer.scoring import score
from hyperconformer.text import Tokenizer
from hyperconformer.training import distributed
from hyperconformer.training.loop import StepBrain
from hyperconformer.training.objectives import Loss, joint_loss
from hyperconformer.training.optimizer import make_optimizer
from hyperconformer.training.settings import Settings
from hyperconformer.training.views import in_views
from hyperconformer.types import Utterance

Pairs = list[tuple[Utterance, str]]


class ASRBrain(StepBrain):
    """Train with the joint loss, validate by greedy WER, test with any searches.

    Parameters
    ----------
    model : ASR
    tokenizer : Tokenizer
    settings : Settings
    run_options : dict
        Options of SpeechBrain's Brain, for instance ``{"device": "cpu"}``.

    Attributes
    ----------
    searches : dict of str to callable
        Searches of the next validation or test, by name; greedy to begin with.
    decoded : dict of str to list
        What the last validation or test decoded, by search; of all processes, each utterance once.

    Examples
    --------
    >>> ASRBrain.key
    'WER'
    """

    settings: Settings

    def __init__(
        self, model: ASR, tokenizer: Tokenizer, settings: Settings, run_options: dict[str, Any]
    ) -> None:
        super().__init__(
            model,
            settings,
            make_optimizer=partial(make_optimizer, settings=settings),
            part_names=settings.loss_parts,
            run_options=run_options,
        )
        self.tokenizer = tokenizer
        self.searches: dict[str, Search] = {"greedy": make_search("greedy", Models(model), SearchOptions())}
        self.decoded: dict[str, Pairs] = {}

    @property
    def model(self) -> ASR:
        """The recogniser."""
        return cast(ASR, self.modules["model"])

    def compute_forward(self, batch: Batch, stage: sb.Stage) -> Outputs:
        """Samples to the logits of both heads; training masks the features in between, once a view."""
        batch = batch.to(self.device)
        with torch.no_grad():
            features_bfm, frames_b = self.model.features(batch.samples_bs, batch.lengths_b)
            if stage == sb.Stage.TRAIN:
                features_bfm = self.settings.augment.apply_views(features_bfm, frames_b, batch.plans_bp)
        if stage == sb.Stage.TRAIN:
            rows = (in_views(x, self.settings.views) for x in (frames_b, batch.decoder_input()))
            layers = tuple(self.settings.inter_ctc_layers)
            outputs: Outputs = self.model(features_bfm, *rows, layers)
            return outputs
        memory_btd, lengths_b = self.model.encode_features(features_bfm, frames_b)
        self._decode(batch, memory_btd, lengths_b)
        padding = padding_mask(lengths_b, memory_btd.shape[1])
        attention = self.model.decoder(batch.decoder_input(), memory_btd, padding)
        return Outputs(self.model.ctc_head(memory_btd), attention, lengths_b)

    def _decode(self, batch: Batch, memory_btd: Tensor, lengths_b: Tensor) -> None:
        for name, search in self.searches.items():
            texts = (self.tokenizer.decode(nbest[0].tokens) for nbest in search(memory_btd, lengths_b))
            self.decoded.setdefault(name, []).extend(zip(batch.utterances, texts, strict=True))

    def compute_objectives(self, predictions: Outputs, batch: Batch, stage: sb.Stage) -> Loss:
        """Logits and references to the loss of every utterance."""
        return joint_loss(
            predictions,
            batch.tokens_bl.to(self.device),
            batch.token_lengths_b.to(self.device),
            batch.decoder_target().to(self.device),
            ctc_weight=self.settings.ctc_weight,
            label_smoothing=self.settings.label_smoothing if stage == sb.Stage.TRAIN else 0.0,
            inter_ctc_weight=self.settings.inter_ctc_weight,
            cr_ctc_weight=self.settings.cr_ctc_weight,
        )

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Forget what the last stage decoded."""
        self.decoded = {}

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Bring together what all processes decoded."""
        if stage != sb.Stage.TRAIN:
            self.decoded = {name: distributed.gathered(self.decoded.get(name, [])) for name in self.searches}

    def judged(self) -> dict[str, float]:
        """The greedy WER of the validation, in percent."""
        return {"WER": 100 * score(self.decoded["greedy"], "valid").counts.wer}
