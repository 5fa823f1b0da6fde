"""A text classifier's folder: the same files as a recogniser's, and as safe to open."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hyperconformer.errors import check_range
from hyperconformer.hints import fits
from hyperconformer.inference.bundle import read_folder, write_folder
from hyperconformer.inference.bundle_check import CLASSIFIER_FORMAT
from hyperconformer.inference.bundle_files import printable
from hyperconformer.models.classifier import Classifier
from hyperconformer.models.config import ClassifierConfig
from hyperconformer.text import Tokenizer

MOST_LABEL_BYTES = 2**17
"""Of all labels as JSON, so that a config has room for twice that: 32 for each of the most classes."""
MOST_TEXT_TOKENS = 2**20


class LoadedClassifier(NamedTuple):
    """What is in a text classifier's folder.

    Attributes
    ----------
    model : Classifier
        In evaluation mode.
    tokenizer : Tokenizer
    labels : tuple of str
        Of the classes, in the order of the logits.
    max_text_tokens : int
        In training longer texts were cut.

    Examples
    --------
    >>> LoadedClassifier._fields
    ('model', 'tokenizer', 'labels', 'max_text_tokens')
    """

    model: Classifier
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_text_tokens: int


def check_labels(labels: Any, num_classes: int) -> tuple[str, ...]:
    """Make sure that labels can name a classifier's classes, in a file and on a terminal.

    Parameters
    ----------
    labels : object
        Of the training texts, or out of a config.
    num_classes : int

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If they are no different, printable texts, one a class, or too long.

    Examples
    --------
    >>> check_labels(["no", "yes"], 2)
    ('no', 'yes')
    >>> check_labels(["no", "no"], 2)
    Traceback (most recent call last):
        ...
    ValueError: the label 'no' stands there twice
    """
    if not fits(labels, list[str]):
        raise ValueError(f"labels must be a list of texts, got {labels!r:.40}")
    if len(labels) != num_classes:
        raise ValueError(f"there are {len(labels)} labels for {num_classes} classes")
    for label in labels:
        if not label or printable(label) != label:
            raise ValueError(f"the label {label!r:.40} is empty, or cannot be printed")
    label, times = Counter(labels).most_common(1)[0]
    if times > 1:
        raise ValueError(f"the label {label!r:.40} stands there twice")
    size = len(json.dumps(list(labels)))
    if size > MOST_LABEL_BYTES:
        raise ValueError(
            f"the labels take {size:,} bytes as JSON, more than {MOST_LABEL_BYTES:,}: shorten them"
        )
    return tuple(labels)


def save_classifier(folder: Path, loaded: LoadedClassifier, *, metrics: Mapping[str, Any], card: str) -> Path:
    """Write a text classifier's folder; the one that stood there is replaced when the new one is whole.

    Parameters
    ----------
    folder, metrics, card
        As :func:`hyperconformer.inference.bundle.save_bundle` takes them.
    loaded : LoadedClassifier
        What goes into it.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If :func:`check_labels` refuses the labels.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> config = ClassifierConfig(
    ...     output_neurons=12, num_classes=2, d_model=8, nhead=2, d_ffn=16, num_layers=1
    ... )
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     words = train_tokenizer(["ONE TWO"], Path(scratch) / "t.model", output_neurons=12)
    ...     folder = Path(scratch) / "model"
    ...     parts = LoadedClassifier(Classifier(config), words, ("no", "yes"), 50)
    ...     _ = save_classifier(folder, parts, metrics={}, card="# A model")
    ...     load_classifier(folder).labels
    ('no', 'yes')
    """
    labels = check_labels(list(loaded.labels), loaded.model.config.num_classes)
    config = {
        "format": CLASSIFIER_FORMAT,
        "labels": list(labels),
        "max_text_tokens": loaded.max_text_tokens,
        "model": loaded.model.config.to_dict(),
    }
    return write_folder(folder, config, loaded.model, loaded.tokenizer, metrics=metrics, card=card)


def load_classifier(folder: Path, device: str | torch.device = "cpu") -> LoadedClassifier:
    """Open a text classifier's folder; nothing in it is ever run.

    Parameters
    ----------
    folder : Path
        What :func:`save_classifier` wrote.
    device : str or device
        Where the model goes.

    Returns
    -------
    LoadedClassifier

    Raises
    ------
    InputError
        As :func:`hyperconformer.inference.bundle.load_bundle`, or if the labels are not those of its classes.

    Examples
    --------
    >>> load_classifier(Path("no/such/model"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    found: list[tuple[tuple[str, ...], int]] = []

    def build(config: Mapping[str, Any]) -> Classifier:
        sizes = ClassifierConfig.from_dict(config.get("model"))
        longest = config.get("max_text_tokens")
        if not isinstance(longest, int) or isinstance(longest, bool):
            raise ValueError(f"max_text_tokens must be a whole number, got {longest!r:.40}")
        check_range("max_text_tokens", longest, 1, MOST_TEXT_TOKENS)
        found.append((check_labels(config.get("labels"), sizes.num_classes), longest))
        return Classifier(sizes)

    model, tokenizer = read_folder(folder, CLASSIFIER_FORMAT, build, device)
    return LoadedClassifier(model, tokenizer, *found[0])
