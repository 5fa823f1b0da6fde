"""How often every n-gram of a text occurs, in sorted arrays, with the text itself on the disk.

An n-gram is known by a key: the number of its first n - 1 words among the (n - 1)-grams, times the size of
the vocabulary, plus its last word. So a key of any order fits in 64 bits, and n-grams that share their first
words lie side by side.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hyperconformer.errors import InputError
from hyperconformer.ngram.model import Integers
from hyperconformer.ngram.signs import BEGIN_WORD, END_WORD, SIGNS, UNKNOWN

CHUNK = 2**24
"""Positions of the text, or n-grams, that are worked on together."""


@dataclass(frozen=True)
class Corpus:
    """A text as word ids.

    Attributes
    ----------
    words : list of str
        The vocabulary by id.
    ids : array, shape (T,), int32
        Every sentence between its two signs, one after the other.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     corpus = encode_corpus(["A B A", "A"], Path(scratch), None)
    ...     corpus.words, corpus.ids.tolist()
    (['<unk>', '<s>', '</s>', 'A', 'B'], [1, 3, 4, 3, 2, 1, 3, 2])
    """

    words: list[str]
    ids: npt.NDArray[np.int32]


class Level(NamedTuple):
    """The n-grams of one order.

    Attributes
    ----------
    keys : array, shape (N,), int64
        Ascending.
    counts : array, shape (N,), int64 or uint32

    Examples
    --------
    >>> Level(np.array([3]), np.array([7])).counts
    array([7])
    """

    keys: Integers
    counts: Integers


def encode_corpus(sentences: Iterable[str], scratch: Path, vocabulary: int | None) -> Corpus:
    """Turn sentences into word ids, in a file.

    Parameters
    ----------
    sentences : iterable of str
        Words separated by single spaces.
    scratch : Path
        A folder for the file: four bytes a word.
    vocabulary : int or None
        Most words to tell apart: the most frequent ones, of equals the alphabetically first. The others
        become the unknown word. None keeps all.

    Returns
    -------
    Corpus

    Raises
    ------
    InputError
        If there are no words.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     encode_corpus(["A B A"], Path(scratch), vocabulary=1).ids.tolist()
    [1, 3, 0, 3, 2]
    """
    path = scratch / "words.int32"
    seen: defaultdict[str, int] = defaultdict()
    seen.default_factory = seen.__len__
    for sign in SIGNS:
        seen[sign]
    with path.open("wb") as file:
        buffer = array("i")
        for sentence in sentences:
            buffer.append(BEGIN_WORD)
            buffer.extend(map(seen.__getitem__, sentence.split()))
            buffer.append(END_WORD)
            if len(buffer) > CHUNK:
                buffer.tofile(file)
                del buffer[:]
        buffer.tofile(file)
    if len(seen) == len(SIGNS):
        raise InputError("the text has no words: give one that has")
    ids: npt.NDArray[np.int32] = np.memmap(path, dtype=np.int32, mode="r+")
    words, renamed = _by_frequency(list(seen), ids, vocabulary)
    for start in range(0, len(ids), CHUNK):
        ids[start : start + CHUNK] = renamed[ids[start : start + CHUNK]]
    return Corpus(words, ids)


def _by_frequency(
    seen: list[str], ids: npt.NDArray[np.int32], vocabulary: int | None
) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The vocabulary in its final order, and the final id of every provisional one."""
    counts = np.zeros(len(seen), dtype=np.int64)
    for start in range(0, len(ids), CHUNK):
        counts += np.bincount(ids[start : start + CHUNK], minlength=len(seen))
    signs = len(SIGNS)
    order = sorted(range(signs, len(seen)), key=lambda old: (-counts[old], seen[old]))[:vocabulary]
    renamed = np.full(len(seen), UNKNOWN, dtype=np.int32)
    renamed[:signs] = range(signs)
    renamed[order] = range(signs, signs + len(order))
    return [*SIGNS, *(seen[old] for old in order)], renamed


