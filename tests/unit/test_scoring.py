"""WER against numbers worked out by hand, a plain dynamic programme and SciPy's bootstrap."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from hyperconformer.errors import InputError
from hyperconformer.scoring import ErrorCounts, WerReport, report_row, score
from hyperconformer.types import Utterance
from hyperconformer.wer_files import write_wer

Pair = tuple[Utterance, str]


def pair(name: str, reference: str, hypothesis: str, speaker: str = "anna") -> Pair:
    """Make an utterance with its hypothesis."""
    return Utterance(name, 1.0, f"{name}.flac", speaker, reference), hypothesis


@pytest.fixture
def report() -> WerReport:
    """Two speakers, three utterances, each kind of mistake."""
    return score(
        [
            pair("b-1", "SEVEN EIGHT", "SEVEN EIGHT", "bert"),
            pair("a-2", "FIVE SIX", "", "anna"),
            pair("a-1", "ONE TWO THREE FOUR", "OH ONE TOO THREE FOUR", "anna"),
        ],
        "test-clean",
    )


@pytest.fixture(scope="module")
def noisy_pairs(shared_data: Path) -> list[Pair]:
    """Transcripts of dev-clean with words dropped, doubled and changed, each speaker at a rate of its own."""
    generator = random.Random(0)
    pairs = []
    for file in sorted((shared_data / "LibriSpeech" / "dev-clean").glob("*/*/*.trans.txt")):
        speaker = file.parts[-3]
        rate = random.Random(speaker).uniform(0.01, 0.2)
        for line in file.read_text().splitlines():
            name, reference = line.split(" ", 1)
            heard = []
            for word in reference.split():
                slip = generator.choice([[], [word, word], ["UH"]])
                heard += slip if generator.random() < rate else [word]
            pairs.append(pair(name, reference, " ".join(heard), speaker))
    return pairs


def test_counts_by_hand(report: WerReport) -> None:
    """Each mistake is counted once, per utterance and in all."""
    assert [utterance.id for utterance in report.utterances] == ["a-1", "a-2", "b-1"]
    assert report.utterances[0].counts == ErrorCounts(substitutions=1, deletions=0, insertions=1, hits=3)
    assert report.utterances[1].counts == ErrorCounts(substitutions=0, deletions=2, insertions=0, hits=0)
    assert report.counts == ErrorCounts(substitutions=1, deletions=2, insertions=1, hits=5)
    assert report.wer == 4 / 8
    assert report.sentence_error_rate == 2 / 3
    assert (report.low, report.high) == (0.0, 4 / 6)


def test_characters_by_hand() -> None:
    """The space is a character: ONE TWO against ONETWO is one deletion in seven."""
    report = score([pair("a", "ONE TWO", "ONETWO"), pair("b", "SIX", "SEX")], "test")
    assert report.cer == 2 / 10


def test_comparison_is_literal() -> None:
    """Case and punctuation count, white space does not."""
    assert score([pair("a", "One two.", "one two")], "test").wer == 1.0
    assert score([pair("a", " ONE\tTWO\n", "ONE \u3000 TWO")], "test").wer == 0.0


def test_wer_may_exceed_one() -> None:
    """Insertions have no bound."""
    assert score([pair("a", "ONE", "TWO THREE FOUR")], "test").wer == 3.0


def test_order_does_not_matter(report: WerReport) -> None:
    """Searches sort by length, a report does not remember it."""
    pairs = [
        (Utterance(u.id, 1.0, f"{u.id}.flac", u.speaker, u.reference), u.hypothesis)
        for u in reversed(report.utterances)
    ]
    assert score(pairs, "test-clean") == report


def test_bad_input_is_refused() -> None:
    """Nothing to score, nothing to score against, and an utterance counted twice."""
    with pytest.raises(InputError, match="split 'dev' has no utterances"):
        score([], "dev")
    with pytest.raises(InputError, match="utterance 'b' of split 'dev' has no reference words"):
        score([pair("a", "ONE", "ONE"), pair("b", " ", "ONE")], "dev")
    with pytest.raises(InputError, match="utterance 'a' comes twice in split 'dev'"):
        score([pair("a", "ONE", "ONE"), pair("a", "ONE", "ONE")], "dev")


def test_one_speaker_draws_utterances() -> None:
    """An interval over one speaker would be a point; over utterances it is not."""
    pairs = [pair(f"u{index}", "ONE TWO", "ONE TWO" if index % 2 else "ONE") for index in range(20)]
    report = score(pairs, "test")
    assert report.low < report.wer < report.high
    lone = score(pairs[:1], "test")
    assert lone.low == lone.wer == lone.high == 0.5


def test_interval_is_scipys(noisy_pairs: list[Pair]) -> None:
    """SciPy's percentile bootstrap over the same speakers gives the same ends, to a tenth of the width."""
    stats = pytest.importorskip("scipy.stats")
    report = score(noisy_pairs, "dev-clean")
    assert report.low < report.wer < report.high
    sums = {
        speaker: np.sum(
            [(u.counts.edits, u.counts.reference_words) for u in report.utterances if u.speaker == speaker],
            axis=0,
        )
        for speaker in {u.speaker for u in report.utterances}
    }
    edits, words = np.array(list(sums.values())).T
    result = stats.bootstrap(
        (edits, words),
        lambda edits, words, axis: edits.sum(axis) / words.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=20000,
        rng=np.random.default_rng(7),
    )
    width = result.confidence_interval.high - result.confidence_interval.low
    assert report.low == pytest.approx(result.confidence_interval.low, abs=0.1 * width)
    assert report.high == pytest.approx(result.confidence_interval.high, abs=0.1 * width)


