"""Training a recogniser: from a recipe to a model that is tested and ready to transcribe."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from hyperconformer.data.pipeline import Loader
from hyperconformer.decoding.searches import Models, make_search
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.inference.language_model_bundle import load_partner
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.training import distributed
from hyperconformer.training.brain import ASRBrain
from hyperconformer.training.corpus import Splits, make_tokenizer, prepare_splits, trainable
from hyperconformer.training.experiment import open_folder, record_settings, trained_with
from hyperconformer.training.fitting import CPU_HAS_NO_AUTO, fit_batch_seconds
from hyperconformer.training.report import model_card, run_metrics
from hyperconformer.training.settings import AUTO, Settings
from hyperconformer.training.setup import (
    compile_model,
    make_model,
    measure_features,
    plain_loader,
    training_loader,
)
from hyperconformer.training.task import Task
from hyperconformer.wer_tables import closing_table, report_split

DEBUG_UTTERANCES = 16


@dataclass(frozen=True)
class Speech:
    """The data of a run.

    Attributes
    ----------
    splits : Splits
        Their training part without what cannot be learnt from.
    tokenizer : Tokenizer

    Examples
    --------
    >>> print(Speech(Splits([], [], {}), None))
    train: 0 utterances, 0.00 h, 0 speakers
    valid: 0 utterances, 0.00 h, 0 speakers
    """

    splits: Splits
    tokenizer: Tokenizer

    @property
    def key(self) -> str:
        """Stands for the training utterances, their lengths, words and tokens."""
        digest = hashlib.sha256(self.tokenizer.model_bytes)
        for utterance in self.splits.train:
            digest.update(f"{utterance.id} {utterance.seconds!r} {utterance.words}\n".encode())
        return digest.hexdigest()

    def __str__(self) -> str:
        """A line a split."""
        return str(self.splits)


def as_before(settings: Settings) -> Settings:
    """Take the batch size that a run to be continued found for itself, where it is to be found again.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Settings

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> settings = load_settings("hparams/mini.yaml", {"max_batch_length": "auto", "output_folder": "/none"})
    >>> as_before(settings).max_batch_length
    'auto'
    """
    before = trained_with(settings)
    if settings.max_batch_length != AUTO or not before:
        return settings
    return replace(settings, max_batch_length=before["max_batch_length"])


class ASRTask(Task[Settings, ASR, Speech, ASRBrain]):
    """Train with the joint CTC/attention loss, validate by greedy WER, test with the recipe's searches.

    Examples
    --------
    >>> ASRTask.settings_type.__name__
    'Settings'
    """

    settings_type = Settings
    brain_type: ClassVar[type[ASRBrain]] = ASRBrain

    def make_model(self) -> ASR:
        """Build the recogniser."""
        if self.settings.max_batch_length == AUTO and self.run_options["device"] == "cpu":
            raise InputError(CPU_HAS_NO_AUTO)
        return make_model(self.settings)

    def prepare(self) -> Speech:
        """Find or make the corpus, its manifests and its tokens."""
        self.settings = settings = as_before(self.settings)
        splits = prepare_splits(settings, self.hparams_file, progress=self.progress)
        open_folder(settings)
        tokenizer = make_tokenizer(settings, splits.train)
        if self.debug:
            splits = splits.shortest(DEBUG_UTTERANCES)
        return Speech(
            Splits(trainable(splits.train, tokenizer, settings), splits.valid, splits.tests), tokenizer
        )

    def make_brain(self, model: ASR, data: Speech) -> ASRBrain:
        """Bring the recogniser to its device, and find how much it can take at a time if that was asked."""
        brain = self.brain_type(model, data.tokenizer, self.settings, self.run_options)
        if self.settings.max_batch_length == AUTO:
            longest = max(utterance.seconds for utterance in data.splits.train)
            seconds = fit_batch_seconds(brain, longest)
            brain.settings = self.settings = replace(self.settings, max_batch_length=seconds)
        brain.data_key = data.key
        if not brain.test_only:
            record_settings(self.settings)
        if self.run_options.get("compile", False):
            compile_model(model)
        return brain

    def start(self, brain: ASRBrain, data: Speech) -> None:
        """Measure the features that a new model normalises by."""
        measure_features(brain.model, data.splits.train, data.tokenizer, self.settings)

    def train_loader(self, data: Speech) -> Loader:
        """Augmented batches, in a new order every epoch."""
        return training_loader(data.splits.train, data.tokenizer, self.settings)

    def valid_loader(self, data: Speech) -> Loader:
        """The validation set as it was recorded."""
        return plain_loader(data.splits.valid, data.tokenizer, self.settings)

    def finish(self, brain: ASRBrain, data: Speech) -> dict[str, Any]:
        """Test every split with every search; write reports and bundle."""
        settings, tokenizer = self.settings, data.tokenizer
        folder = settings.language_model
        partner = None if folder is None else load_partner(Path(folder), tokenizer, brain.device)
        models = Models(brain.model, partner, tokenizer)
        brain.searches = {name: make_search(name, models, settings.search) for name in settings.decode}
        results = {}
        for split, utterances in data.splits.tests.items():
            brain.evaluate(plain_loader(utterances, tokenizer, settings))
            if distributed.is_main():
                results[split] = report_split(split, brain.decoded, settings.folder)
        if not distributed.is_main():
            return {}
        metrics = run_metrics(
            settings,
            brain.model,
            tokenizer.size,
            results,
            train_hours=brain.progress.total_seconds / 3600,
            audio_hours=sum(utterance.seconds for utterance in data.splits.train) / 3600,
        )
        save_bundle(
            settings.folder / "model", brain.model, tokenizer, metrics=metrics, card=model_card(metrics)
        )
        print(closing_table(results))
        return metrics
