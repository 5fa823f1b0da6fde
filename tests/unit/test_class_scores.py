"""Accuracy, F1, confusions and intervals against slow counts; texts of no class against all pairs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperconformer.class_scores import (
    Confusion,
    class_metrics,
    judge,
    stranger_auroc,
    stranger_metrics,
    stranger_report,
    write_predictions,
)
from hyperconformer.errors import InputError

LABELS = ("a", "b", "c", "d")
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)
SURE = st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]), min_size=1, max_size=40)


def slow_f1(pairs: list[tuple[int, int]]) -> float:
    """Macro-F1 as it is defined, class by class."""
    scores = []
    for label in range(len(LABELS)):
        hits = sum(true == taken == label for true, taken in pairs)
        of_it = sum(true == label for true, _ in pairs)
        taken_for_it = sum(taken == label for _, taken in pairs)
        if of_it or taken_for_it:
            precision = hits / taken_for_it if taken_for_it else 0.0
            recall = hits / of_it if of_it else 0.0
            scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return sum(scores) / len(scores)


@given(PAIRS)
def test_rates_are_those_of_slow_counts(pairs: list[tuple[int, int]]) -> None:
    report = judge("test", *zip(*pairs, strict=True), LABELS)
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    assert (report.texts, report.wrong) == (len(pairs), len(wrong))
    assert report.accuracy == pytest.approx(1 - len(wrong) / len(pairs))
    assert report.low <= report.accuracy <= report.high
    assert report.macro_f1 == pytest.approx(slow_f1(pairs))
    assert sum(said.texts for said in report.confusions) == len(wrong)
    counts = [said.texts for said in report.confusions]
    assert counts == sorted(counts, reverse=True)
    for said in report.confusions:
        assert said.texts == wrong.count((LABELS.index(said.label), LABELS.index(said.predicted)))


def test_the_interval_is_that_of_texts_drawn_with_replacement() -> None:
    right = np.arange(400) % 10 != 0
    report = judge("test", [0] * 400, [0 if one else 1 for one in right], LABELS)
    rng = np.random.default_rng(7)
    means = right[rng.integers(400, size=(4000, 400))].mean(axis=1)
    assert (report.low, report.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=0.004)


@pytest.mark.parametrize(("texts", "width"), [(1, 0.975), (10, 0.3085), (1000, 0.003682)])
def test_the_interval_has_a_width_where_all_texts_are_right_or_wrong(texts: int, width: float) -> None:
    right, wrong = (judge("test", [0] * texts, [taken] * texts, LABELS) for taken in (0, 1))
    assert (right.low, right.high) == pytest.approx((1 - width, 1), abs=1e-4)
    assert (wrong.low, wrong.high) == pytest.approx((0, width), abs=1e-4)


def test_the_report_names_what_was_taken_for_what() -> None:
    report = judge("test", [0, 0, 0, 1, 1, 2], [1, 1, 0, 1, 0, 2], LABELS)
    lines = list(report.lines())
    assert lines[0].startswith("test: accuracy 50.00 % (95 % interval ") and "3 of 6 texts" in lines[1]
    assert report.confusions == [Confusion("a", "b", 2), Confusion("b", "a", 1)]
    assert lines[2:4] == ["     2  a taken for b", "     1  b taken for a"]
    assert [row.label for row in report.classes] == ["a", "b", "c"], "no text is of d, none was taken for it"
    assert lines[-1].split() == ["c", "1", "100.00", "100.00", "100.00"]
    assert class_metrics(report)["accuracy"] == 50.0


def test_a_split_without_texts_is_refused() -> None:
    with pytest.raises(InputError, match="split 'test' has no texts"):
        judge("test", [], [], LABELS)


@given(SURE, SURE)
def test_the_area_is_the_share_of_pairs_in_the_right_order(
    known: list[float], strangers: list[float]
) -> None:
    pairs = [(one, other) for one in known for other in strangers]
    won = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one, other in pairs)
    assert stranger_auroc(known, strangers) == pytest.approx(won / len(pairs))


@given(SURE)
def test_the_threshold_keeps_so_many_and_is_the_highest_that_does(valid: list[float]) -> None:
    threshold = stranger_report([0.5], [0.5], valid=valid).threshold
    needed = 0.95 * len(valid) - 1e-9
    assert sum(one >= threshold for one in valid) >= needed
    above = [one for one in valid if one > threshold]
    assert len(above) < needed


def test_strangers_below_the_threshold_are_rejected() -> None:
    valid = [n / 100 for n in range(1, 101)]
    report = stranger_report([0.5, 0.01, 0.9, 0.8], [0.02, 0.03, 0.5, 0.04], valid=valid)
    assert (report.threshold, report.rejected, report.kept) == (0.06, 0.75, 0.75)
    row = stranger_metrics(report)
    assert row == {"texts": 4, "auroc": 71.875, "threshold": 0.06, "rejected": 75.0, "kept": 75.0}


def test_predictions_stay_a_line_a_text(tmp_path: Path) -> None:
    path = tmp_path / "predictions.tsv"
    write_predictions(
        path, [{"text": "one\ttwo\nthree", "probability": 0.5}, {"text": "", "probability": 1e-9}]
    )
    assert path.read_text() == "text\tprobability\none two three\t0.5\n\t1e-09\n"
