"""An n-gram model that answers word by word: a trie in flat arrays, read from the disk as they are needed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hyperconformer.errors import InputError
from hyperconformer.ngram.signs import BEGIN_WORD, END_WORD, UNKNOWN

NATS = math.log(10)
"""A decimal logarithm times this is a natural one."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer]

CHUNK = 2**24
"""N-grams that are linked together."""


class Entries(NamedTuple):
    """The n-grams of one order, as :meth:`NGram.build` takes them.

    Attributes
    ----------
    parents : array, shape (N,), int64
        Number of each one's first n - 1 words among the n-grams one shorter; zeros for single words.
    words : array, shape (N,), int32
        Its last word's id. Parents ascend, and so do the words of one parent.
    logs, backoffs : array, shape (N,), float32
        Decimal logarithms of its probability, and of the weight of shorter contexts behind it.

    Examples
    --------
    >>> Entries._fields
    ('parents', 'words', 'logs', 'backoffs')
    """

    parents: Integers
    words: npt.NDArray[np.int32]
    logs: Floats
    backoffs: Floats


@dataclass(frozen=True)
class Perplexity:
    """How well a model foresees a text.

    Attributes
    ----------
    sentences, words, unknown : int
        Counted without the end of a sentence, which the model foretells as well.
    nats : float
        Negative log-probability of everything, unknown words included.
    unknown_nats : float
        The share of unknown words in it.

    Examples
    --------
    >>> print(Perplexity(sentences=1, words=1, unknown=0, nats=2 * math.log(8), unknown_nats=0.0))
    1 sentences, 1 words, 0 unknown (0.00 %), perplexity 8.0, without unknown words 8.0
    """

    sentences: int
    words: int
    unknown: int
    nats: float
    unknown_nats: float

    @property
    def perplexity(self) -> float:
        """Of a word or end, unknown words included."""
        return math.exp(self.nats / (self.words + self.sentences))

    def __str__(self) -> str:
        """A line."""
        known = self.words + self.sentences - self.unknown
        without = math.exp((self.nats - self.unknown_nats) / known)
        return (
            f"{self.sentences} sentences, {self.words} words, {self.unknown} unknown "
            f"({100 * self.unknown / max(1, self.words):.2f} %), perplexity {self.perplexity:.1f}, "
            f"without unknown words {without:.1f}"
        )


