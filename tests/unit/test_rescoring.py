"""N-best lists as trees: every hypothesis scores what it scores alone."""

import pytest
import torch

from hyperconformer.constants import BEGIN, END
from hyperconformer.decoding import rescoring
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.rescoring import TokenTree, attention_scores, language_model_scores, rescore
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig, ModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.types import Hypothesis
from tests.helpers import randomise

LISTS = [[(5, 6, 7), (5, 6), (), (5, 8, 7, 7)], [(9,), (9, 9, 4)]]
SIZES = {"output_neurons": 11, "d_model": 8, "nhead": 2, "d_ffn": 16}


@pytest.fixture
def asr() -> ASR:
    return randomise(ASR(ModelConfig(**SIZES, num_encoder_layers=1, num_decoder_layers=2)).double()).eval()


@pytest.fixture
def lm() -> LanguageModel:
    return randomise(LanguageModel(LanguageModelConfig(**SIZES, num_layers=2)).double()).eval()


def plain(logits_lv: torch.Tensor, tokens: tuple[int, ...]) -> float:
    logs = logits_lv.log_softmax(dim=-1)
    return sum(float(logs[place, token]) for place, token in enumerate((*tokens, END)))


def test_what_hypotheses_share_is_one_node() -> None:
    tree = TokenTree.of(LISTS)
    assert tree.tokens_bn[0].tolist() == [BEGIN, 5, 6, 7, 8, 7, 7]
    assert tree.depths_bn[0].tolist() == [0, 1, 2, 3, 2, 3, 4]
    assert tree.seen_bnn[0, 5].nonzero().flatten().tolist() == [0, 1, 4, 5]


@torch.no_grad()
def test_attention_scores_are_those_of_each_hypothesis_alone(asr: ASR) -> None:
    memory, lengths = torch.randn(2, 9, 8, dtype=torch.float64), torch.tensor([9, 6])
    found = attention_scores(asr, memory, lengths, LISTS, temperature=1.3)
    for row, hypotheses in enumerate(LISTS):
        for column, tokens in enumerate(hypotheses):
            given = torch.tensor([[BEGIN, *tokens]])
            logits = asr.decoder(given, memory[row : row + 1, : lengths[row]], None)[0] / 1.3
            assert found[row][column] == pytest.approx(plain(logits, tokens), abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("most", [4096, 1])
def test_language_model_scores_are_too_in_any_portions(
    lm: LanguageModel, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "MOST_NODES", most)
    found = language_model_scores(lm, LISTS, temperature=0.8)
    for row, hypotheses in enumerate(LISTS):
        for column, tokens in enumerate(hypotheses):
            logits = lm(torch.tensor([[BEGIN, *tokens]]))[0] / 0.8
            assert found[row][column] == pytest.approx(plain(logits, tokens), abs=1e-4)


@pytest.mark.parametrize("normalise", [False, True])
def test_rescoring_says_of_the_joint_search_s_hypotheses_what_it_says_itself(
    asr: ASR, lm: LanguageModel, normalise: bool
) -> None:
    memory, lengths = torch.randn(2, 9, 8, dtype=torch.float64), torch.tensor([9, 6])
    options = SearchOptions(
        beam_size=5, nbest=4, lm_weight=0.6, temperature=1.2, length_normalization=normalise
    )
    truth = JointSearch(asr, options, lm)(memory, lengths)
    bare = [
        [Hypothesis(found.tokens, 0.0, {"ctc": found.parts["ctc"]}) for found in reversed(nbest)]
        for nbest in truth
    ]
    again = rescore(bare, memory, lengths, asr, options, lm)
    for expected, got in zip(truth, again, strict=True):
        assert [found.tokens for found in got] == [found.tokens for found in expected]
        for one, other in zip(expected, got, strict=True):
            assert other.score == pytest.approx(one.score, abs=1e-4)
            assert other.parts == pytest.approx(one.parts, abs=1e-4)
