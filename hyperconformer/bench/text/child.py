"""The process of a classifier's training."""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperconformer.bench.text.found import TextFound
from hyperconformer.bench.trainings.child import answer, or_diverged
from hyperconformer.training.task import run_task
from hyperconformer.training.text import ClassificationTask
from hyperconformer.training.text_settings import classification_settings

DIGEST_DIGITS = 16


def read_predictions(path: Path) -> tuple[str, str]:
    r"""Read which texts were classified as they should be.

    Parameters
    ----------
    path : Path
        ``predictions_<split>.tsv`` of a run.

    Returns
    -------
    correct : str
        A 1 for each that was, else a 0.
    texts : str
        A sum over the texts and their labels, in their order.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "predictions_test.tsv"
    >>> head = "text\tsecond\tlabel\tpredicted\tprobability\n"
    >>> _ = path.write_text(head + "yes\t\ty\ty\t0.9\nno\t\tn\ty\t0.6\n")
    >>> read_predictions(path)[0]
    '10'
    """
    correct, texts = [], hashlib.sha256()
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            correct.append("1" if row["label"] == row["predicted"] else "0")
            texts.update(json.dumps([row["text"], row["second"], row["label"]]).encode())
    return "".join(correct), texts.hexdigest()[:DIGEST_DIGITS]


def found_of(key: str, metrics: Mapping[str, Any], folder: Path) -> TextFound:
    """Gather what a finished run is asked for.

    Parameters
    ----------
    key : str
        Of the run.
    metrics : mapping
        Of :meth:`~hyperconformer.training.text.ClassificationTask.finish`.
    folder : Path
        Of the run, with its predictions.

    Returns
    -------
    TextFound

    Examples
    --------
    >>> facts = {"commit": "c", "hardware": "h", "date": "d", "threads": "1"}
    >>> facts |= {"parameters": 7, "train_texts": 9, "train_seconds": 2.0}
    >>> found_of("k", {**facts, "texts": {"valid": {"accuracy": 50.0}}}, Path(".")).accuracy
    {'valid': 0.5}
    """
    splits = metrics["texts"]
    read = {
        split: read_predictions(path)
        for split in splits
        if (path := folder / f"predictions_{split}.tsv").is_file()
    }
    return TextFound(
        key,
        "ok",
        commit=metrics["commit"],
        hardware=metrics["hardware"],
        date=metrics["date"],
        threads=metrics["threads"],
        parameters=metrics["parameters"],
        train_texts=metrics["train_texts"],
        train_seconds=metrics["train_seconds"],
        accuracy={split: row["accuracy"] / 100 for split, row in splits.items()},
        correct={split: correct for split, (correct, _) in read.items()},
        texts={split: texts for split, (_, texts) in read.items()},
        strangers=metrics.get("strangers", {}),
    )


def train(asked: Mapping[str, Any]) -> TextFound:
    """Train as asked.

    Parameters
    ----------
    asked : mapping
        The run's ``key``, ``recipe``, ``overrides`` and ``run_options``.

    Returns
    -------
    TextFound
        A training that diverged is an answer like others.

    Raises
    ------
    InputError
        If it cannot be done.

    Examples
    --------
    >>> train({"key": "k", "recipe": "no.yaml", "overrides": {}, "run_options": {}})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'no.yaml' does not exist: see the files in hparams/
    """
    settings = classification_settings(asked["recipe"], asked["overrides"])

    def trained() -> TextFound:
        metrics = run_task(ClassificationTask, settings, asked["run_options"])
        return found_of(asked["key"], metrics, settings.folder)

    return or_diverged(trained, TextFound, asked["key"])


if __name__ == "__main__":
    answer(train)