class NGram:
    """A back-off model: the probability of the longest n-gram it knows, times what shorter contexts weigh.

    Every n-gram is a node; node 0 is the empty one, the words follow, then order by order, each order sorted
    by its first words. A search's state is the node of the longest context that can still matter.

    Parameters
    ----------
    words : sequence of str
        By id; the signs of unknown, begin and end come first.
    order : int
    word : array, shape (N,), int32
        Last word of each node.
    log : array, shape (N,), float32
        Decimal logarithm of its probability.
    suffix : array, shape (N,), int32 or int64
        The node of its longest proper suffix.
    backoff : array, shape (C,), float32
        Of the nodes below the highest order.
    first : array, shape (C + 1,), int32 or int64
        Children of node i are first[i] to first[i + 1], sorted by their words.

    References
    ----------
    Katz, Estimation of probabilities from sparse data, 1987.

    Examples
    --------
    >>> model = NGram.build(["<unk>", "<s>", "</s>", "A"], [Entries(
    ...     np.zeros(4, np.int64), np.arange(4), np.float32([-9, -99, -1, -0.5]), np.zeros(4, np.float32))])
    >>> logs, state = model.step(model.start(), model.index("A"))
    >>> round(logs / NATS, 3), round(model.score("A A") / NATS, 3)
    (-0.5, -2.0)
    """

    def __init__(
        self,
        words: Sequence[str],
        order: int,
        *,
        word: npt.NDArray[np.int32],
        log: Floats,
        suffix: Integers,
        backoff: Floats,
        first: Integers,
    ) -> None:
        self.words, self.order = list(words), order
        self.word, self.log, self.suffix, self.backoff, self.first = word, log, suffix, backoff, first
        self._index = {text: number for number, text in enumerate(self.words)}

    @classmethod
    def build(cls, words: Sequence[str], levels: Sequence[Entries]) -> "NGram":
        """Link the n-grams of all orders.

        Parameters
        ----------
        words : sequence of str
            By id.
        levels : sequence of Entries
            By order, from one on; the first has every word.

        Returns
        -------
        NGram
        """
        vocabulary = len(words)
        starts = np.cumsum([0, 1, *(len(level.words) for level in levels)])
        nodes = int(starts[-1])
        numbers = np.int32 if nodes < 2**31 else np.int64
        # No suffix is of the highest order.
        keys = np.concatenate(
            [np.array([-1], np.int64)]
            + [
                (level.parents + start) * vocabulary + level.words
                for start, level in zip(starts, levels[:-1], strict=False)
            ]
        )
        suffix: Integers = np.zeros(nodes, dtype=numbers)
        for start, behind, level in zip(starts[1:], starts[2:], levels[1:], strict=False):
            for low in range(0, len(level.words), CHUNK):
                part = slice(low, min(low + CHUNK, len(level.words)))
                parents = level.parents[part] + start
                suffix[behind:][part] = _suffixes(keys, suffix, parents, level.words[part], vocabulary)
        first = [
            behind + np.searchsorted(level.parents, np.arange(behind - start)).astype(numbers)
            for start, behind, level in zip(starts, starts[1:], levels, strict=False)
        ]
        root = np.zeros(1, dtype=np.float32)
        return cls(
            words,
            len(levels),
            word=np.concatenate([np.array([-1], np.int32), *(level.words for level in levels)]),
            log=np.concatenate([root, *(level.logs for level in levels)]),
            suffix=suffix,
            backoff=np.concatenate([root, *(level.backoffs for level in levels[:-1])]),
            first=np.concatenate([*first, [nodes]]).astype(numbers),
        )

    def __len__(self) -> int:
        """Number of n-grams of all orders."""
        return len(self.word) - 1

    def levels(self) -> list[tuple[int, int]]:
        """First node of every order, and the one behind its last."""
        bounds = [1, 1 + len(self.words)]
        while len(bounds) <= self.order:
            bounds.append(int(self.first[bounds[-1]]))
        return list(pairwise(bounds))

    def index(self, word: str) -> int:
        """The id of a word, or that of the unknown word."""
        return self._index.get(word, UNKNOWN)

    def start(self, begin: bool = True) -> int:
        """The state before a sentence's first word, or that of knowing nothing of what came before."""
        return 1 + BEGIN_WORD if begin and self.order > 1 else 0

    def step(self, state: int, word: int) -> tuple[float, int]:
        """Foretell one word.

        Parameters
        ----------
        state : int
            From :meth:`start` or the step before.
        word : int
            Its id; :data:`~hyperconformer.ngram.signs.END_WORD` ends the sentence.

        Returns
        -------
        float
            Log-probability in nats.
        int
            The state behind the word.
        """
        weight = 0.0
        while (node := self._child(state, word)) < 0:
            weight += float(self.backoff[state])
            state = int(self.suffix[state])
        # The highest order's n-grams are nobody's context.
        behind = node if node < len(self.backoff) else int(self.suffix[node])
        return NATS * (weight + float(self.log[node])), behind

    def _child(self, node: int, word: int) -> int:
        """The node that is one word longer, or -1."""
        if node == 0:
            return 1 + word
        low, high = int(self.first[node]), int(self.first[node + 1])
        if low == high:
            return -1
        found = low + int(np.searchsorted(self.word[low:high], word))
        return found if found < high and self.word[found] == word else -1

    def score(self, sentence: str, *, begin: bool = True, end: bool = True) -> float:
        """Log-probability of a sentence in nats.

        Parameters
        ----------
        sentence : str
            Words separated by white space.
        begin, end : bool
            Whether it begins, and ends, with the first and last word.

        Returns
        -------
        float
        """
        state, total = self.start(begin), 0.0
        for word in [*map(self.index, sentence.split()), *([END_WORD] if end else [])]:
            log, state = self.step(state, word)
            total += log
        return total

    def perplexity(self, sentences: Iterable[str]) -> Perplexity:
        """How well the model foresees a text, the ends of its sentences included."""
        count = words = unknown = 0
        nats = unknown_nats = 0.0
        for sentence in sentences:
            state = self.start()
            for word in [*map(self.index, sentence.split()), END_WORD]:
                log, state = self.step(state, word)
                nats -= log
                if word == UNKNOWN:
                    unknown, unknown_nats = unknown + 1, unknown_nats - log
                words += word != END_WORD
            count += 1
        if not count:
            raise InputError("the text has no sentences: give one that has")
        return Perplexity(count, words, unknown, nats, unknown_nats)


def _suffixes(
    keys: Integers, suffix: Integers, parents: Integers, words: npt.NDArray[np.int32], vocabulary: int
) -> Integers:
    """Nodes of the longest proper suffixes of n-grams whose parents' own are known.

    It is the longest suffix of the parent that the model knows with the same last word behind it; with every
    word known by itself, the search ends at the empty context.
    """
    contexts = suffix[parents].astype(np.int64)
    wanted = contexts * vocabulary + words
    found = np.searchsorted(keys, wanted)
    while True:
        missing = np.flatnonzero(keys[np.minimum(found, len(keys) - 1)] != wanted)
        if not len(missing):
            return found
        contexts[missing] = suffix[contexts[missing]]
        wanted[missing] = contexts[missing] * vocabulary + words[missing]
        found[missing] = np.searchsorted(keys, wanted[missing])