def test_speakers_widen_the_interval(noisy_pairs: list[Pair]) -> None:
    """Where speakers differ, pretending that there is one makes the interval too narrow."""
    report = score(noisy_pairs, "dev-clean")
    merged = score([pair(u.id, u.words, hypothesis) for u, hypothesis in noisy_pairs], "dev-clean")
    assert merged.counts == report.counts
    assert merged.high - merged.low < 0.5 * (report.high - report.low)


def test_file(report: WerReport, tmp_path: Path) -> None:
    """The file, letter by letter."""
    path = tmp_path / "new" / "wer_test-clean.txt"
    write_wer(report, path)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "%WER 50.00 [ 4 / 8, 1 ins, 2 del, 1 sub ] 95% [0.00, 66.67]",
        "%SER 66.67 [ 2 / 3 ]",
        f"%CER {100 * 12 / 37:.2f}",
        "split test-clean, interval over 2 speakers; = hit, S substitution, I insertion, D deletion",
        "",
        "a-1 %WER 50.00 [ 2 / 4, 1 ins, 0 del, 1 sub ]",
        "ref  **  ONE  TWO  THREE  FOUR",
        "     I   =    S    =      =",
        "hyp  OH  ONE  TOO  THREE  FOUR",
        "",
        "a-2 %WER 100.00 [ 2 / 2, 0 ins, 2 del, 0 sub ]",
        "ref  FIVE  SIX",
        "     D     D",
        "hyp  ****  ***",
        "",
        "b-1 %WER 0.00 [ 0 / 2, 0 ins, 0 del, 0 sub ]",
        "ref  SEVEN  EIGHT",
        "     =      =",
        "hyp  SEVEN  EIGHT",
    ]


def test_row_is_json(report: WerReport) -> None:
    """Percent for rates, whole numbers for counts, and nothing NumPy-like."""
    row = report_row(report)
    assert json.loads(json.dumps(row)) == row
    assert row == {
        "wer": 50.0,
        "low": 0.0,
        "high": 66.6667,
        "cer": round(100 * 12 / 37, 4),
        "sentence_error_rate": 66.6667,
        "substitutions": 1,
        "deletions": 2,
        "insertions": 1,
        "words": 8,
        "utterances": 3,
        "speakers": 2,
    }
    assert all(type(row[name]) is int for name in ("words", "utterances", "speakers", "insertions"))
