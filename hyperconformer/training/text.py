"""Training a text classifier: from a recipe to a folder that tells classes."""

from collections.abc import Sequence
from typing import Any

from hyperconformer.class_scores import (
    class_metrics,
    judge,
    stranger_metrics,
    stranger_report,
    write_predictions,
)
from hyperconformer.data.labelled import LabelledText
from hyperconformer.data.text_batches import EncodedTexts, LabelledBatch
from hyperconformer.data.token_batches import TokenLoader
from hyperconformer.errors import InputError
from hyperconformer.inference.classifier_bundle import LoadedClassifier, save_classifier
from hyperconformer.models.classifier import Classifier
from hyperconformer.provenance import environment
from hyperconformer.training import distributed
from hyperconformer.training.experiment import open_folder, record_settings
from hyperconformer.training.setup import token_loader
from hyperconformer.training.task import Task
from hyperconformer.training.text_brain import ClassificationBrain, Verdict
from hyperconformer.training.text_data import ClassificationData, prepare_classification
from hyperconformer.training.text_report import closing_table, model_card
from hyperconformer.training.text_settings import ClassificationSettings

Metrics = dict[str, Any]


class ClassificationTask(Task[ClassificationSettings, Classifier, ClassificationData, ClassificationBrain]):
    """Train by cross-entropy on labelled texts, validate and test by accuracy.

    Examples
    --------
    >>> ClassificationTask.settings_type.__name__
    'ClassificationSettings'
    """

    settings_type = ClassificationSettings

    def make_model(self) -> Classifier:
        """Build the classifier."""
        if "record" in self.run_options:
            raise InputError(
                "--record keeps word error rates: a classifier's accuracies are in metrics.json, and "
                "`hyperconformer bench text --record` compares mixers"
            )
        try:
            return Classifier(self.settings.model)
        except ValueError as error:
            raise InputError(str(error)) from error

    def prepare(self) -> ClassificationData:
        """Read and encode the texts."""
        open_folder(self.settings)
        data = prepare_classification(self.settings, debug=self.debug)
        record_settings(self.settings)
        return data

    def make_brain(self, model: Classifier, data: ClassificationData) -> ClassificationBrain:
        """Bring the classifier to its device."""
        brain = ClassificationBrain(model, self.settings, self.run_options)
        brain.data_key = data.train.key
        if self.run_options.get("compile", False):
            model.compile(dynamic=True)
        return brain

    def train_loader(self, data: ClassificationData) -> TokenLoader[LabelledBatch]:
        """Batches in a new order every epoch."""
        return self._loader(data.train, shuffle=True)

    def valid_loader(self, data: ClassificationData) -> TokenLoader[LabelledBatch]:
        """The validation texts from long to short."""
        return self._loader(data.valid, shuffle=False)

    def _loader(self, texts: EncodedTexts, *, shuffle: bool) -> TokenLoader[LabelledBatch]:
        most = self.settings.max_batch_tokens
        return token_loader(texts, texts.lengths, self.settings, max_batch_tokens=most, shuffle=shuffle)

    def finish(self, brain: ClassificationBrain, data: ClassificationData) -> Metrics:
        """Judge the validation texts, every test and the texts of no class; write reports and the folder."""
        verdicts = {name: self._verdicts(brain, encoded) for name, (_, encoded) in data.judged.items()}
        strange = {name: self._verdicts(brain, encoded) for name, encoded in data.strangers.items()}
        if not distributed.is_main():
            return {}
        results = {
            name: {**self._report(name, texts, verdicts[name], data.labels), "cut": encoded.cut}
            for name, (texts, encoded) in data.judged.items()
        }
        # The first test is of the classes that the strangers are not of.
        known = verdicts[next(iter(data.tests), "valid")]
        strangers = {
            name: stranger_metrics(
                stranger_report(_sureness(known), _sureness(found), valid=_sureness(verdicts["valid"]))
            )
            for name, found in strange.items()
        }
        metrics = self._metrics(brain, data) | {"texts": results, "strangers": strangers}
        save_classifier(
            self.settings.folder / "model",
            LoadedClassifier(brain.model, data.tokenizer, data.labels, self.settings.max_text_tokens),
            metrics=metrics,
            card=model_card(metrics),
        )
        print(closing_table(metrics))
        return metrics

    def _verdicts(self, brain: ClassificationBrain, texts: EncodedTexts) -> list[Verdict]:
        brain.evaluate(self._loader(texts, shuffle=False))
        return brain.verdicts

    def _report(
        self, name: str, texts: Sequence[LabelledText], verdicts: Sequence[Verdict], labels: Sequence[str]
    ) -> dict[str, float]:
        """Judge a split; write its report, and its predictions for programs."""
        folder = self.settings.folder
        report = judge(name, [one.label for one in verdicts], [one.predicted for one in verdicts], labels)
        (folder / f"accuracy_{name}.txt").write_text("\n".join([*report.lines(), ""]), encoding="utf-8")
        rows = [
            {
                "text": texts[one.number].text,
                "second": texts[one.number].second,
                "label": labels[one.label],
                "predicted": labels[one.predicted],
                "probability": one.probability,
            }
            for one in verdicts
        ]
        write_predictions(folder / f"predictions_{name}.tsv", rows)
        return class_metrics(report)

    def _metrics(self, brain: ClassificationBrain, data: ClassificationData) -> Metrics:
        settings = self.settings
        return {
            "name": settings.name,
            "seed": settings.seed,
            **environment(),
            "mixer": settings.model.mixer,
            "parameters": sum(parameter.numel() for parameter in brain.model.parameters()),
            "tokens": data.tokenizer.size,
            "output_neurons": settings.model.output_neurons,
            "classes": len(data.labels),
            "pairs": settings.model.texts == 2,
            "corpus": settings.corpus,
            "train_texts": len(data.train),
            "train_share": settings.train_share,
            "epochs": settings.number_of_epochs,
            "train_seconds": brain.progress.total_seconds,
        }


def _sureness(verdicts: Sequence[Verdict]) -> list[float]:
    return [verdict.probability for verdict in verdicts]
