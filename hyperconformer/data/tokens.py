"""A text as tokens in a file, and batches of them: what a language model learns from.

A text of any size is read once. Its tokens lie in a file that is mapped, not read, so that any sentence of
any epoch is at hand; the order of an epoch is a pure function of (seed, epoch).
"""

import hashlib
import json
import logging
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hyperconformer.constants import BLANK
from hyperconformer.errors import InputError
from hyperconformer.text import Tokenizer

logger = logging.getLogger(__name__)

TOKENS, BOUNDS, WORDS, FACTS = "tokens.int32", "bounds.int64", "words.int32", "facts.json"
TOGETHER = 2**14
"""Sentences that are encoded together."""


@dataclass(frozen=True)
class TokenFacts:
    """What a text came to.

    Attributes
    ----------
    sentences, words, tokens : int
        Of the sentences that were kept; tokens without begin and end.
    long, strange : int
        Sentences left out: longer than the limit, or with characters that the tokenizer does not know.
    example : str
        The first strange one.

    Examples
    --------
    >>> print(TokenFacts(sentences=2, words=5, tokens=9, long=0, strange=0, example=""))
    2 sentences, 5 words, 9 tokens
    """

    sentences: int
    words: int
    tokens: int
    long: int
    strange: int
    example: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.sentences} sentences, {self.words} words, {self.tokens} tokens"


class TokenText(Dataset["TokenBatch"]):
    """The sentences of a text as tokens, mapped from a folder; asked for batches, by arrays of numbers.

    Parameters
    ----------
    folder : Path
        What :func:`write_tokens` wrote.

    Attributes
    ----------
    facts : TokenFacts
    lengths : array, shape (N,), int64
        Tokens of each sentence, without begin and end.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "t.model"
    ...     tokenizer = train_tokenizer(["A B"], path, output_neurons=6, model_type="char")
    ...     text = write_tokens(["A", "B A"], tokenizer, Path(folder) / "text")
    ...     text[np.array([1, 0])].tokens_bl
    tensor([[3, 5, 3, 4],
            [3, 4, 0, 0]])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = TokenFacts(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
        self._tokens = np.memmap(folder / TOKENS, dtype=np.int32, mode="r")
        self._bounds: npt.NDArray[np.int64] = np.fromfile(folder / BOUNDS, dtype=np.int64)
        self._words: npt.NDArray[np.int32] = np.fromfile(folder / WORDS, dtype=np.int32)
        self.lengths = np.diff(self._bounds)

    @property
    def key(self) -> str:
        """Stands for the tokens and where sentences end."""
        digest = hashlib.sha256()
        for name in (TOKENS, BOUNDS):
            with (self.folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def __reduce__(self) -> tuple[type["TokenText"], tuple[Path]]:
        """Pickle the place: every reading process maps the file for itself."""
        return TokenText, (self.folder,)

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.lengths)

    def __getitem__(self, numbers: npt.NDArray[np.int64]) -> "TokenBatch":
        """Pad the sentences with these numbers to a batch."""
        lengths = self.lengths[numbers]
        tokens = np.full((len(numbers), int(lengths.max(initial=0))), BLANK, dtype=np.int64)
        for row, number in enumerate(numbers):
            tokens[row, : lengths[row]] = self._tokens[self._bounds[number] : self._bounds[number + 1]]
        words = int(self._words[numbers].sum())
        return TokenBatch(numbers, words, torch.from_numpy(tokens), torch.from_numpy(lengths))


@dataclass(frozen=True)
class TokenBatch:
    """Padded sentences, without begin and end.

    Attributes
    ----------
    numbers : array, shape (B,), int64
        Of the sentences among those that were kept, from 0.
    words : int
        In all of them together.
    tokens_bl : Tensor, shape (B, L), long
        Zero beyond each sentence.
    lengths_b : Tensor, shape (B,), long

    Examples
    --------
    >>> batch = TokenBatch(np.array([7]), 1, torch.tensor([[5, 6]]), torch.tensor([2])).to("cpu")
    >>> batch.names, batch.lengths_b
    (('sentence 8',), tensor([2]))
    """

    numbers: npt.NDArray[np.int64]
    words: int
    tokens_bl: Tensor
    lengths_b: Tensor

    # What a step of training asks of a batch beside its tensors: text cannot be unreadable, and has no sound.
    faults: ClassVar[tuple[str, ...]] = ()
    audio_seconds: ClassVar[float] = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """What a warning calls the sentences, counted from 1."""
        return tuple(f"sentence {number + 1}" for number in self.numbers)

    def to(self, device: str | torch.device) -> "TokenBatch":
        """Move the tensors."""
        tensors = (tensor.to(device, non_blocking=True) for tensor in (self.tokens_bl, self.lengths_b))
        return TokenBatch(self.numbers, self.words, *tensors)

    def pin_memory(self) -> "TokenBatch":
        """Pin the tokens, so that the copy to a GPU overlaps with its work."""
        return replace(self, tokens_bl=self.tokens_bl.pin_memory())


def write_tokens(
    sentences: Iterable[str], tokenizer: Tokenizer, folder: Path, *, longest: int | None = None
) -> TokenText:
    """Encode a text into a folder.

    Parameters
    ----------
    sentences : iterable of str
        Words separated by single spaces.
    tokenizer : Tokenizer
    folder : Path
        Gets four bytes a token and twelve a sentence; what it held is replaced.
    longest : int or None
        Most tokens of a sentence; longer ones are left out. None keeps all.

    Returns
    -------
    TokenText

    Raises
    ------
    InputError
        If no sentence is left, or the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "t.model"
    ...     tokenizer = train_tokenizer(["A B"], path, output_neurons=6, model_type="char")
    ...     print(write_tokens(["A", "B A", "C"], tokenizer, Path(folder) / "text").facts)
    2 sentences, 3 words, 6 tokens
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FACTS).unlink(missing_ok=True)
        facts = _write(sentences, tokenizer, folder, longest)
        _check(facts)
        # Written last: a folder that has it is whole.
        (folder / FACTS).write_text(json.dumps(asdict(facts)), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"tokens cannot be written to '{folder}' ({reason}): choose another output_folder"
        ) from error
    return TokenText(folder)


