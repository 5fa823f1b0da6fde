"""The best extensions are the same whichever bound tells, and none is forgotten."""

import pytest
import torch

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding import candidates
from hyperconformer.decoding.candidates import Chosen, Extensions, SearchStats, choose
from hyperconformer.decoding.ctc_prefix import CTCPrefix

VOCABULARY = 60


def case(seed: int, sharpness: float) -> tuple[Extensions, CTCPrefix]:
    """Two utterances with a beam of three rows, two tokens each."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    ctc = CTCPrefix.start((sharpness * draw(2, 12, VOCABULARY)).log_softmax(-1), torch.tensor([12, 9]))
    for rows in (torch.zeros(2, 3, dtype=torch.long), torch.tensor([[0, 1, 1], [2, 0, 1]])):
        ctc = ctc.extend(rows, torch.randint(3, VOCABULARY, (2, 3), generator=generator))
    labels = (0.6 * draw(2, 3, VOCABULARY).mul(sharpness).log_softmax(-1)).index_fill(
        2, torch.tensor([BLANK, BEGIN, END]), -torch.inf
    )
    rest = draw(2, 3).double() - 5
    rest[1, 2] = -torch.inf
    ends = rest + draw(2, 3).double() - 12
    return Extensions(rest, labels, ends, torch.tensor([[True], [False]]).expand(2, 3)), ctc


def plainly(extensions: Extensions, ctc: CTCPrefix, weight: float, beam: int) -> list[list[tuple]]:
    """Every extension's total, sorted."""
    found = []
    scores = ctc.all_scores()
    for utterance in range(2):
        every = []
        for row in range(3):
            rest = float(extensions.rest_bk[utterance, row])
            for token in range(3, VOCABULARY):
                label = float(extensions.labels_bkv[utterance, row, token])
                every.append((rest + label + weight * float(scores[utterance, row, token]), row, token))
            if extensions.may_end_bk[utterance, row]:
                every.append((float(extensions.ends_bk[utterance, row]), row, END))
        found.append(sorted(every, reverse=True)[:beam])
    return found


def listed(chosen: Chosen) -> list[list[tuple]]:
    return [list(zip(*(x.tolist() for x in row), strict=True)) for row in zip(*chosen, strict=True)]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 6.0])
@pytest.mark.parametrize("slack", ["usual", "close", "none"])
def test_the_best_are_chosen_whichever_bound_tells(
    seed: int, sharpness: float, slack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extensions, ctc = case(seed, sharpness)
    calls = []
    if slack == "close":  # the first bound never tells
        loose = ctc.bounds()[0] + 50, ctc.bounds()[1] + 50
        monkeypatch.setattr(CTCPrefix, "bounds", lambda self: loose)
    if slack == "none":  # no bound ever tells
        monkeypatch.setattr(candidates, "SLACK", 1e9)
        whole = candidates._whole
        monkeypatch.setattr(candidates, "_whole", lambda *given: calls.append(1) or whole(*given))
    stats = SearchStats()
    got = listed(choose(extensions, ctc, 0.4, 4, stats))
    expected = plainly(extensions, ctc, 0.4, 4)
    for ours, truth in zip(got, expected, strict=True):
        assert [one[1:] for one in ours] == [one[1:] for one in truth]
        assert [one[0] for one in ours] == pytest.approx([one[0] for one in truth], abs=1e-6)
    assert stats.steps == 2 and stats.candidates == 2 * 3 * VOCABULARY
    assert stats.fallbacks == 2 or slack == "usual"
    assert len(calls) == (slack == "none")
    assert stats.scored == (2 - stats.fallbacks) * 4 * 4 + stats.fallbacks * 3 * VOCABULARY


def test_a_trained_recogniser_s_sharp_scores_need_no_fall_back() -> None:
    stats = SearchStats()
    for seed in range(20):
        extensions, ctc = case(seed, 12.0)
        choose(extensions, ctc, 0.4, 2, stats)
    assert stats.fallback_rate < 0.5 and stats.pruned > 0.5


def test_where_nothing_can_follow_a_row_ends_though_it_may_not() -> None:
    extensions, ctc = case(0, 1.0)
    nothing = extensions._replace(labels_bkv=torch.full_like(extensions.labels_bkv, -torch.inf))
    chosen = choose(nothing, ctc, 0.4, 4, SearchStats())
    assert chosen.tokens_bk[chosen.totals_bk.isfinite()].unique().tolist() == [END]
    assert chosen.totals_bk[1].isfinite().sum() == 2


@pytest.mark.parametrize("seed", range(20))
def test_totals_so_great_that_float32_blurs_them_are_told_apart(seed: int) -> None:
    extensions, ctc = case(seed, 1.0)
    far = extensions._replace(rest_bk=extensions.rest_bk - 3e5, ends_bk=extensions.ends_bk - 3e5)
    got = listed(choose(far, ctc, 0.4, 4, SearchStats()))
    for ours, truth in zip(got, plainly(far, ctc, 0.4, 4), strict=True):
        assert [one[1:] for one in ours] == [one[1:] for one in truth]
