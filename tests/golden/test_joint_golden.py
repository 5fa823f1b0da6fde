"""Our joint search finds what SpeechBrain's finds, where that does not stop too soon."""

from collections import Counter

import pytest
import torch

from hyperconformer.constants import BEGIN
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.types import Hypothesis
from tests.golden import searcher_oracle
from tests.search_cases import Case, draw, exact

# Beam, vocabulary (more than twice the beam: else SpeechBrain's fills up with what is impossible), cases.
SYSTEMS = [(1, 12, 60), (5, 16, 60), (10, 30, 60), (66, 140, 20)]


def verdict(case: Case, theirs: searcher_oracle.Finding, ours: Hypothesis) -> str:
    """What becomes of a case."""
    tolerance = max(1e-3, 1e-5 * abs(ours.score))
    assert ours.score == pytest.approx(exact(case, ours.tokens), abs=tolerance)
    if not theirs.finished or theirs.scores[0] < -1e10:
        return "unfinished there"
    if BEGIN in theirs.tokens:
        return "begin symbol there"
    if abs(ours.score - theirs.scores[0]) <= tolerance:
        return "same" if ours.tokens == theirs.tokens else "tie"
    if exact(case, ours.tokens) > exact(case, theirs.tokens) + tolerance:
        return "better here"
    return "DIFFERENT"


@pytest.mark.parametrize(("beam", "vocabulary", "cases"), SYSTEMS)
def test_the_best_hypothesis_is_speechbrains(beam: int, vocabulary: int, cases: int) -> None:
    verdicts: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    for number in range(cases):
        case = draw(beam, vocabulary, number)
        theirs = searcher_oracle.search(case.model, case.memory_td, case.options, case.language_model)
        ours = JointSearch(case.model, case.options, case.language_model)
        ((hypothesis, *_),) = ours(case.memory_td.unsqueeze(0), torch.tensor([len(case.memory_td)]))
        found = verdict(case, theirs, hypothesis)
        verdicts[found] += 1
        lengths[len(hypothesis.tokens)] += found == "same"
        assert found != "DIFFERENT", (number, theirs, hypothesis)
    print(f"beam {beam}: {dict(verdicts)}, tokens: cases {dict(sorted(lengths.items()))}")
    # Of 200 cases at least 160 are compared, sentences of several tokens among them.
    assert verdicts["same"] >= 0.8 * cases, verdicts
    assert verdicts["better here"] <= 0.05 * cases, verdicts
    assert sum(count for length, count in lengths.items() if length >= 3) >= 0.25 * cases, lengths
