"""The slow truth of the searches against sums over all paths, and its beam against its enumeration."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from hyperconformer.constants import BLANK, END
from hyperconformer.decoding.beam_reference import BeamReference
from hyperconformer.decoding.exhaustive import (
    ExhaustiveSearch,
    ctc_log_probability,
    ctc_prefix_scores,
    log_sum,
)
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig, ModelConfig
from hyperconformer.models.language_model import LanguageModel
from tests.helpers import randomise

LABELS, FRAMES = 4, 5


def all_paths(log_probs_tv: Tensor) -> dict[tuple[int, ...], float]:
    """Log-probability of every token sequence, from every path there is."""
    terms: dict[tuple[int, ...], list[float]] = {}
    for path in itertools.product(range(log_probs_tv.shape[1]), repeat=len(log_probs_tv)):
        tokens = tuple(label for label, _ in itertools.groupby(path) if label != BLANK)
        terms.setdefault(tokens, []).append(
            sum(log_probs_tv[t, label].item() for t, label in enumerate(path))
        )
    return {tokens: log_sum(logs) for tokens, logs in terms.items()}


@pytest.mark.parametrize("frames", [1, 2, FRAMES])
def test_ctc_is_the_sum_over_all_paths(frames: int) -> None:
    log_probs = (3 * torch.randn(frames, LABELS, dtype=torch.float64)).log_softmax(-1)
    truth = all_paths(log_probs)
    for length in range(frames + 1):
        for tokens in itertools.product(range(1, LABELS), repeat=length):
            found = ctc_log_probability(log_probs, tokens)
            assert found == pytest.approx(truth.get(tokens, -math.inf), abs=1e-9)
            scores = ctc_prefix_scores(log_probs, tokens)
            assert scores[BLANK] == -math.inf
            for label in range(1, LABELS):
                longer = (*tokens, label)
                begun = [score for said, score in truth.items() if said[: length + 1] == longer]
                assert scores[label].item() == pytest.approx(log_sum([-math.inf, *begun]), abs=1e-9)


def test_what_begins_so_ends_there_or_goes_on() -> None:
    log_probs = torch.randn(40, 30, dtype=torch.float64).log_softmax(-1)
    tokens = (7, 7, 3, 29, 3)
    begun = ctc_prefix_scores(log_probs, tokens[:-1])[tokens[-1]].item()
    parts = [ctc_log_probability(log_probs, tokens), *ctc_prefix_scores(log_probs, tokens).tolist()]
    assert log_sum(parts) == pytest.approx(begun, abs=1e-9)


def models(labels: int, seed: int) -> tuple[ASR, LanguageModel]:
    """Two small models with random weights in float64."""
    sizes = {"output_neurons": labels, "d_model": 8, "nhead": 2, "d_ffn": 16}
    config = ModelConfig(**sizes, num_encoder_layers=1, num_decoder_layers=2)
    lm_config = LanguageModelConfig(**sizes, num_layers=1)
    return (
        randomise(ASR(config).double(), seed).eval(),
        randomise(LanguageModel(lm_config).double(), seed + 1).eval(),
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_as_wide_as_the_tree_finds_all_there_is(seed: int) -> None:
    model, language_model = models(labels=6, seed=seed)
    options = SearchOptions(
        beam_size=1000, nbest=1000, ctc_weight=(0.0, 0.3, 1.0)[seed % 3], lm_weight=0.5, temperature=1.3,
        lm_temperature=0.7, length_normalization=bool(seed % 2), min_decode_ratio=(0.0, 0.4)[seed // 3],
        eos_threshold=(None, 1.5)[seed % 2],
    )  # fmt: skip
    memory, lengths = torch.randn(3, 5, 8, dtype=torch.float64), torch.tensor([5, 3, 1])
    truth = ExhaustiveSearch(model, options, language_model)(memory, lengths)
    found = BeamReference(model, options, language_model)(memory, lengths)
    for ours, theirs in zip(found, truth, strict=True):
        scores = {hypothesis.tokens: hypothesis.score for hypothesis in theirs}
        assert {hypothesis.tokens for hypothesis in ours} == set(scores)
        for hypothesis in ours:
            assert hypothesis.score == pytest.approx(scores[hypothesis.tokens], abs=1e-9)


def test_every_limit_is_kept() -> None:
    model, _ = models(labels=5, seed=0)
    memory, lengths = torch.randn(1, 8, 8, dtype=torch.float64), torch.tensor([8])
    options = SearchOptions(beam_size=99, nbest=99, min_decode_ratio=0.25, max_decode_ratio=0.5)
    (found,) = ExhaustiveSearch(model, options)(memory, lengths)
    assert {len(hypothesis.tokens) for hypothesis in found} == {2, 3}
    assert len(found) == 2**2 + 2**3
    assert not {token for h in found for token in h.tokens} & {0, 1, END}
    # The end is never likelier than the likeliest symbol: only the last step may end.
    options = SearchOptions(beam_size=99, nbest=99, eos_threshold=1.0, max_decode_ratio=0.5)
    (longest,) = ExhaustiveSearch(model, options)(memory, lengths)
    assert {len(hypothesis.tokens) for hypothesis in longest} == {3}


def test_an_alphabet_of_a_real_model_is_refused() -> None:
    model, _ = models(labels=30, seed=0)
    with pytest.raises(ValueError, match="27 tokens and 9 symbols"):
        ExhaustiveSearch(model, SearchOptions())(torch.randn(1, 9, 8).double(), torch.tensor([9]))
