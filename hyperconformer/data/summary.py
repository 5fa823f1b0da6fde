"""What a split holds, on a few lines: hours, speakers, lengths, characters."""

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence

from hyperconformer.types import Utterance

_EDGES_SECONDS = (0, 1, 2, 4, 8, 12, 16, 20, 30, 60)
_BAR = 40
_LIBRISPEECH = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
_FRAMES_PER_SECOND = 25
"""Of the encoder, one every 40 ms: CTC can say at most one token in each."""


def describe(split: str, utterances: Sequence[Utterance]) -> str:
    """Describe the utterances of a split.

    Parameters
    ----------
    split : str
        Its name.
    utterances : sequence of Utterance

    Returns
    -------
    str
        Lines for a person to read.

    Examples
    --------
    >>> rows = [Utterance(f"{s}", s, "a.flac", "7", "YES") for s in (0.5, 1.5, 1.8)]
    >>> print(describe("train", rows))
    train: 3 utterances, 0.00 h, 1 speaker, 3 words (1 different)
      seconds: min 0.50, median 1.50, max 1.80
         0 to 1          1 ####################
         1 to 2          2 ########################################
    """
    if not utterances:
        return f"{split}: no utterances"
    seconds = [utterance.seconds for utterance in utterances]
    speakers = len({utterance.speaker for utterance in utterances})
    words = Counter(word for utterance in utterances for word in utterance.words.split())
    lines = [
        f"{split}: {len(utterances)} utterances, {sum(seconds) / 3600:.2f} h, {speakers} "
        f"{'speaker' if speakers == 1 else 'speakers'}, {words.total()} words ({len(words)} different)",
        f"  seconds: min {min(seconds):.2f}, median {statistics.median(seconds):.2f}, max {max(seconds):.2f}",
        *_histogram(seconds),
    ]
    return "\n".join([*lines, *_remarks(utterances)])


def _histogram(seconds: Sequence[float]) -> list[str]:
    """Count utterances by length; empty classes before the first and after the last are left out."""
    counts = [0] * len(_EDGES_SECONDS)
    for one in seconds:
        counts[max(index for index, edge in enumerate(_EDGES_SECONDS) if one >= edge)] += 1
    filled = [index for index, count in enumerate(counts) if count]
    names = [f"{a:>2} to {b}" for a, b in itertools.pairwise(_EDGES_SECONDS)]
    names.append(f"{_EDGES_SECONDS[-1]:>2} and more")
    bars = ["#" * round(_BAR * count / max(counts)) for count in counts]
    return [
        f"    {names[index]:<12} {counts[index]:>6} {bars[index]}".rstrip()
        for index in range(filled[0], filled[-1] + 1)
    ]


def _remarks(utterances: Sequence[Utterance]) -> list[str]:
    """Say what may surprise a person later, in training."""
    remarks = []
    letters = Counter(character for utterance in utterances for character in utterance.words)
    if others := {letter: count for letter, count in letters.items() if letter not in _LIBRISPEECH}:
        most = sorted(others, key=lambda letter: (-others[letter], letter))
        shown = " ".join(most[:30]) + (" ..." if len(most) > 30 else "")
        remarks.append(f"  characters besides A-Z and ' (all that LibriSpeech has): {shown}")
    dense = [u for u in utterances if len(u.words) > u.seconds * _FRAMES_PER_SECOND]
    if dense:
        remarks.append(
            f"  {len(dense)} utterances have more characters than encoder frames of 40 ms, e.g. "
            f"{dense[0].id!r}: with short tokens, CTC cannot say them, and training leaves them out"
        )
    return remarks
