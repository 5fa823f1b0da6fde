"""Labelled texts as tokens, and batches of them: what a classifier learns from."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hyperconformer.constants import BLANK
from hyperconformer.data.labelled import LabelledText
from hyperconformer.errors import InputError
from hyperconformer.text import Tokenizer

logger = logging.getLogger(__name__)

TOGETHER = 2**14
"""Texts that are encoded together."""

Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True)
class LabelledBatch:
    """Padded texts, or pairs of them, and their classes.

    Attributes
    ----------
    numbers : array, shape (B,), int64
        Of the texts in their split, from 0.
    tokens_bl : Tensor, shape (B, L), long
        Zero beyond each text.
    lengths_b : Tensor, shape (B,), long
    second_bl : Tensor, shape (B, M), long, or None
        The other text of each pair, likewise.
    second_lengths_b : Tensor, shape (B,), long, or None
    labels_b : Tensor, shape (B,), long

    Examples
    --------
    >>> tokens_bl, ones_b = torch.tensor([[5, 6]]), torch.tensor([1])
    >>> batch = LabelledBatch(np.array([7]), tokens_bl, torch.tensor([2]), None, None, ones_b).to("cpu")
    >>> batch.names, batch.lengths_b, batch.second_bl
    (('text 8',), tensor([2]), None)
    """

    numbers: npt.NDArray[np.int64]
    tokens_bl: Tensor
    lengths_b: Tensor
    second_bl: Tensor | None
    second_lengths_b: Tensor | None
    labels_b: Tensor

    # What a step of training asks of a batch beside its tensors: text cannot be unreadable, and has no sound.
    faults: ClassVar[tuple[str, ...]] = ()
    audio_seconds: ClassVar[float] = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """What a warning calls the texts, counted from 1."""
        return tuple(f"text {number + 1}" for number in self.numbers)

    def to(self, device: str | torch.device) -> "LabelledBatch":
        """Move the tensors."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "LabelledBatch":
        """Pin the tensors, so that the copy to a GPU overlaps with its work."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "LabelledBatch":
        return replace(
            self,
            tokens_bl=change(self.tokens_bl),
            lengths_b=change(self.lengths_b),
            second_bl=None if self.second_bl is None else change(self.second_bl),
            second_lengths_b=None if self.second_lengths_b is None else change(self.second_lengths_b),
            labels_b=change(self.labels_b),
        )


@dataclass(eq=False)
class EncodedTexts(Dataset[LabelledBatch]):
    """A split's texts as tokens; asked for batches, by arrays of numbers.

    Attributes
    ----------
    tokens : sequence of array, int32
        Of each text, one or more.
    second : sequence of array, int32
        Of the other text of each pair; empty where texts are single.
    labels : array, shape (N,), int64
        Classes.
    cut : int
        Texts, or pairs, that were longer than allowed.
    lengths : array, shape (N,), int64
        Tokens of each text; of a pair those of both, and the symbol between them.

    Examples
    --------
    >>> rows = [np.array([5, 6], dtype=np.int32), np.array([7], dtype=np.int32)]
    >>> texts = EncodedTexts(rows, [], np.array([0, 1]))
    >>> texts[np.array([1, 0])].tokens_bl
    tensor([[7, 0],
            [5, 6]])
    >>> EncodedTexts(rows, rows[::-1], np.array([0, 1])).lengths
    array([4, 4])
    >>> from hyperconformer.data.token_batches import TokenLoader, TokenSampler
    >>> loader = TokenLoader(texts, TokenSampler(texts.lengths, max_batch_tokens=2, shuffle=False))
    >>> [batch.labels_b.tolist() for batch in loader]
    [[0], [1]]
    """

    tokens: Sequence[Tokens]
    second: Sequence[Tokens]
    labels: npt.NDArray[np.int64]
    cut: int = 0
    lengths: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Count the tokens."""
        self.lengths = _lengths(self.tokens)
        if self.second:
            self.lengths += 1 + _lengths(self.second)

    @property
    def key(self) -> str:
        """Stands for the tokens, where texts end, and the classes."""
        digest = hashlib.sha256()
        for rows in (self.tokens, self.second):
            digest.update(_lengths(rows).tobytes())
            for row in rows:
                digest.update(row.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        """Number of texts, or pairs."""
        return len(self.tokens)

    def __getitem__(self, numbers: npt.NDArray[np.int64]) -> LabelledBatch:
        """Pad the texts with these numbers to a batch."""
        labels_b = torch.from_numpy(self.labels[numbers])
        second_bl, lengths_b = _padded([self.second[n] for n in numbers]) if self.second else (None, None)
        return LabelledBatch(
            numbers, *_padded([self.tokens[n] for n in numbers]), second_bl, lengths_b, labels_b
        )


def _lengths(rows: Sequence[Tokens]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))