def count_ngrams(corpus: Corpus, order: int, scratch: Path) -> list[Level]:
    """Count the n-grams of all orders up to one; none goes across the end of a sentence.

    Parameters
    ----------
    corpus : Corpus
    order : int
        Longest n-grams, in words.
    scratch : Path
        A folder for a file of eight bytes a word, from order three on.

    Returns
    -------
    list of Level
        By order, from one on. The first has every word of the vocabulary, seen or not.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     corpus = encode_corpus(["A B", "A B A"], Path(scratch), None)
    ...     bigrams = count_ngrams(corpus, 2, Path(scratch))[1]
    >>> for key, count in zip(*bigrams):
    ...     print(*(corpus.words[word] for word in divmod(key, len(corpus.words))), count)
    <s> A 2
    A </s> 1
    A B 2
    B </s> 1
    B A 1
    """
    size = len(corpus.words)
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, len(corpus.ids), CHUNK):
        counts += np.bincount(corpus.ids[start : start + CHUNK], minlength=size)
    levels = [Level(np.arange(size, dtype=np.int64), counts)]
    # At every position, the number of the n-gram that ends there, or -1 if its sentence is too short.
    ending: npt.NDArray[np.integer] = corpus.ids
    for length in range(2, order + 1):
        runs: list[Level] = []
        for _, keys in _keys(corpus, ending):
            found, times = np.unique(keys[keys >= 0], return_counts=True)
            _add(runs, Level(found, times.astype(smallest(len(corpus.ids)))))
        while len(runs) > 1:
            runs.append(_merged(runs.pop(), runs.pop()))
        levels.append(runs[0])
        if length < order:
            ending = _renumbered(corpus, ending, levels[-1].keys, scratch / f"ending{length}.int64")
    return levels


def smallest(largest: int) -> type[np.uint32] | type[np.int64]:
    """The smallest type of whole numbers up to a largest one.

    Parameters
    ----------
    largest : int

    Returns
    -------
    type

    Examples
    --------
    >>> smallest(2**32 - 1).__name__, smallest(2**32).__name__
    ('uint32', 'int64')
    """
    return np.uint32 if largest < 2**32 else np.int64


def _keys(corpus: Corpus, ending: npt.NDArray[np.integer]) -> Iterator[tuple[int, Integers]]:
    """Keys of the n-grams, one word longer, that end at every position but the first; -1 for none."""
    for start in range(1, len(corpus.ids), CHUNK):
        words = corpus.ids[start : start + CHUNK]
        before = ending[start - 1 : start - 1 + len(words)].astype(np.int64)
        keys = before * len(corpus.words) + words
        keys[(before < 0) | (words == BEGIN_WORD)] = -1
        yield start, keys


def _renumbered(
    corpus: Corpus, ending: npt.NDArray[np.integer], level: Integers, path: Path
) -> npt.NDArray[np.integer]:
    numbers = np.memmap(path, dtype=np.int64, mode="w+", shape=corpus.ids.shape)
    numbers[0] = -1
    for start, keys in _keys(corpus, ending):
        found = np.searchsorted(level, keys)
        numbers[start : start + len(keys)] = np.where(keys < 0, -1, found)
    return numbers


def _add(runs: list[Level], new: Level) -> None:
    """Put a run on the pile, and merge from its top while the one below is no longer than twice as long."""
    runs.append(new)
    while len(runs) > 1 and len(runs[-2].keys) <= 2 * len(runs[-1].keys):
        runs.append(_merged(runs.pop(), runs.pop()))


def _merged(small: Level, large: Level) -> Level:
    """Add up two runs; only what is new moves, so it takes little more memory than the result."""
    if len(small.keys) > len(large.keys):
        small, large = large, small
    places = np.searchsorted(large.keys, small.keys)
    known = large.keys[np.minimum(places, len(large.keys) - 1)] == small.keys if len(large.keys) else False
    known = np.broadcast_to(known, small.keys.shape)
    large.counts[places[known]] += small.counts[known]
    keys = np.insert(large.keys, places[~known], small.keys[~known])
    counts = np.insert(large.counts, places[~known], small.counts[~known])
    return Level(keys, counts)
