"""The two tests against SciPy's, against brute force and against systems that are equal or not."""

import itertools
import random

import numpy as np
import pytest

from hyperconformer import significance
from hyperconformer.errors import InputError
from hyperconformer.scoring import WerReport, score
from hyperconformer.significance import Comparison, compare_runs
from hyperconformer.types import Utterance

SPEAKERS, UTTERANCES, WORDS = 12, 10, 8


def heard(rate: float, seed: int, speakers: int = SPEAKERS, prefix: str = "s") -> WerReport:
    """A split of which a system drops words, each speaker's at a rate of its own around this one."""
    generator = random.Random(seed)
    pairs = []
    for speaker in range(speakers):
        hard = random.Random(speaker).uniform(0.2, 1.8)
        for index in range(UTTERANCES):
            name = f"{prefix}{speaker}" if speakers > 1 else "anna"
            utterance = Utterance(f"{speaker:03d}-{index}", 1.0, "", name, "WORD " * WORDS)
            kept = ["WORD" for _ in range(WORDS) if generator.random() >= rate * hard]
            pairs.append((utterance, " ".join(kept)))
    return score(pairs, "test")


def edits_by_speaker(report: WerReport) -> np.ndarray:
    sums: dict[str, int] = {}
    for utterance in report.utterances:
        sums[utterance.speaker] = sums.get(utterance.speaker, 0) + utterance.counts.edits
    return np.array([sums[name] for name in sorted(sums)])


@pytest.fixture(scope="module")
def pair() -> tuple[WerReport, WerReport]:
    return heard(0.2, seed=1), heard(0.16, seed=2)


def test_the_numbers_of_a_comparison(pair: tuple[WerReport, WerReport]) -> None:
    a, b = pair
    found = compare_runs([a], [b])
    assert (found.utterances, found.words, found.groups) == (120, 960, SPEAKERS) and found.speakers
    assert found.difference == pytest.approx(b.wer - a.wer)
    assert found.low < found.difference < found.high
    fewer = sum(y.counts.edits < x.counts.edits for x, y in zip(a.utterances, b.utterances, strict=True))
    assert found.better == fewer and found.better + found.worse <= 120


def test_changing_over_a_and_b_turns_everything_round(pair: tuple[WerReport, WerReport]) -> None:
    found, turned = compare_runs(*([report] for report in pair)), compare_runs([pair[1]], [pair[0]])
    assert turned.difference == -found.difference
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert turned.chance_b_better == pytest.approx(1 - found.chance_b_better)
    assert (turned.p_bootstrap, turned.p_permutation) == (found.p_bootstrap, found.p_permutation)
    assert (turned.better, turned.worse) == (found.worse, found.better)


