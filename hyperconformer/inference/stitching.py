"""Join what was recognised in two pieces of a recording that overlap: no word twice, none lost.

Near the edge of a piece a recogniser lacks context, and a word may be cut. So every word of the overlap is
taken from the piece in which it is farther from the edge: in the first half from the left piece, in the
second from the right one. What is the same word in both is found by aligning them by time and text, as their
times differ a little and a word near the middle must neither be taken from both nor from none.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hyperconformer.types import Word

TOLERANCE_SECONDS = 0.4
"""What the centres of a word may differ by between two pieces."""

_SAME, _OTHER = 2.0, 1.0
"""What a pair of the same word, or of two words at the same time, is worth before they differ in time."""

_Pair = tuple[Word | None, Word | None]


def stitch(
    left: Sequence[Word], right: Sequence[Word], start: float, stop: float
) -> tuple[list[Word], list[Word]]:
    """Take each word of an overlap from one of two pieces.

    Parameters
    ----------
    left, right : sequence of Word
        What was heard in each, in order, with times of the whole recording.
    start, stop : float
        Seconds where the right piece begins and the left one ends.

    Returns
    -------
    list of Word
        What remains of the left piece.
    list of Word
        What remains of the right one; all of it comes later.

    Examples
    --------
    >>> left = [Word("ONE", 7.0, 7.4, 0.9), Word("TWO", 8.4, 8.8, 0.9), Word("THR", 9.7, 10.0, 0.2)]
    >>> right = [Word("O", 8.5, 8.7, 0.3), Word("THREE", 9.6, 10.2, 0.9), Word("FOUR", 10.5, 10.9, 0.9)]
    >>> [[word.text for word in side] for side in stitch(left, right, 8.0, 10.0)]
    [['ONE', 'TWO'], ['THREE', 'FOUR']]
    """
    middle = (start + stop) / 2
    first = next((i for i, word in enumerate(left) if _centre(word) >= start - TOLERANCE_SECONDS), len(left))
    after = next((i for i, word in enumerate(right) if _centre(word) > stop + TOLERANCE_SECONDS), len(right))
    from_left, from_right = list(left[:first]), list[Word]()
    # Once a word has come from the right, all that follow do.
    for ours, theirs in _aligned(left[first:], right[:after]):
        time = np.mean([_centre(word) for word in (ours, theirs) if word])
        if time >= middle or from_right:
            from_right += [theirs] if theirs else []
        else:
            from_left += [ours] if ours else []
    return _apart(from_left, from_right + list(right[after:]))


def _apart(left: list[Word], right: list[Word]) -> tuple[list[Word], list[Word]]:
    """Let the two words at the seam meet where they would overlap, since each piece timed its own."""
    if left and right and left[-1].end > right[0].start:
        before, after = left[-1], right[0]
        seam = max(before.start, min((before.end + after.start) / 2, after.end))
        left[-1] = replace(before, end=seam)
        right[0] = replace(after, start=seam, end=max(seam, after.end))
    return left, right


def _centre(word: Word) -> float:
    return (word.start + word.end) / 2


def _worth(ours: Word, theirs: Word) -> float:
    """How good it would be to take two words for one; 0 if they cannot be."""
    apart = abs(_centre(ours) - _centre(theirs))
    if ours.text == theirs.text:
        return _SAME - apart / TOLERANCE_SECONDS if apart <= TOLERANCE_SECONDS else 0.0
    shared = min(ours.end, theirs.end) - max(ours.start, theirs.start)
    return _OTHER - apart / TOLERANCE_SECONDS if shared > 0 and apart <= TOLERANCE_SECONDS else 0.0


def _aligned(left: Sequence[Word], right: Sequence[Word]) -> list[_Pair]:
    """Pair words of two sequences for the greatest worth; those without a partner stand alone, by time."""
    worth = np.array([[_worth(ours, theirs) for theirs in right] for ours in left])
    worth = worth.reshape(len(left), len(right))
    best = np.zeros((len(left) + 1, len(right) + 1))
    for i in range(len(left) - 1, -1, -1):
        for j in range(len(right) - 1, -1, -1):
            paired = worth[i, j] + best[i + 1, j + 1] if worth[i, j] > 0 else 0.0
            best[i, j] = max(paired, best[i + 1, j], best[i, j + 1])
    pairs: list[_Pair] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if worth[i, j] > 0 and best[i, j] == worth[i, j] + best[i + 1, j + 1]:
            pairs.append((left[i], right[j]))
            i, j = i + 1, j + 1
        elif best[i + 1, j] > best[i, j + 1] or (
            best[i + 1, j] == best[i, j + 1] and _centre(left[i]) <= _centre(right[j])
        ):
            pairs.append((left[i], None))
            i += 1
        else:
            pairs.append((None, right[j]))
            j += 1
    return pairs + [(word, None) for word in left[i:]] + [(None, word) for word in right[j:]]
