"""SpeechBrain's Brain around the recogniser: one step, one validation, one test."""

import time
from functools import partial
from typing import Any, cast

import speechbrain as sb
import torch
from speechbrain.nnet.schedulers import NoamScheduler
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter
from torch import Tensor

from hyperconformer.data.augment import keyed_rng
from hyperconformer.data.pipeline import Batch, Loader
from hyperconformer.errors import InputError
from hyperconformer.models.asr import ASR, Outputs
from hyperconformer.nn.masks import padding_mask
from hyperconformer.scoring import score
from hyperconformer.text import Tokenizer
from hyperconformer.training.log import log_epoch
from hyperconformer.training.objectives import Loss, joint_loss
from hyperconformer.training.searcher import Search, greedy_search
from hyperconformer.training.settings import Settings
from hyperconformer.training.views import in_views
from hyperconformer.types import Utterance

Pairs = list[tuple[Utterance, str]]


class ASRBrain(sb.Brain):
    """Train with the joint loss, validate by greedy WER, test with any searches.

    Parameters
    ----------
    model : ASR
    tokenizer : Tokenizer
    settings : Settings
    train_loader : Loader
        Of the training set; its sampler is told each epoch's number.
    run_options : dict
        Options of SpeechBrain's Brain, for instance ``{"device": "cpu"}``.

    Attributes
    ----------
    epochs : EpochCounter
        What ``fit`` counts through; it resumes where the last checkpoint ended.
    searches : dict of str to callable
        Searches of the next validation or test, by name; greedy to begin with.
    decoded : dict of str to list
        What the last validation or test decoded, by search.

    Examples
    --------
    >>> issubclass(ASRBrain, sb.Brain)
    True
    """

    def __init__(
        self,
        model: ASR,
        tokenizer: Tokenizer,
        settings: Settings,
        train_loader: Loader,
        run_options: dict[str, Any],
    ) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        self.epochs = EpochCounter(settings.number_of_epochs)
        self.schedule = NoamScheduler(settings.lr, settings.n_warmup_steps)
        self.searches: dict[str, Search] = {"greedy": partial(greedy_search, model)}
        self.decoded: dict[str, Pairs] = {}
        self.last_rate, self.stage_start = 0.0, 0.0
        self.train_stats: dict[str, float] = {}
        super().__init__(
            modules={"model": model},
            opt_class=lambda parameters: torch.optim.AdamW(
                parameters,
                lr=settings.lr,
                betas=(settings.adam_betas[0], settings.adam_betas[1]),
                eps=settings.adam_eps,
                weight_decay=settings.weight_decay,
            ),
            hparams={"output_folder": settings.output_folder, "skip_nonfinite_grads": True},
            run_opts=run_options,
            checkpointer=Checkpointer(
                settings.folder / "save",
                {"model": model, "epochs": self.epochs, "schedule": self.schedule},
            ),
        )
        self.train_sampler = train_loader.batch_sampler

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
            outputs: Outputs = self.modules["model"](features_bfm, *rows, layers)
            return outputs
        memory_btd, lengths_b = self.model.encode_features(features_bfm, frames_b)
        self._decode(batch, memory_btd, lengths_b)
        padding = padding_mask(lengths_b, memory_btd.shape[1])
        attention = self.model.decoder(batch.decoder_input(), memory_btd, padding)
        return Outputs(self.model.ctc_head(memory_btd), attention, lengths_b)

    def _decode(self, batch: Batch, memory_btd: Tensor, lengths_b: Tensor) -> None:
        for name, search in self.searches.items():
            texts = (self.tokenizer.decode(found.tokens) for found in search(memory_btd, lengths_b))
            self.decoded.setdefault(name, []).extend(zip(batch.utterances, texts, strict=True))

    def compute_objectives(self, predictions: Outputs, batch: Batch, stage: sb.Stage) -> Tensor:
        """Logits and references to the scalar loss."""
        loss: Loss = joint_loss(
            predictions,
            batch.tokens_bl.to(self.device),
            batch.token_lengths_b.to(self.device),
            batch.decoder_target().to(self.device),
            ctc_weight=self.settings.ctc_weight,
            label_smoothing=self.settings.label_smoothing if stage == sb.Stage.TRAIN else 0.0,
            inter_ctc_weight=self.settings.inter_ctc_weight,
            cr_ctc_weight=self.settings.cr_ctc_weight,
        )
        return loss.mean

    def check_loss_isfinite(self, loss: Tensor) -> None:
        """Count losses that are not finite; their steps change nothing, and too many end the run."""
        try:
            super().check_loss_isfinite(loss)
        except ValueError as error:
            raise InputError(
                f"{self.nonfinite_count} losses of this epoch were not finite: try a lower --lr, or fp32"
            ) from error

    def on_fit_batch_start(self, batch: Batch, should_step: bool) -> None:
        """Set the learning rate of the step to come."""
        if should_step:
            _, self.last_rate = self.schedule(self.optimizer)

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Forget what the last stage decoded; key the dropout of an epoch, so that it can be had again."""
        if stage == sb.Stage.TRAIN:
            torch.manual_seed(int(keyed_rng(self.settings.seed, "dropout", epoch or 0).integers(2**31)))
        self.decoded = {}
        self.stage_start = time.perf_counter()

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Log an epoch and keep its checkpoint if it is among the best by validation WER."""
        seconds = time.perf_counter() - self.stage_start
        if stage == sb.Stage.TRAIN:
            self.train_stats = {"loss": stage_loss, "seconds": seconds}
        if stage != sb.Stage.VALID:
            return
        wer = 100 * score(self.decoded["greedy"], "valid").counts.wer
        log_epoch(
            self.settings.folder / "train_log.txt",
            {"epoch": epoch, "lr": self.last_rate, "steps": self.optimizer_step},
            train=self.train_stats,
            valid={"loss": stage_loss, "WER": wer, "seconds": seconds},
        )
        self.checkpointer.save_and_keep_only(
            meta={"WER": wer, "loss": stage_loss, "epoch": epoch},
            num_to_keep=self.settings.average_checkpoints,
            min_keys=["WER"],
        )

    def on_evaluate_start(self, max_key: str | None = None, min_key: str | None = None) -> None:
        """Test the model as it is: whoever calls has loaded the weights to test."""
