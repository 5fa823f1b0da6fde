"""Whether one system is better than another: two tests on what both heard of the same utterances.

Groups are drawn, not words: mistakes of one speaker come together, so groups are speakers, and utterances
only where there is one speaker. Rates are fractions; seeds are fixed.

*Bootstrap.* Each of 10,000 draws takes groups with replacement, the same for every run of both systems, and
runs of each system with replacement; a run's distance from its system's mean is widened by sqrt(n / (n - 1)),
for n drawn runs vary that much too little. The interval is the middle 95 % of the differences. (Two or three
runs say little about the tails all the same: take it as the least that it may be.)

*Permutation.* The systems change places in every subset of the groups, or in 10,000 random ones where there
are more; p is the share of subsets that make the difference at least as clear.

References
----------
Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", 2004.
Pitman, "Significance tests which may be applied to samples from any populations", 1937.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperconformer.errors import InputError
from hyperconformer.scoring import WerReport

RESAMPLES = 10_000
CHUNK = 500
_SEED = 1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """System B against system A; each may be several runs.

    Attributes
    ----------
    utterances, words, groups : int
        Of the test; groups are what is drawn: speakers, or utterances where there is one speaker.
    speakers : bool
        Whether the groups are speakers.
    wers_a, wers_b : tuple of float
        WER of every run.
    low, high : float
        95 % interval of the difference of the mean WERs, B minus A, over other speakers and, where there
        are several runs, other runs.
    chance_b_better : float
        Share of the draws in which B has the lower WER; half of the ties count.
    p_bootstrap : float
        Two-sided: how likely so clear a difference would be among equal systems, by the same draws.
    p_permutation : float
        The same by changing over the two systems, group by group; of these runs only.
    p_least : float
        What the permutation test can give at the least: few speakers cannot show much.
    better, worse : int
        Utterances in which B makes fewer, and more, mistakes than A in the mean of the runs.

    Examples
    --------
    >>> Comparison(9, 40, 3, True, (0.2,), (0.1, 0.3), -0.1, 0.1, 0.5, 1.0, 1.0, 0.25, 2, 2).difference
    0.0
    """

    utterances: int
    words: int
    groups: int
    speakers: bool
    wers_a: tuple[float, ...]
    wers_b: tuple[float, ...]
    low: float
    high: float
    chance_b_better: float
    p_bootstrap: float
    p_permutation: float
    p_least: float
    better: int
    worse: int

    @property
    def wer_a(self) -> float:
        """Mean WER of A's runs."""
        return float(np.mean(self.wers_a))

    @property
    def wer_b(self) -> float:
        """Mean WER of B's runs."""
        return float(np.mean(self.wers_b))

    @property
    def difference(self) -> float:
        """Mean WER of B minus that of A; below zero where B is better."""
        return self.wer_b - self.wer_a


def compare_runs(a: Sequence[WerReport], b: Sequence[WerReport]) -> Comparison:
    """Compare two systems on the same utterances.

    Parameters
    ----------
    a, b : sequence of WerReport
        A report for every run.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If two reports are not of the same utterances, references and speakers.

    Examples
    --------
    >>> from hyperconformer.scoring import score
    >>> from hyperconformer.types import Utterance
    >>> spoken = [Utterance(f"u{n}", 1.0, "", f"speaker {n}", "ONE TWO") for n in range(8)]
    >>> a = score([(utterance, "ONE") for utterance in spoken], "test")
    >>> b = score([(utterance, "ONE TWO") for utterance in spoken], "test")
    >>> found = compare_runs([a], [b])
    >>> found.difference, found.high, found.chance_b_better, found.p_permutation == 2 / 2**8
    (-0.5, -0.5, 1.0, True)
    """
    first = a[0]
    for other in [*a[1:], *b]:
        _check_same(first, other)
    speakers = first.speakers > 1
    edits_a, edits_b = _edits(a), _edits(b)
    words = np.array([utterance.counts.reference_words for utterance in first.utterances], dtype=float)
    names = [u.speaker if speakers else u.id for u in first.utterances]
    _, group_of = np.unique(names, return_inverse=True)
    difference_u = edits_b.mean(axis=0) - edits_a.mean(axis=0)
    by_group = [_sums(rows, group_of) for rows in (edits_a, edits_b, words[None])]
    low, high, chance, p_bootstrap = _bootstrap(*by_group)
    p_permutation, p_least = _permute(by_group[1].mean(axis=0) - by_group[0].mean(axis=0))
    return Comparison(
        utterances=len(words),
        words=int(words.sum()),
        groups=int(group_of.max()) + 1,
        speakers=speakers,
        wers_a=tuple(report.wer for report in a),
        wers_b=tuple(report.wer for report in b),
        low=low,
        high=high,
        chance_b_better=chance,
        p_bootstrap=p_bootstrap,
        p_permutation=p_permutation,
        p_least=p_least,
        better=int((difference_u < 0).sum()),
        worse=int((difference_u > 0).sum()),
    )


