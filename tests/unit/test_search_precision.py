"""Searches in bfloat16 stay near those in float32, and utterances in a batch near those alone."""

import copy
from dataclasses import replace

import torch
from torch import Tensor

from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.types import Hypothesis
from tests.search_cases import Case, draw, exact

# In nats per symbol, the end included: what rounding may do to a score, and what a choice by it may cost.
DISTANCE, LOSS = 0.05, 0.02
CASES = 40


def halved(case: Case) -> Case:
    """The same system in bfloat16, what it hears included."""
    lm = case.language_model
    return replace(
        case,
        model=copy.deepcopy(case.model).bfloat16(),
        language_model=lm and copy.deepcopy(lm).bfloat16(),
        memory_td=case.memory_td.bfloat16(),
    )


def best(case: Case, memory_btd: Tensor, lengths: list[int]) -> list[Hypothesis]:
    """The best hypothesis of each utterance."""
    search = JointSearch(case.model, case.options, case.language_model)
    return [nbest[0] for nbest in search(memory_btd, torch.tensor(lengths))]


def alone(case: Case) -> Hypothesis:
    """The best hypothesis of the case's own utterance."""
    (found,) = best(case, case.memory_td.unsqueeze(0), [len(case.memory_td)])
    return found


def assert_near(found: Hypothesis, truth: Hypothesis, case: Case) -> bool:
    """A score near the exact one of these tokens, that one near the truth's; whether they are the same."""
    symbols, score = len(found.tokens) + 1, exact(case, found.tokens)
    assert abs(found.score - score) <= DISTANCE * symbols, (found, score)
    assert truth.score - score <= LOSS * symbols, (found, truth)
    return found.tokens == truth.tokens


def test_joint_search_in_bfloat16() -> None:
    cases = [draw(5, 16, number) for number in range(CASES)]
    same = sum(assert_near(alone(halved(case)), alone(case), case) for case in cases)
    assert same >= 0.9 * CASES, same


def test_encoder_and_greedy_search_in_bfloat16() -> None:
    config = ModelConfig(output_neurons=20, d_model=32, nhead=4, d_ffn=64, num_encoder_layers=2)
    torch.manual_seed(0)
    model = ASR(config).eval()
    half = copy.deepcopy(model).bfloat16()
    features, frames = torch.randn(3, 120, config.n_mels), torch.tensor([120, 77, 40])
    with torch.no_grad():
        memory, lengths = model.encode_features(features, frames)
        near, _ = half.encode_features(features.bfloat16(), frames)
        log_probs, rounded = model.ctc_log_probs(memory), half.ctc_log_probs(near)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, log_probs, rtol=0, atol=0.2)
    for row, count in enumerate(lengths.tolist()):
        (truth,) = ctc_greedy(log_probs[row : row + 1, :count])
        (found,) = ctc_greedy(rounded[row : row + 1, :count])
        assert abs(found.score - truth.score) <= DISTANCE * count


def three(case: Case) -> list[int]:
    """Lengths of a batch in which an utterance is heard whole and cut."""
    frames = len(case.memory_td)
    return [frames, max(2, frames // 2), frames - 3]


def test_a_batch_in_float32_finds_what_its_utterances_find_alone() -> None:
    for number in range(CASES // 2):
        case = draw(5, 16, number)
        lengths = three(case)
        together = best(case, case.memory_td.expand(3, -1, -1), lengths)
        for found, length in zip(together, lengths, strict=True):
            truth = alone(replace(case, memory_td=case.memory_td[:length]))
            assert found.tokens == truth.tokens
            assert abs(found.score - truth.score) <= max(1e-3, 1e-5 * abs(truth.score))


def test_a_batch_in_bfloat16_finds_nothing_worse() -> None:
    same = 0
    for number in range(CASES // 2):
        case, half = draw(5, 16, number), halved(draw(5, 16, number))
        lengths = three(case)
        together = best(half, half.memory_td.expand(3, -1, -1), lengths)
        for found, length in zip(together, lengths, strict=True):
            cut = replace(case, memory_td=case.memory_td[:length])
            same += assert_near(found, alone(cut), cut)
    # Near ties, of scores or of the end with its threshold, fall either way.
    assert same >= 0.9 * 3 * CASES // 2, same
