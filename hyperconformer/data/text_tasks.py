"""Made texts that show what token mixing must do: match, order and count, asked by a query.

A token is one character. Every label depends on the query and on the rest together: either alone says
nothing, and no sum of what single tokens say does better than chance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_lowercase, digits

import numpy as np

from hyperconformer.data.augment import keyed_rng
from hyperconformer.data.labelled import LabelledCorpus, LabelledText
from hyperconformer.errors import check_range

KEYS, VALUES = "ABCDEFGH", 4
ITEMS = ascii_lowercase + digits[:6]
"""Item ``VALUES * key + value``."""
MARKS, FIRST, LAST = "XY", "F", "L"
COUNTED = "ABCD"

TRAIN_LENGTHS = (12, 32)
"""Least and most tokens behind the query, multiples of four."""


@dataclass(frozen=True)
class TextTask:
    """One made task.

    Attributes
    ----------
    make : callable
        (random generator, tokens behind the query) to a text.
    classes : int
        All equally likely.

    Examples
    --------
    >>> TASKS["order"].chance
    0.5
    """

    make: Callable[[np.random.Generator, int], LabelledText]
    classes: int

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.classes


def match(rng: np.random.Generator, length: int) -> LabelledText:
    """One key and its value among items: the value of the only item that has the query's key.

    Every value occurs equally often.

    Examples
    --------
    >>> one = match(np.random.default_rng(1), 8)
    >>> [item for item in one.text[1:] if ITEMS.index(item) // VALUES == KEYS.index(one.text[0])]
    ['p']
    >>> one.label, ITEMS.index("p") % VALUES
    ('3', 3)
    """
    query = int(rng.integers(len(KEYS)))
    place = int(rng.integers(length))
    others = rng.integers(1, len(KEYS), size=length)
    keys = (query + others) % len(KEYS)
    keys[place] = query
    values = rng.permutation(np.arange(length) % VALUES)
    items = "".join(ITEMS[VALUES * key + value] for key, value in zip(keys, values, strict=True))
    return LabelledText(KEYS[query] + items, str(values[place]))


def order(rng: np.random.Generator, length: int) -> LabelledText:
    """Two marks among fillers: the one that comes first, or last, as the query says.

    Examples
    --------
    >>> one = order(np.random.default_rng(1), 8)
    >>> one.text[0], one.text.index("X") < one.text.index("Y"), one.label
    ('L', True, 'Y')
    """
    tokens = [ascii_lowercase[n] for n in rng.integers(len(ascii_lowercase), size=length)]
    places = rng.choice(length, size=2, replace=False)
    for mark, place in zip(MARKS, places, strict=True):
        tokens[place] = mark
    query = FIRST if rng.integers(2) else LAST
    early, late = sorted(range(len(MARKS)), key=lambda mark: places[mark])
    return LabelledText(query + "".join(tokens), MARKS[early if query == FIRST else late])


def count(rng: np.random.Generator, length: int) -> LabelledText:
    """Four symbols that occur once, twice, three and four times among fillers: how often the query's does.

    Examples
    --------
    >>> one = count(np.random.default_rng(1), 12)
    >>> one.text.count(one.text[0].lower()) == int(one.label)
    True
    """
    fillers = ascii_lowercase[len(COUNTED) :]
    often = rng.permutation(np.arange(1, len(COUNTED) + 1))
    tokens = [fillers[n] for n in rng.integers(len(fillers), size=length)]
    places = rng.choice(length, size=int(often.sum()), replace=False)
    for place, symbol in zip(places, np.repeat(list(COUNTED.lower()), often), strict=True):
        tokens[place] = symbol
    query = int(rng.integers(len(COUNTED)))
    return LabelledText(COUNTED[query] + "".join(tokens), str(often[query]))


TASKS: Mapping[str, TextTask] = {
    "match": TextTask(match, VALUES),
    "order": TextTask(order, len(MARKS)),
    "count": TextTask(count, len(COUNTED)),
}


def make_texts(
    task: str, texts: int, lengths: tuple[int, int], *, seed: int, split: str
) -> list[LabelledText]:
    """Make texts of a task.

    Parameters
    ----------
    task : str
        A key of :data:`TASKS`.
    texts : int
        How many.
    lengths : tuple of int
        Least and most tokens behind the query; all multiples of four between are equally likely.
    seed : int
    split : str
        With the seed, keys the random numbers.

    Returns
    -------
    list of LabelledText

    Examples
    --------
    >>> [one.text for one in make_texts("count", 2, (12, 16), seed=0, split="train")]
    ['...', '...']
    """
    check_range("lengths", lengths[0], 12)
    rng = keyed_rng(seed, "text", task, split)
    make = TASKS[task].make
    return [make(rng, 4 * int(rng.integers(lengths[0] // 4, lengths[1] // 4 + 1))) for _ in range(texts)]


def make_corpus(task: str, *, train: int, seed: int) -> LabelledCorpus:
    """Make a task's splits: training and validation at its lengths, tests at these, and at longer ones.

    Parameters
    ----------
    task : str
        A key of :data:`TASKS`.
    train : int
        Training texts; the others are a thousand each.
    seed : int

    Returns
    -------
    LabelledCorpus

    Examples
    --------
    >>> corpus = make_corpus("order", train=100, seed=0)
    >>> list(corpus.tests), len(corpus.tests["length_4x"][0].text)
    (['length_1x', 'length_2x', 'length_4x'], 129)
    """
    low, high = TRAIN_LENGTHS

    def some(texts: int, lengths: tuple[int, int], split: str) -> list[LabelledText]:
        return make_texts(task, texts, lengths, seed=seed, split=split)

    longer = {f"length_{times}x": (times * high, times * high) for times in (2, 4)}
    return LabelledCorpus(
        some(train, (low, high), "train"),
        some(1000, (low, high), "valid"),
        {name: some(1000, span, name) for name, span in {"length_1x": (low, high), **longer}.items()},
    )