def _check_same(one: WerReport, other: WerReport) -> None:
    """Refuse reports that are not of the same test."""
    left = {utterance.id: utterance for utterance in one.utterances}
    right = {utterance.id: utterance for utterance in other.utterances}
    if left.keys() != right.keys():
        odd = left.keys() ^ right.keys()
        raise InputError(
            f"split '{one.split}': {len(odd)} utterances, for instance '{min(odd)}', are in one run and "
            "not in the other: test both on the same data"
        )
    for name, utterance in left.items():
        for what in ("reference", "speaker"):
            here, there = getattr(utterance, what), getattr(right[name], what)
            if here != there:
                raise InputError(
                    f"split '{one.split}': the {what} of utterance '{name}' is '{here}' in one run and "
                    f"'{there}' in the other: test both on the same data"
                )


def _edits(reports: Sequence[WerReport]) -> Floats:
    """Edits, (runs, utterances); utterances are sorted by id in every report."""
    return np.array(
        [[utterance.counts.edits for utterance in report.utterances] for report in reports], float
    )


def _sums(rows: Floats, group_of: npt.NDArray[np.intp]) -> Floats:
    """Sums over the utterances of each group, (runs, groups)."""
    return np.array([np.bincount(group_of, weights=row) for row in rows])


def _bootstrap(edits_a: Floats, edits_b: Floats, words: Floats) -> tuple[float, float, float, float]:
    """Interval of the difference, chance that B is better, and p, from draws of groups and runs."""
    drawn_a, drawn_b = drawn_rates([edits_a, edits_b], words)
    differences = drawn_b - drawn_a
    low, high = np.percentile(differences, [2.5, 97.5])
    below, above = int((differences < 0).sum()), int((differences > 0).sum())
    chance = (below + (RESAMPLES - below - above) / 2) / RESAMPLES
    p = 2 * (RESAMPLES - max(below, above) + 1) / (RESAMPLES + 1)
    return float(low), float(high), chance, min(1.0, p)


def drawn_rates(systems: Sequence[Floats], words: Floats) -> list[Floats]:
    """Draw groups, the same for all systems, and each system's runs: its mean rate in every draw.

    Parameters
    ----------
    systems : sequence of array, shapes (runs, groups)
        Mistakes of every run of each system in each group.
    words : array, shape (1, groups)
        What could be mistaken there.

    Returns
    -------
    list of array, shapes (10,000,)

    Examples
    --------
    >>> wrong, right = np.ones((2, 9)), np.zeros((3, 9))
    >>> [float(rates.max()) for rates in drawn_rates([wrong, right], np.ones((1, 9)))]
    [1.0, 0.0]
    """
    generator = np.random.default_rng(_SEED)
    groups = words.shape[1]
    draws: list[list[Floats]] = []
    # In pieces: all draws at once would fill the memory where utterances are drawn.
    for _ in range(RESAMPLES // CHUNK):
        drawn = generator.integers(groups, size=(CHUNK, groups)) + groups * np.arange(CHUNK)[:, None]
        times = np.bincount(drawn.ravel(), minlength=CHUNK * groups).reshape(CHUNK, groups)
        drawn_words = times @ words.T
        draws.append([mean_over_drawn_runs(times @ edits.T / drawn_words, generator) for edits in systems])
    return [np.concatenate(pieces) for pieces in zip(*draws, strict=True)]


def mean_over_drawn_runs(wers: Floats, generator: np.random.Generator) -> Floats:
    """Draw runs with replacement for every draw of the groups, and take their mean.

    Parameters
    ----------
    wers : array, shape (draws, runs)
    generator : numpy.random.Generator

    Returns
    -------
    array, shape (draws,)
        Distances from the mean of all runs widened, as this module says.

    Examples
    --------
    >>> mean_over_drawn_runs(np.array([[0.5], [0.25]]), np.random.default_rng(0))
    array([0.5 , 0.25])
    """
    runs = wers.shape[1]
    mean = wers.mean(axis=1)
    if runs == 1:
        return mean
    drawn = np.take_along_axis(wers, generator.integers(runs, size=wers.shape), axis=1).mean(axis=1)
    return mean + np.sqrt(runs / (runs - 1)) * (drawn - mean)


def _permute(differences: Floats) -> tuple[float, float]:
    """Two-sided p of a sum of differences whose signs mean nothing, and the least it could have been."""
    differences = differences[differences != 0]
    count = len(differences)
    if count == 0:
        return 1.0, 1.0
    seen = abs(differences.sum()) * (1 - 1e-9)
    if 2**count <= RESAMPLES:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((abs(signs @ differences) >= seen).mean()), 2 / 2**count
    generator = np.random.default_rng(_SEED)
    as_clear = 0
    for _ in range(RESAMPLES // CHUNK):
        signs = 1 - 2 * generator.integers(2, size=(CHUNK, count))
        as_clear += int((abs(signs @ differences) >= seen).sum())
    return (as_clear + 1) / (RESAMPLES + 1), 1 / (RESAMPLES + 1)