def _padded(rows: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    lengths = _lengths(rows)
    tokens = np.full((len(rows), int(lengths.max(initial=0))), BLANK, dtype=np.int64)
    for padded, row in zip(tokens, rows, strict=True):
        padded[: len(row)] = row
    return torch.from_numpy(tokens), torch.from_numpy(lengths)


def encode_texts(
    texts: Sequence[LabelledText], tokenizer: Tokenizer, labels: Sequence[str], *, longest: int
) -> EncodedTexts:
    """Turn texts into tokens, and their classes into numbers.

    Characters that the tokenizer does not know become token 0, unknown, which stands for nothing else here.

    Parameters
    ----------
    texts : sequence of LabelledText
        All single, or all pairs.
    tokenizer : Tokenizer
    labels : sequence of str
        A label's place is its number. Texts of no class are given their own, for instance ``("oos",)``.
    longest : int
        Most tokens of a text, each of a pair for itself; what is behind is cut off.

    Returns
    -------
    EncodedTexts

    Raises
    ------
    InputError
        If a label is not among ``labels``, or a text has no words; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "t.model"
    ...     tokenizer = train_tokenizer(["A B"], path, output_neurons=6, model_type="char")
    >>> texts = encode_texts([LabelledText("B?", "y"), LabelledText("A", "n")], tokenizer, "ny", longest=9)
    >>> [row.tolist() for row in texts.tokens], texts.labels
    ([[3, 5, 0], [3, 4]], array([1, 0]))
    """
    numbers = _label_numbers(texts, labels)
    pairs = any(one.second for one in texts)
    tokens = _encoded([one.text for one in texts], tokenizer)
    second = _encoded([one.second for one in texts], tokenizer) if pairs else []
    for rows in (tokens, second):
        bad = next((number for number, row in enumerate(rows) if not len(row)), None)
        if bad is not None:
            one = texts[bad]
            what = f"a part of the pair {(one.text[:60], one.second[:60])}" if pairs else "it"
            raise InputError(f"text {bad + 1}, of the label {one.label!r}: {what} has no words: take it out")
    both = zip(tokens, second, strict=True) if pairs else zip(tokens, strict=True)
    cut = sum(max(map(len, rows)) > longest for rows in both)
    if cut:
        logger.warning("Cut %d of %d texts off behind %d tokens: max_text_tokens", cut, len(texts), longest)
    return EncodedTexts([row[:longest] for row in tokens], [row[:longest] for row in second], numbers, cut)


def _label_numbers(texts: Sequence[LabelledText], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    places = {label: place for place, label in enumerate(labels)}
    for number, one in enumerate(texts, start=1):
        if one.label not in places:
            raise InputError(
                f"text {number}, {one.text[:60]!r}, has the label {one.label!r}, which is none of the "
                f"{len(labels)} that are learnt: correct it, or add training texts with it"
            )
    return np.array([places[one.label] for one in texts], dtype=np.int64)


def _encoded(texts: Sequence[str], tokenizer: Tokenizer) -> list[Tokens]:
    encoded: list[Tokens] = []
    for low in range(0, len(texts), TOGETHER):
        some = [" ".join(text.split()) for text in texts[low : low + TOGETHER]]
        encoded += [np.array(tokens, dtype=np.int32) for tokens in tokenizer.encode_all(some)]
    return encoded
