"""Texts to classes: what opens a text classifier's folder, and asks it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hyperconformer.data.labelled import LabelledText, check_characters
from hyperconformer.data.text_batches import EncodedTexts, LabelledBatch, encode_texts
from hyperconformer.data.token_batches import TokenSampler
from hyperconformer.device import check_device
from hyperconformer.errors import InputError
from hyperconformer.inference.classifier_bundle import LoadedClassifier, load_classifier
from hyperconformer.models.classifier import Texts
from hyperconformer.models.config import ClassifierConfig

MAX_BATCH_TOKENS = 10_000
_NO_LABEL = ""

Given = str | tuple[str, str]


@dataclass(frozen=True)
class Classification:
    """What a text was taken for.

    Attributes
    ----------
    label : str
        The likeliest class.
    probability : float
        Its probability, as the model has it.
    ranking : tuple of (str, float)
        All classes with theirs, the likeliest first.

    Examples
    --------
    >>> Classification("yes", 0.9, (("yes", 0.9), ("no", 0.1))).label
    'yes'
    """

    label: str
    probability: float
    ranking: tuple[tuple[str, float], ...]


def check_room(config: ClassifierConfig, texts: EncodedTexts) -> None:
    """Refuse texts that are longer than a mixer with a weight for every position can take.

    Parameters
    ----------
    config : ClassifierConfig
    texts : EncodedTexts

    Raises
    ------
    InputError
        If one is.

    Examples
    --------
    >>> import numpy as np
    >>> config = ClassifierConfig(
    ...     output_neurons=30, num_classes=2, mixer="mlp", mixer_options={"max_frames": 2}
    ... )
    >>> check_room(config, EncodedTexts([np.array([5, 6, 7], dtype=np.int32)], [], np.array([0])))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: a text, or pair, has 3 tokens, and this mlp was made for 2: train it \
with mixer_options {max_frames: 3}, or shorten the text
    """
    most, longest = config.mixer_options.get("max_frames", math.inf), int(texts.lengths.max(initial=0))
    if longest > most:
        raise InputError(
            f"a text, or pair, has {longest} tokens, and this {config.mixer} was made for {most}: train it "
            f"with mixer_options {{max_frames: {longest}}}, or shorten the text"
        )


def batch_texts(batch: LabelledBatch) -> tuple[Texts, Texts | None]:
    """Take from a batch what a classifier is given.

    Parameters
    ----------
    batch : LabelledBatch

    Returns
    -------
    Texts
    Texts or None
        The others of pairs.

    Examples
    --------
    >>> import numpy as np
    >>> texts = EncodedTexts([np.array([5, 6], dtype=np.int32)], [], np.array([0]))
    >>> batch_texts(texts[np.array([0])])
    (Texts(tokens_bl=tensor([[5, 6]]), lengths_b=tensor([2])), None)
    """
    second = None
    if batch.second_bl is not None and batch.second_lengths_b is not None:
        second = Texts(batch.second_bl, batch.second_lengths_b)
    return Texts(batch.tokens_bl, batch.lengths_b), second


class TextClassifier:
    """A trained classifier, ready for texts.

    Parameters
    ----------
    loaded : LoadedClassifier
    device : str
        Where its model is.

    Examples
    --------
    >>> TextClassifier.load("no/such/model")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """

    def __init__(self, loaded: LoadedClassifier, device: str = "cpu") -> None:
        self.model, self.tokenizer, self.labels, self.max_text_tokens = loaded
        self.device = device

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> "TextClassifier":
        """Open a model folder.

        Parameters
        ----------
        folder : str or Path
            The ``model`` folder that training wrote.
        device : str
            ``cpu``, ``cuda`` or ``cuda:1``.

        Returns
        -------
        TextClassifier

        Raises
        ------
        InputError
            If the folder cannot be used, or the device is not there.

        Examples
        --------
        >>> TextClassifier.load("no/such/model", device="toaster")
        Traceback (most recent call last):
            ...
        hyperconformer.errors.InputError: ...
        """
        check_device(device)
        return cls(load_classifier(Path(folder), device), device)

    def classify(self, texts: Sequence[Given]) -> list[Classification]:
        """Find the classes of texts, each for itself: company in a batch changes nothing.

        Parameters
        ----------
        texts : sequence of str or (str, str)
            Single texts, or pairs, as the classifier was trained. What is longer than its training's
            ``max_text_tokens`` is cut, as it was there.

        Returns
        -------
        list of Classification
            In the same order.

        Raises
        ------
        InputError
            If a text has no words, a pair is given for a single text or the other way round, something is
            neither, or a text is longer than the model's mixer can take.
        """
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise InputError(f"texts must be a list of them, got {texts!r:.60}: put one into a list")
        given = [self.as_given(text, f"text {number}") for number, text in enumerate(texts, start=1)]
        encoded = encode_texts(given, self.tokenizer, (_NO_LABEL,), longest=self.max_text_tokens)
        check_room(self.model.config, encoded)
        found: dict[int, Classification] = {}
        for batch in self._batches(encoded):
            with torch.inference_mode():
                probability_bc = self.model(*batch_texts(batch.to(self.device))).softmax(dim=1)
            ranked = probability_bc.cpu().sort(dim=1, descending=True, stable=True)
            for number, order, values in zip(
                batch.numbers.tolist(), ranked.indices.tolist(), ranked.values.tolist(), strict=True
            ):
                ranking = tuple(zip((self.labels[place] for place in order), values, strict=True))
                found[number] = Classification(*ranking[0], ranking)
        return [found[number] for number in range(len(given))]

    def as_given(self, text: Any, where: str) -> LabelledText:
        """Make sure that something is a text, or a pair, of the kind that the classifier was trained on.

        Parameters
        ----------
        text : object
        where : str
            What an error calls it.

        Returns
        -------
        LabelledText
            Without a label.

        Raises
        ------
        InputError
            If it is something else, has no words, or has half a character.
        """
        is_pair = isinstance(text, tuple | list) and len(text) == 2
        parts = text if is_pair else [text]
        if not all(isinstance(part, str) for part in parts):
            raise InputError(f"{where} is {text!r:.60}: give a text, or a pair of two")
        if len(parts) != self.model.config.texts:
            got = "a pair" if is_pair else "one text"
            wanted = "single texts" if is_pair else "pairs of texts"
            raise InputError(f"{where} is {got}: this classifier was trained on {wanted}")
        for part in parts:
            if not part.split():
                raise InputError(f"{where} has no words: leave it out")
            check_characters(part, where)
        return LabelledText(parts[0], _NO_LABEL, *parts[1:])

    @staticmethod
    def _batches(encoded: EncodedTexts) -> Iterator[LabelledBatch]:
        if len(encoded):
            sampler = TokenSampler(encoded.lengths, max_batch_tokens=MAX_BATCH_TOKENS, shuffle=False)
            yield from (encoded[numbers] for numbers in sampler)
