"""From counts to probabilities: modified Kneser-Ney smoothing, interpolated."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hyperconformer.errors import InputError
from hyperconformer.ngram.counts import CHUNK, Level, smallest
from hyperconformer.ngram.model import Entries, Integers, NGram
from hyperconformer.ngram.signs import BEGIN_WORD

FALLBACK = (0.5, 1.0, 1.5)
IMPOSSIBLE = -99.0
"""Decimal logarithm of what is never foretold: the begin of a sentence."""

Doubles = npt.NDArray[np.float64]

_NONE = Entries(
    np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32)
)


@dataclass(frozen=True)
class Discounts:
    """What is taken from a count of one, two, and three or more.

    Attributes
    ----------
    amounts : tuple of float
    estimated : bool
        False where the text is too small to tell, and the amounts are conventional.

    Examples
    --------
    >>> print(Discounts(FALLBACK, estimated=False))
    0.500 1.000 1.500 (conventional: the text is too small to estimate them)
    """

    amounts: tuple[float, float, float]
    estimated: bool

    def __str__(self) -> str:
        """The amounts, and where they come from if not from the text."""
        reason = "" if self.estimated else " (conventional: the text is too small to estimate them)"
        return " ".join(f"{amount:.3f}" for amount in self.amounts) + reason

    def of(self, counts: Integers) -> Doubles:
        """The discount of every count, (N,) -> (N,)."""
        table = np.array([0.0, *self.amounts])
        taken: Doubles = table[np.minimum(counts, 3)]
        return taken


def estimate_discounts(counts: Integers) -> Discounts:
    """Discounts from how many n-grams have a count of one, two, three and four.

    Parameters
    ----------
    counts : array, shape (N,), int64

    Returns
    -------
    Discounts
        Conventional ones where a formula divides by zero or gives no share of the count.

    References
    ----------
    Chen and Goodman, An empirical study of smoothing techniques for language modeling, 1999.

    Examples
    --------
    >>> print(estimate_discounts(np.repeat([1, 2, 3, 4], [40, 20, 10, 5])))
    0.500 1.250 2.000
    >>> estimate_discounts(np.array([1, 1, 5])).estimated
    False
    """
    one, two, three, four = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    if 0 in (one, two, three, four):
        return Discounts(FALLBACK, estimated=False)
    share = one / (one + 2 * two)
    first, second, third = (
        count - (count + 1) * share * more / fewer
        for count, fewer, more in ((1, one, two), (2, two, three), (3, three, four))
    )
    # Without a discount nothing would be left for what was never seen.
    sound = all(0 < amount <= count for count, amount in enumerate((first, second, third), start=1))
    return Discounts((first, second, third), True) if sound else Discounts(FALLBACK, estimated=False)


def estimate(
    words: Sequence[str], levels: Sequence[Level], min_counts: Sequence[int]
) -> tuple[NGram, list[Discounts]]:
    """Estimate a model from counts.

    Below the highest order, what counts is in how many different words' company an n-gram was seen, except
    at a sentence's begin, where no word stands before. Rare n-grams are counted all the same and left out
    afterwards; what they weighed goes to the shorter context, so every distribution sums to one.

    Parameters
    ----------
    words : sequence of str
        By id.
    levels : sequence of Level
        From :func:`~hyperconformer.ngram.counts.count_ngrams`.
    min_counts : sequence of int
        By order: n-grams seen fewer times are left out. They may not fall, and words are all kept.

    Returns
    -------
    NGram
    list of Discounts
        By order.

    Raises
    ------
    InputError
        If ``min_counts`` does not fit.

    References
    ----------
    Kneser and Ney, Improved backing-off for m-gram language modeling, 1995; Chen and Goodman, 1999.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from hyperconformer.ngram.counts import count_ngrams, encode_corpus
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     corpus = encode_corpus(["A B", "A B A"], Path(scratch), None)
    ...     levels = count_ngrams(corpus, 2, Path(scratch))
    ...     model, discounts = estimate(corpus.words, levels, [1, 1])
    >>> foretold = [model.step(model.start(), word)[0] for word in (0, 2, 3, 4)]  # after the begin
    >>> round(float(np.exp(foretold).sum()), 6)
    1.0
    """
    check_min_counts(min_counts, len(levels))
    suffixes = _suffixes(levels, len(words))
    counts = [_company(level, longer) for level, longer in zip(levels, suffixes[1:], strict=False)]
    counts.append(levels[-1].counts.copy() if len(levels) == 1 else levels[-1].counts)
    counts[0][BEGIN_WORD] = 0
    discounts = [estimate_discounts(some) for some in counts]
    kept = [level.counts >= least for level, least in zip(levels, min_counts, strict=True)]
    kept[0][:] = True
    return NGram.build(words, _entries(levels, counts, kept, discounts, suffixes)), discounts


def _entries(
    levels: Sequence[Level],
    counts: Sequence[Integers],
    kept: Sequence[npt.NDArray[np.bool_]],
    discounts: Sequence[Discounts],
    suffixes: Sequence[Integers],
) -> list[Entries]:
    """The n-grams that are kept, by order, with their logarithms."""
    size = len(levels[0].keys)
    entries: list[Entries] = []
    shorter: Doubles = np.array([1 / (size - 1)])  # what is left goes to all words alike, but not the begin
    numbers: Integers = np.zeros(1, dtype=np.int64)  # of the shorter n-grams that are kept, -1 for the others
    for order, level in enumerate(levels):
        total, weights = _weights(
            level.keys // size, counts[order], kept[order], discounts[order], len(shorter)
        )
        if entries:
            entries[-1] = entries[-1]._replace(backoffs=np.log10(weights[numbers >= 0]).astype(np.float32))
        found, pieces = np.empty(len(level.keys)), [_NONE]
        for part in _slices(len(level.keys)):
            parents, last = np.divmod(level.keys[part], size)
            count, keep = counts[order][part], kept[order][part]
            direct = (count - discounts[order].of(count)) / total[parents]
            found[part] = direct + weights[parents] * shorter[suffixes[order][part]]
            logs = np.log10(found[part][keep]).astype(np.float32)
            pieces.append(
                Entries(numbers[parents[keep]], last[keep].astype(np.int32), logs, np.zeros_like(logs))
            )
        entries.append(Entries(*map(np.concatenate, zip(*pieces, strict=True))))
        shorter, numbers = found, np.where(kept[order], np.cumsum(kept[order]) - 1, -1)
    entries[0].logs[BEGIN_WORD] = IMPOSSIBLE
    return entries


def _weights(
    parents: Integers,
    counts: Integers,
    kept: npt.NDArray[np.bool_],
    discounts: Discounts,
    contexts: int,
) -> tuple[Doubles, Doubles]:
    """Counts behind every context (C,), and the share of them that it leaves to the shorter one."""
    total, left = np.zeros(contexts), np.zeros(contexts)
    for part in _slices(len(parents)):
        # Parents ascend, so a slice concerns a stretch of them.
        first, stretch = parents[part][0], slice(parents[part][0], parents[part][-1] + 1)
        count = counts[part]
        lost = np.where(kept[part], discounts.of(count), count)
        total[stretch] += np.bincount(parents[part] - first, weights=count)
        left[stretch] += np.bincount(parents[part] - first, weights=lost)
    return total, np.divide(left, total, out=np.ones(contexts), where=total > 0)


def _slices(length: int) -> list[slice]:
    """Stretches of n-grams that are worked on together, so that little is held beside what must be."""
    return [slice(start, start + CHUNK) for start in range(0, length, CHUNK)]


def check_min_counts(min_counts: Sequence[int], order: int) -> None:
    """Refuse limits that would leave an n-gram without its parts.

    Parameters
    ----------
    min_counts : sequence of int
        By order.
    order : int

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_min_counts([1, 3, 2], 3)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: min_count 1 3 2 falls: a longer n-gram needs the shorter ones in it
    """
    given = " ".join(map(str, min_counts))
    if len(min_counts) != order or min(min_counts) < 1:
        raise InputError(f"min_count {given} must be {order} whole numbers of at least 1, one an order")
    if min_counts[0] > 1:
        raise InputError(f"min_count of single words is {min_counts[0]}: limit the vocabulary instead")
    if list(min_counts) != sorted(min_counts):
        raise InputError(f"min_count {given} falls: a longer n-gram needs the shorter ones in it")


def _suffixes(levels: Sequence[Level], size: int) -> list[Integers]:
    """Of every n-gram, the number of all its words but the first among those one shorter."""
    suffixes: list[Integers] = [np.zeros(len(levels[0].keys), dtype=np.int64)]
    for shorter, level in pairwise(levels):
        found: Integers = np.empty(len(level.keys), dtype=smallest(len(shorter.keys)))
        for part in _slices(len(level.keys)):
            parents, words = np.divmod(level.keys[part], size)
            wanted = suffixes[-1][parents].astype(np.int64) * size + words
            found[part] = np.searchsorted(shorter.keys, wanted)
        suffixes.append(found)
    return suffixes


def _company(level: Level, longer: Integers) -> Integers:
    """Different words seen before every n-gram; its own count where none can be."""
    different = np.bincount(longer, minlength=len(level.keys))
    return np.where(different > 0, different, level.counts)