def _write(sentences: Iterable[str], tokenizer: Tokenizer, folder: Path, longest: int | None) -> TokenFacts:
    bounds, words = array("q", [0]), array("i")
    long, strange, example = 0, 0, ""
    remaining = iter(sentences)
    with (folder / TOKENS).open("wb") as file:
        while some := list(islice(remaining, TOGETHER)):
            kept: list[int] = []
            for sentence, tokens in zip(some, tokenizer.encode_all(some), strict=True):
                if BLANK in tokens:
                    strange, example = strange + 1, example or sentence
                elif longest is not None and len(tokens) > longest:
                    long += 1
                else:
                    kept += tokens
                    bounds.append(bounds[-1] + len(tokens))
                    words.append(sentence.count(" ") + 1)
            np.array(kept, dtype=np.int32).tofile(file)
    np.array(bounds, dtype=np.int64).tofile(folder / BOUNDS)
    np.array(words, dtype=np.int32).tofile(folder / WORDS)
    return TokenFacts(len(words), sum(words), bounds[-1], long, strange, example)


def _check(facts: TokenFacts) -> None:
    """Say what was left out, and stop if that is all."""
    if facts.strange:
        logger.warning(
            "Left out %d sentences with characters that the tokenizer does not know, e.g. %r",
            facts.strange,
            facts.example[:60],
        )
    if facts.long:
        logger.warning("Left out %d sentences longer than max_sentence_tokens", facts.long)
    if not facts.sentences:
        reason = (
            f"unknown to the tokenizer is {facts.example[:60]!r}" if facts.strange else "all are too long"
        )
        raise InputError(f"no sentence of the text can be used ({reason}): give another text or tokenizer")
