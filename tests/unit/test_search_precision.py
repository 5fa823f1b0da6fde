"""Searches in bfloat16 stay near those in float32, and utterances in a batch near those alone."""

import copy

import pytest
import torch
from torch import Tensor

from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from tests.helpers import randomise
from tests.search_cases import Case, draw, exact


def halved(case: Case) -> Case:
    """The same system in bfloat16, what it hears included."""
    lm = case.language_model
    return Case(
        copy.deepcopy(case.model).bfloat16(),
        lm and copy.deepcopy(lm).bfloat16(),
        case.memory_td.bfloat16(),
        case.options,
    )


def search(case: Case, memory_btd: Tensor, lengths: list[int]) -> list[tuple[tuple[int, ...], float]]:
    """Tokens and score of the best hypothesis of each utterance."""
    found = JointSearch(case.model, case.options, case.language_model)(memory_btd, torch.tensor(lengths))
    return [(nbest[0].tokens, nbest[0].score) for nbest in found]


def test_joint_search_in_bfloat16() -> None:
    same, losses, distances = 0, [], []
    for number in range(40):
        case = draw(5, 16, number)
        frames = len(case.memory_td)
        half = halved(case)
        ((best, score),) = search(case, case.memory_td[None], [frames])
        ((found, said),) = search(half, half.memory_td[None], [frames])
        same += found == best
        symbols = len(found) + 1
        losses.append((score - exact(case, found)) / symbols)
        distances.append(abs(said - exact(case, found)) / symbols)
    print(same, max(losses), max(distances), sorted(distances)[20])


def test_encoder_and_greedy_in_bfloat16() -> None:
    config = ModelConfig(output_neurons=20, d_model=32, nhead=4, d_ffn=64, num_encoder_layers=2)
    torch.manual_seed(0)
    model = ASR(config).eval()
    half = copy.deepcopy(model).bfloat16()
    features, frames = torch.randn(3, 120, config.n_mels), torch.tensor([120, 77, 40])
    with torch.no_grad():
        memory, lengths = model.encode_features(features, frames)
        near, _ = half.encode_features(features.bfloat16(), frames)
        a, b = model.ctc_log_probs(memory), half.ctc_log_probs(near)
    print((a - b).abs().max(), b.dtype)
    for x, y, n in zip(ctc_greedy(a), ctc_greedy(b), lengths.tolist()):
        print(abs(x.score - y.score) / n, x.tokens == y.tokens)


@pytest.mark.parametrize("half", [False, True])
def test_batch(half: bool) -> None:
    w = []
    d = 0
    for number in range(20):
        case = draw(5, 16, number)
        if half:
            case = halved(case)
        frames = len(case.memory_td)
        lengths = [frames, max(2, frames // 2), max(3, frames - 3)]
        together = search(case, case.memory_td.expand(3, -1, -1), lengths)
        for (tokens, score), length in zip(together, lengths, strict=True):
            ((t, s),) = search(case, case.memory_td[None, :length], [length])
            d += t != tokens
            w.append(abs(s - score) / (len(t) + 1))
    print(half, d, max(w))
