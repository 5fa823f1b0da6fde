"""Hypotheses against references: word error rate, its interval, and the file that shows every mistake.

Words are what white space separates and are compared as they stand: case and punctuation count. Rates are
fractions in Python and percent in files.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import jiwer
import numpy as np

from hyperconformer.errors import InputError
from hyperconformer.types import Utterance

RESAMPLES = 2000
_SEED = 1
_MARKS = {"equal": "=", "substitute": "S", "insert": "I", "delete": "D"}


@dataclass(frozen=True)
class ErrorCounts:
    """How words of a hypothesis differ from the reference.

    Attributes
    ----------
    substitutions : int
        Words replaced by another.
    deletions : int
        Reference words missing from the hypothesis.
    insertions : int
        Hypothesis words the reference lacks.
    hits : int
        Words in both.

    Examples
    --------
    >>> counts = ErrorCounts(substitutions=1, deletions=0, insertions=1, hits=3)
    >>> counts.reference_words, counts.edits, counts.wer
    (4, 2, 0.5)
    """

    substitutions: int
    deletions: int
    insertions: int
    hits: int

    @property
    def edits(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_words(self) -> int:
        """Words in the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def wer(self) -> float:
        """Edits per reference word, a fraction; above 1 where there are many insertions."""
        return self.edits / self.reference_words


class AlignedWord(NamedTuple):
    """One column of an alignment.

    Attributes
    ----------
    mark : str
        ``=`` hit, ``S`` substitution, ``I`` insertion, ``D`` deletion.
    reference : str
        Reference word; empty for an insertion.
    hypothesis : str
        Hypothesis word; empty for a deletion.

    Examples
    --------
    >>> AlignedWord("D", "THE", "").mark
    'D'
    """

    mark: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class UtteranceScore:
    """One utterance, scored.

    Attributes
    ----------
    id, speaker : str
        As in the manifest.
    reference, hypothesis : str
        Words separated by single spaces.
    counts : ErrorCounts
        Its mistakes.
    alignment : tuple of AlignedWord
        Which word became which, with the fewest edits.

    Examples
    --------
    >>> report = score([(Utterance("u1", 1.0, "u1.flac", "anna", "ONE TWO"), "ONE")], "test")
    >>> report.utterances[0].alignment[1]
    AlignedWord(mark='D', reference='TWO', hypothesis='')
    """

    id: str
    speaker: str
    reference: str
    hypothesis: str
    counts: ErrorCounts
    alignment: tuple[AlignedWord, ...]


@dataclass(frozen=True)
class WerReport:
    """A scored split.

    Attributes
    ----------
    split : str
        Name of the split, for instance ``test-clean``.
    utterances : tuple of UtteranceScore
        Sorted by id.
    counts : ErrorCounts
        Sums over the utterances.
    low, high : float
        Ends of the 95 % interval of the WER, as fractions.
    cer : float
        Character error rate, as a fraction; the space between words is a character.

    Examples
    --------
    >>> report = score([(Utterance("u1", 1.0, "u1.flac", "anna", "ONE TWO"), "ONE TWO")], "test")
    >>> report.wer, report.low, report.high, report.cer, report.sentence_error_rate
    (0.0, 0.0, 0.0, 0.0, 0.0)
    """

    split: str
    utterances: tuple[UtteranceScore, ...]
    counts: ErrorCounts
    low: float
    high: float
    cer: float

    @property
    def wer(self) -> float:
        """Word error rate of the whole split, a fraction."""
        return self.counts.wer

    @property
    def wrong_utterances(self) -> int:
        """Utterances with at least one edit."""
        return sum(utterance.counts.edits > 0 for utterance in self.utterances)

    @property
    def sentence_error_rate(self) -> float:
        """Fraction of utterances with at least one edit."""
        return self.wrong_utterances / len(self.utterances)

    @property
    def speakers(self) -> int:
        """Number of different speakers."""
        return len({utterance.speaker for utterance in self.utterances})


