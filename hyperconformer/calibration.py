"""Whether confidences can be believed: of the words said with 0.8, four in five should be right.

A word of a hypothesis is right where the alignment with the fewest edits puts it over an equal word of the
reference. Words of the reference that are missing have no confidence and do not count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hyperconformer.errors import InputError
from hyperconformer.scoring import UtteranceScore
from hyperconformer.types import Word

BINS = 10
"""Bins of equal width, as is the custom: [0, 0.1), [0.1, 0.2)... and the last one with 1 in it."""

# A single sure mistake would make a cross entropy infinite.
_LEAST = 1e-4

Floats = npt.NDArray[np.float64]


class Bin(NamedTuple):
    """Words whose confidences are alike.

    Attributes
    ----------
    low, high : float
        Range of their confidences; ``high`` itself belongs to the next bin, and 1 to the last.
    words : int
        How many there are.
    confidence, right : float
        Their mean confidence and the share that is right; NaN where there are no words.

    Examples
    --------
    >>> Bin(0.8, 0.9, words=50, confidence=0.86, right=0.82).right
    0.82
    """

    low: float
    high: float
    words: int
    confidence: float
    right: float


@dataclass(frozen=True)
class CalibrationReport:
    """What the confidences of many words are worth.

    Attributes
    ----------
    words, right : int
        Words of the hypotheses, and those of them that are right.
    confidence : float
        Mean confidence; equal to ``right / words`` where confidences are neither bold nor shy.
    ece : float
        Expected calibration error: the mean over words of the distance between the mean confidence of the
        word's bin and the share of right words in it. From 0, the best, to 1.
    nce : float
        Normalised cross entropy: which part of the uncertainty about right and wrong the confidences
        take away. 1 at best, 0 for the same fitting confidence everywhere, below 0 if they mislead; NaN
        where all words are right or all are wrong.
    auc : float
        How probable it is that a right word has a higher confidence than a wrong one; 0.5 says that they
        cannot be told apart. NaN like ``nce``.
    bins : tuple of Bin
        The reliability table.

    Examples
    --------
    >>> report = calibration([0.9, 0.9, 0.9, 0.9, 0.4], [True, True, True, False, False])
    >>> report.words, report.right, round(report.ece, 3), report.auc
    (5, 3, 0.2, 0.75)
    """

    words: int
    right: int
    confidence: float
    ece: float
    nce: float
    auc: float
    bins: tuple[Bin, ...]


def calibration_of(pairs: Iterable[tuple[UtteranceScore, Sequence[Word]]]) -> CalibrationReport:
    """Judge the confidences of a scored split.

    Parameters
    ----------
    pairs : iterable of (UtteranceScore, sequence of Word)
        Each utterance of a :class:`~hyperconformer.scoring.WerReport` with the words of its hypothesis.

    Returns
    -------
    CalibrationReport

    Raises
    ------
    InputError
        If no hypothesis has a word.
    ValueError
        If words and hypothesis differ, or a confidence is not within 0 and 1.

    Examples
    --------
    >>> from hyperconformer.scoring import score
    >>> from hyperconformer.types import Utterance
    >>> spoken = Utterance("u1", 1.0, "u1.flac", "anna", "ONE TWO THREE")
    >>> scored = score([(spoken, "ONE TOO")], "test").utterances[0]
    >>> report = calibration_of([(scored, [Word("ONE", 0.0, 0.4, 0.9), Word("TOO", 0.5, 0.9, 0.3)])])
    >>> report.words, report.right, round(report.ece, 3)
    (2, 1, 0.2)
    """
    judged = [word for scored, words in pairs for word in judge(scored, words)]
    return calibration([confidence for confidence, _ in judged], [right for _, right in judged])


def judge(scored: UtteranceScore, words: Sequence[Word]) -> list[tuple[float, bool]]:
    """Say of each word of a hypothesis whether it is right.

    Parameters
    ----------
    scored : UtteranceScore
    words : sequence of Word
        The words of its hypothesis.

    Returns
    -------
    list of (float, bool)
        Confidence of each word, and whether it is right: what
        :func:`~hyperconformer.decoding.confidence.fit_calibration` learns from.

    Raises
    ------
    ValueError
        If words and hypothesis differ.

    Examples
    --------
    >>> from hyperconformer.scoring import score
    >>> from hyperconformer.types import Utterance
    >>> spoken = Utterance("u1", 1.0, "u1.flac", "anna", "ONE TWO THREE")
    >>> scored = score([(spoken, "TWO FOUR")], "test").utterances[0]
    >>> judge(scored, [Word("TWO", 0.0, 0.4, 0.9), Word("FOUR", 0.5, 0.9, 0.3)])
    [(0.9, True), (0.3, False)]
    """
    said = [column for column in scored.alignment if column.mark != "D"]
    if [column.hypothesis for column in said] != [word.text for word in words]:
        raise ValueError(
            f"utterance '{scored.id}': the words {' '.join(word.text for word in words)!r} are not its "
            f"hypothesis {scored.hypothesis!r}"
        )
    return [(word.confidence, column.mark == "=") for column, word in zip(said, words, strict=True)]


def calibration(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> CalibrationReport:
    """Judge confidences by what they promised.

    Parameters
    ----------
    confidences : sequence of float
        From 0 to 1.
    right : sequence of bool
        Whether the word with that confidence was right.
    bins : int
        Number of bins, equally wide.

    Returns
    -------
    CalibrationReport

    Raises
    ------
    InputError
        If there are no words.
    ValueError
        If a confidence is not within 0 and 1, or the lengths differ.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599 (the error); Siu and Gish,
    "Evaluation of word confidence for speech recognition systems", 1999 (normalised cross entropy).

    Examples
    --------
    >>> calibration([0.25, 0.25, 0.25, 0.25], [True, False, False, False]).ece
    0.0
    """
    confidence_w, right_w = np.asarray(confidences, dtype=float), np.asarray(right, dtype=float)
    if confidence_w.shape != right_w.shape:
        raise ValueError(f"{confidence_w.size} confidences for {right_w.size} words")
    if not confidence_w.size:
        raise InputError("no words to judge confidences by: every hypothesis is empty")
    # Written so that NaN fails too.
    if not ((confidence_w >= 0) & (confidence_w <= 1)).all():
        raise ValueError(f"confidences from {confidence_w.min()} to {confidence_w.max()}: from 0 to 1")
    table = _bins(confidence_w, right_w, bins)
    gaps = [row.words * abs(row.confidence - row.right) for row in table if row.words]
    return CalibrationReport(
        words=confidence_w.size,
        right=int(right_w.sum()),
        confidence=float(confidence_w.mean()),
        ece=float(sum(gaps) / confidence_w.size),
        nce=_normalised_cross_entropy(confidence_w, right_w),
        auc=_area(confidence_w, right_w),
        bins=table,
    )


def reliability_table(report: CalibrationReport) -> str:
    """Lay a report out for people.

    Parameters
    ----------
    report : CalibrationReport

    Returns
    -------
    str
        A line of the figures, "-" where there is none, and a row for every bin that has words.

    Examples
    --------
    >>> print(reliability_table(calibration([0.9, 0.9, 0.9, 0.9, 0.4], [True, True, True, False, False])))
    words 5, right 60.0 %, mean confidence 80.0 %, ECE 20.0 %, NCE 0.070, AUC 0.750
      confidence  words  mean %  right %
    0.40 to 0.50      1    40.0      0.0
    0.90 to 1.00      4    90.0     75.0
    """
    lines = [
        f"words {report.words}, right {100 * report.right / report.words:.1f} %, "
        f"mean confidence {100 * report.confidence:.1f} %, ECE {100 * report.ece:.1f} %, "
        f"NCE {_three_digits(report.nce)}, AUC {_three_digits(report.auc)}",
        "  confidence  words  mean %  right %",
    ]
    lines += [
        f"{row.low:.2f} to {row.high:.2f}  {row.words:5}  {100 * row.confidence:6.1f}  {100 * row.right:7.1f}"
        for row in report.bins
        if row.words
    ]
    return "\n".join(lines)


def _three_digits(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _bins(confidence_w: Floats, right_w: Floats, bins: int) -> tuple[Bin, ...]:
    edges = np.arange(bins + 1) / bins
    bin_w = np.searchsorted(edges[1:-1], confidence_w, side="right")
    counts, sums, rights = (
        np.bincount(bin_w, weights, minlength=bins) for weights in (None, confidence_w, right_w)
    )
    with np.errstate(invalid="ignore"):
        means, shares = sums / counts, rights / counts
    columns = (edges[:-1], edges[1:], counts, means, shares)
    return tuple(
        Bin(float(low), float(high), int(words), float(mean), float(share))
        for low, high, words, mean, share in zip(*columns, strict=True)
    )


def _normalised_cross_entropy(confidence_w: Floats, right_w: Floats) -> float:
    share = right_w.mean()
    if share in (0.0, 1.0):
        return float("nan")
    base = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    bounded_w = confidence_w.clip(_LEAST, 1 - _LEAST)
    entropy = -np.where(right_w > 0, np.log(bounded_w), np.log1p(-bounded_w)).mean()
    return float((base - entropy) / base)


def _area(confidence_w: Floats, right_w: Floats) -> float:
    """Area under the receiver operating characteristic, from ranks; ties count half."""
    rights = int(right_w.sum())
    wrongs = right_w.size - rights
    if not rights or not wrongs:
        return float("nan")
    _, place_w, times = np.unique(confidence_w, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(times) - (times - 1) / 2
    ranks = mean_rank[place_w][right_w > 0].sum()
    return float((ranks - rights * (rights + 1) / 2) / (rights * wrongs))
