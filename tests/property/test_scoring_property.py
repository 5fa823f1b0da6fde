"""WER against the slow truth, on anything."""

import jiwer
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.scoring import WerReport, score
from hyperconformer.types import Utterance

WORD = st.sampled_from(["A", "B", "AB", "É", "A.", "a", "I'M"])
REFERENCE = st.lists(WORD, min_size=1, max_size=8).map(" ".join)
HYPOTHESIS = st.lists(WORD, max_size=8).map(" ".join)
SPLIT = st.lists(st.tuples(st.sampled_from("XYZ"), REFERENCE, HYPOTHESIS), min_size=1, max_size=10)

Row = tuple[str, str, str]


def scored(rows: list[Row]) -> WerReport:
    """Score rows of speaker, reference and hypothesis."""
    pairs = [
        (Utterance(f"u{index:02d}", 1.0, "", speaker, reference), hypothesis)
        for index, (speaker, reference, hypothesis) in enumerate(rows)
    ]
    return score(pairs, "test")


def fewest_edits(reference: str | list[str], hypothesis: str | list[str]) -> int:
    """Levenshtein distance by the textbook's table, one cell at a time."""
    table = [[row + column for column in range(len(hypothesis) + 1)] for row in range(len(reference) + 1)]
    for row, left in enumerate(reference, start=1):
        for column, right in enumerate(hypothesis, start=1):
            table[row][column] = min(
                table[row - 1][column] + 1,
                table[row][column - 1] + 1,
                table[row - 1][column - 1] + (left != right),
            )
    return table[-1][-1]


@settings(deadline=None, max_examples=50)
@given(rows=SPLIT)
def test_edits_are_the_fewest(rows: list[Row]) -> None:
    """Every utterance has as few edits as the table finds, and the totals are their sums."""
    report = scored(rows)
    for (_, reference, hypothesis), utterance in zip(rows, report.utterances, strict=True):
        assert utterance.counts.edits == fewest_edits(reference.split(), hypothesis.split())
        assert utterance.counts.reference_words == len(reference.split())
    for name in ("substitutions", "deletions", "insertions", "hits", "edits", "reference_words"):
        assert getattr(report.counts, name) == sum(getattr(u.counts, name) for u in report.utterances)


@settings(deadline=None, max_examples=50)
@given(rows=SPLIT)
def test_rates_are_jiwers(rows: list[Row]) -> None:
    """The whole split at once: words by jiwer, characters by the table."""
    report = scored(rows)
    references, hypotheses = [row[1] for row in rows], [row[2] for row in rows]
    assert report.wer == jiwer.wer(references, hypotheses)
    edits = sum(map(fewest_edits, references, hypotheses))
    assert report.cer == edits / sum(map(len, references))


@settings(deadline=None, max_examples=50)
@given(rows=SPLIT)
def test_alignments_spell_both_sides(rows: list[Row]) -> None:
    """Read along one row, an alignment gives the reference; along the other, the hypothesis."""
    for (_, reference, hypothesis), utterance in zip(rows, scored(rows).utterances, strict=True):
        columns = utterance.alignment
        assert " ".join(column.reference for column in columns if column.mark != "I") == reference
        assert " ".join(column.hypothesis for column in columns if column.mark != "D") == hypothesis
        for mark, left, right in columns:
            assert mark == ("I" if not left else "D" if not right else "=" if left == right else "S")


@settings(deadline=None, max_examples=20)
@given(rows=SPLIT)
def test_interval_lies_between_the_speakers(rows: list[Row]) -> None:
    """A pooled rate is a weighted mean: no draw of speakers beats the best or undercuts the worst."""
    report = scored(rows)
    speakers = {row[0] for row in rows}
    # With one speaker utterances are drawn.
    groups = [[row for row in rows if row[0] == name] for name in speakers]
    if len(speakers) == 1:
        groups = [[row] for row in rows]
    rates = [scored(group).wer for group in groups]
    slack = 1e-12
    assert min(rates) - slack <= report.low <= report.high <= max(rates) + slack
    assert report.low - slack <= report.wer <= report.high + slack
    again = scored(rows)
    assert (again.low, again.high) == (report.low, report.high)