def score(pairs: Sequence[tuple[Utterance, str]], split: str) -> WerReport:
    """Compare hypotheses with references.

    The interval says how far the WER would move with other speakers: speakers are drawn with replacement
    2000 times, the WER of each draw is its edits over its reference words, and the interval runs from the
    2.5th to the 97.5th percentile. The seed is fixed and the order of the pairs does not matter. With one
    speaker utterances are drawn instead, which says nothing about other speakers; with one utterance the
    interval shrinks to the WER itself.

    Parameters
    ----------
    pairs : sequence of (Utterance, str)
        Each utterance with its hypothesis; an empty hypothesis deletes every word.
    split : str
        Name of the split.

    Returns
    -------
    WerReport
        Counts, rates and alignments.

    Raises
    ------
    InputError
        If there are no pairs, a reference has no words or an id comes twice.

    References
    ----------
    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", 2004.

    Examples
    --------
    >>> anna = Utterance("a1", 1.0, "a1.flac", "anna", "ONE TWO THREE FOUR")
    >>> bert = Utterance("b1", 1.0, "b1.flac", "bert", "FIVE SIX")
    >>> report = score([(anna, "ONE TWO TREE FOUR"), (bert, "FIVE SIX")], "test")
    >>> report.counts
    ErrorCounts(substitutions=1, deletions=0, insertions=0, hits=5)
    >>> report.low, report.high
    (0.0, 0.25)
    """
    if not pairs:
        raise InputError(f"split '{split}' has no utterances to score: check its manifest")
    ordered = sorted(pairs, key=lambda pair: pair[0].id)
    spoken = [utterance for utterance, _ in ordered]
    _check_references(spoken, split)
    references = [_single_spaced(utterance.words) for utterance in spoken]
    hypotheses = [_single_spaced(words) for _, words in ordered]
    aligned = jiwer.process_words(references, hypotheses)
    utterances = tuple(map(_score_utterance, spoken, references, hypotheses, aligned.alignments))
    counts = ErrorCounts(aligned.substitutions, aligned.deletions, aligned.insertions, aligned.hits)
    cer = float(jiwer.process_characters(references, hypotheses).cer)
    return WerReport(split, utterances, counts, *_interval(utterances), cer)


def report_row(report: WerReport) -> dict[str, float]:
    """Give the numbers of a report under the names they have in ``metrics.json``.

    Parameters
    ----------
    report : WerReport
        A scored split.

    Returns
    -------
    dict of str to float
        Rates (``wer``, ``low``, ``high``, ``cer``, ``sentence_error_rate``) in percent, rounded to four
        digits; the other entries are whole numbers.

    Examples
    --------
    >>> row = report_row(score([(Utterance("u1", 1.0, "u1.flac", "anna", "ONE TWO"), "ONE")], "test"))
    >>> row["wer"], row["deletions"], row["words"]
    (50.0, 1, 2)
    """
    rates = ("wer", "low", "high", "cer", "sentence_error_rate")
    return {name: round(100 * float(getattr(report, name)), 4) for name in rates} | {
        "substitutions": report.counts.substitutions,
        "deletions": report.counts.deletions,
        "insertions": report.counts.insertions,
        "words": report.counts.reference_words,
        "utterances": len(report.utterances),
        "speakers": report.speakers,
    }


def _single_spaced(words: str) -> str:
    """Words joined by one space, whatever white space stood between them."""
    return " ".join(words.split())


def _check_references(utterances: Iterable[Utterance], split: str) -> None:
    """Refuse what would make a rate meaningless: references without words, utterances counted twice."""
    seen: set[str] = set()
    for utterance in utterances:
        if not utterance.words.split():
            raise InputError(
                f"utterance '{utterance.id}' of split '{split}' has no reference words: give it a transcript "
                "or take it out of the manifest"
            )
        if utterance.id in seen:
            raise InputError(f"utterance '{utterance.id}' comes twice in split '{split}': make its ID unique")
        seen.add(utterance.id)


def _score_utterance(
    utterance: Utterance, reference: str, hypothesis: str, chunks: Iterable[jiwer.AlignmentChunk]
) -> UtteranceScore:
    """Spell out, word by word, the runs of equal operations that jiwer gives."""
    columns: list[AlignedWord] = []
    reference_words, hypothesis_words = reference.split(), hypothesis.split()
    for chunk in chunks:
        mark = _MARKS[chunk.type]
        left = reference_words[chunk.ref_start_idx : chunk.ref_end_idx]
        right = hypothesis_words[chunk.hyp_start_idx : chunk.hyp_end_idx]
        # A run has as many words on both sides, or none on one of them.
        columns += [AlignedWord(mark, *pair) for pair in zip_longest(left, right, fillvalue="")]
    marks = [column.mark for column in columns]
    return UtteranceScore(
        id=utterance.id,
        speaker=utterance.speaker,
        reference=reference,
        hypothesis=hypothesis,
        counts=ErrorCounts(marks.count("S"), marks.count("D"), marks.count("I"), marks.count("=")),
        alignment=tuple(columns),
    )


def _interval(utterances: Sequence[UtteranceScore]) -> tuple[float, float]:
    """Percentile bootstrap over speakers, or over utterances where there is one speaker."""
    one_speaker = len({utterance.speaker for utterance in utterances}) == 1
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for utterance in utterances:
        group = sums[utterance.id if one_speaker else utterance.speaker]
        group[0] += utterance.counts.edits
        group[1] += utterance.counts.reference_words
    # Sorted, so that the draws do not depend on who speaks first.
    edits_words = np.array([sums[name] for name in sorted(sums)])
    generator = np.random.default_rng(_SEED)
    # One draw at a time: a matrix of all draws would fill the memory on a long one-speaker corpus.
    drawn = (generator.integers(len(edits_words), size=len(edits_words)) for _ in range(RESAMPLES))
    totals = np.array([edits_words[rows].sum(axis=0) for rows in drawn])
    low, high = np.percentile(totals[:, 0] / totals[:, 1], [2.5, 97.5])
    return float(low), float(high)