def test_the_interval_is_scipys(pair: tuple[WerReport, WerReport]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = compare_runs(*([report] for report in pair))
    edits_a, edits_b = map(edits_by_speaker, pair)
    words = np.full(SPEAKERS, UTTERANCES * WORDS)
    result = stats.bootstrap(
        (edits_a, edits_b, words),
        lambda a, b, words, axis: (b - a).sum(axis) / words.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=20000,
        rng=np.random.default_rng(7),
    )
    low, high = result.confidence_interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert found.chance_b_better == pytest.approx((result.bootstrap_distribution < 0).mean(), abs=0.02)


def permutation_p(differences: np.ndarray) -> float:
    """Every way to change over the systems, one at a time."""
    seen = abs(differences.sum())
    flips = itertools.product([1, -1], repeat=len(differences))
    sums = [abs(sum(sign * value for sign, value in zip(signs, differences, strict=True))) for signs in flips]
    return sum(total >= seen for total in sums) / len(sums)


def test_few_speakers_are_permuted_in_every_way(pair: tuple[WerReport, WerReport]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = compare_runs(*([report] for report in pair))
    edits_a, edits_b = map(edits_by_speaker, pair)
    assert found.p_permutation == pytest.approx(permutation_p(edits_b - edits_a))
    changed = int((edits_a != edits_b).sum())
    assert found.p_least == 2 / 2**changed
    result = stats.permutation_test(
        (edits_a, edits_b), lambda a, b, axis: (b - a).sum(axis), permutation_type="samples",
        vectorized=True, n_resamples=np.inf,
    )  # fmt: skip
    assert found.p_permutation == pytest.approx(result.pvalue)


def test_many_speakers_are_permuted_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(0).integers(-9, 7, size=13).astype(float)
    exact, _ = significance._permute(differences)
    monkeypatch.setattr(significance, "RESAMPLES", 8000)
    drawn, least = significance._permute(differences)
    assert drawn != exact and drawn == pytest.approx(exact, abs=0.02) and least == 1 / 8001


def test_equal_systems_differ_in_nothing(pair: tuple[WerReport, WerReport]) -> None:
    found = compare_runs([pair[0]], [pair[0]])
    assert (found.difference, found.low, found.high, found.chance_b_better) == (0, 0, 0, 0.5)
    assert found.p_bootstrap == found.p_permutation == 1


def test_equally_good_systems_seldom_seem_to_differ() -> None:
    """Of 60 pairs of equal systems about three should come under 0.05; the bootstrap is a little bold."""
    found = [compare_runs([heard(0.2, seed=n)], [heard(0.2, seed=1000 + n)]) for n in range(60)]
    assert sum(each.p_permutation < 0.05 for each in found) <= 8
    assert sum(each.p_bootstrap < 0.05 for each in found) <= 10
    assert sum(each.low <= 0 <= each.high for each in found) >= 50


def test_a_clear_difference_is_seen() -> None:
    found = compare_runs([heard(0.3, seed=1)], [heard(0.1, seed=2)])
    assert found.high < 0 and found.chance_b_better == 1
    assert max(found.p_bootstrap, found.p_permutation) < 0.001


def test_with_one_speaker_utterances_are_drawn() -> None:
    found = compare_runs([heard(0.3, 1, speakers=1)], [heard(0.1, 2, speakers=1)])
    assert not found.speakers and found.groups == found.utterances == UTTERANCES
    assert found.low < found.high


def test_runs_that_differ_widen_the_interval() -> None:
    """With speakers who are all alike, only the runs are left: n of them vary by s / sqrt(n)."""
    words = np.full((1, 5), 100.0)
    edits_a = np.array([[10.0] * 5, [14.0] * 5, [18.0] * 5, [14.0] * 5])
    generator = np.random.default_rng(0)
    drawn = significance.mean_over_drawn_runs(np.tile(edits_a[:, 0] / 100, (20_000, 1)), generator)
    assert drawn.mean() == pytest.approx(0.14, abs=0.001)
    assert drawn.std() == pytest.approx(np.std([0.1, 0.14, 0.18, 0.14], ddof=1) / 2, rel=0.02)
    low, high, _, _ = significance._bootstrap(edits_a, edits_a[1:2], words)
    assert low < -0.02 and high > 0.02
    alone = significance._bootstrap(edits_a[1:2], edits_a[1:2], words)
    assert alone[:2] == (0, 0)


def test_runs_enter_with_their_mean() -> None:
    runs = [heard(0.2, seed=n) for n in range(3)]
    found = compare_runs(runs, runs[:1])
    assert found.wers_a == tuple(run.wer for run in runs) and found.wer_a == pytest.approx(
        np.mean(found.wers_a)
    )
    assert found.wers_b == (runs[0].wer,)


def test_two_thousand_utterances_of_one_speaker_fit_into_memory() -> None:
    edits = np.ones((1, 2000))
    assert isinstance(significance._bootstrap(edits, edits, edits)[0], float)


@pytest.mark.parametrize(
    ("words", "name", "speaker", "message"),
    [
        ("ONE", "u2", "anna", "2 utterances, for instance 'u1', are in one run and not in the other"),
        ("TWO", "u1", "anna", "the reference of utterance 'u1' is 'ONE' in one run and 'TWO' in the other"),
        ("ONE", "u1", "bert", "the speaker of utterance 'u1' is 'anna' in one run and 'bert'"),
    ],
)
def test_what_is_not_the_same_test_is_not_compared(words: str, name: str, speaker: str, message: str) -> None:
    one = score([(Utterance("u1", 1.0, "", "anna", "ONE"), "ONE")], "dev")
    other = score([(Utterance(name, 1.0, "", speaker, words), "ONE")], "dev")
    with pytest.raises(InputError, match=f"split 'dev': {message}"):
        compare_runs([one], [other])
    with pytest.raises(InputError, match=message):
        compare_runs([one, other], [one])


def test_a_comparison_is_made_again_the_same(pair: tuple[WerReport, WerReport]) -> None:
    found = [compare_runs(*([report] for report in pair)) for _ in range(2)]
    assert found[0] == found[1] and isinstance(found[0], Comparison)
