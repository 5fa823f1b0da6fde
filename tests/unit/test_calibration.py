"""Confidences judged: figures that are known beforehand, and what cannot be judged."""

import math

import numpy as np
import pytest

from hyperconformer.calibration import calibration, calibration_of, judge, reliability_table
from hyperconformer.errors import InputError
from hyperconformer.scoring import UtteranceScore, score
from hyperconformer.types import Utterance, Word


def scored(reference: str, hypothesis: str) -> UtteranceScore:
    return score([(Utterance("u1", 1.0, "", "anna", reference), hypothesis)], "test").utterances[0]


def said(**confidences: float) -> list[Word]:
    return [Word(text, 0.0, 0.1, confidence) for text, confidence in confidences.items()]


@pytest.mark.parametrize("shift", [0.0, 0.1, -0.2])
def test_the_error_is_what_was_put_in(shift: float) -> None:
    """Of many words said with c, the share c - shift is right."""
    generator = np.random.default_rng(0)
    confidences = generator.choice([0.35, 0.55, 0.75], size=60_000)
    right = generator.random(60_000) < confidences - shift
    report = calibration(confidences.tolist(), right.tolist())
    assert report.ece == pytest.approx(abs(shift), abs=0.01)
    assert report.confidence - report.right / report.words == pytest.approx(shift, abs=0.01)


def test_over_and_under_confidence_do_not_cancel() -> None:
    report = calibration([0.95] * 10 + [0.15] * 10, [True, False] * 10)
    assert report.ece == pytest.approx((0.45 + 0.35) / 2)


def test_edges_of_bins() -> None:
    report = calibration([0.0, 0.3, 0.9, 1.0], [False, True, True, True])
    assert [row.words for row in report.bins] == [1, 0, 0, 1, 0, 0, 0, 0, 0, 2]
    assert math.isnan(report.bins[1].right)


def test_cross_entropy_is_one_for_oracles_and_zero_for_the_base_rate() -> None:
    assert calibration([1.0, 1.0, 0.0], [True, True, False]).nce == pytest.approx(1.0, abs=1e-3)
    assert calibration([0.75] * 4, [True, True, True, False]).nce == pytest.approx(0.0)
    assert calibration([0.1, 0.9], [True, False]).nce < 0


def test_without_mistakes_there_is_nothing_to_tell_apart() -> None:
    report = calibration([0.9, 0.8], [True, True])
    assert math.isnan(report.nce) and math.isnan(report.auc) and report.ece == pytest.approx(0.15)


def test_words_are_judged_along_the_edits() -> None:
    pair = scored("A B C D", "A X C E F"), said(A=0.9, X=0.2, C=0.8, E=0.3, F=0.1)
    assert judge(*pair) == [(0.9, True), (0.2, False), (0.8, True), (0.3, False), (0.1, False)]
    missing = scored("A B", "B"), said(B=0.7)
    report = calibration_of([pair, missing, (scored("A", ""), [])])
    assert (report.words, report.right) == (6, 3)


def test_the_table_leaves_empty_bins_out() -> None:
    lines = reliability_table(calibration([0.5, 0.95], [True, True])).splitlines()
    assert [line[:12] for line in lines[2:]] == ["0.50 to 0.60", "0.90 to 1.00"]


def test_what_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="every hypothesis is empty"):
        calibration_of([(scored("A", ""), [])])
    with pytest.raises(ValueError, match="2 confidences for 1 words"):
        calibration([0.5, 0.6], [True])
    for wrong in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            calibration([0.5, wrong], [True, True])
    with pytest.raises(ValueError, match="utterance 'u1': the words 'B' are not its hypothesis 'A'"):
        judge(scored("A", "A"), said(B=0.5))
