"""The joint search against all there is, a beam in plain steps, and itself in other batches."""

import functools
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperconformer.decoding.beam_reference import BeamReference
from hyperconformer.decoding.ctc_prefix import CTCPrefix
from hyperconformer.decoding.exhaustive import ExhaustiveSearch, ctc_log_probability, ctc_prefix_scores
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig, ModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.types import Hypothesis
from tests.helpers import randomise

D_MODEL = 8
# As wide as any tree of the smallest cases.
WHOLE_TREE = 800


@functools.cache
def systems(vocabulary: int, seed: int) -> tuple[ASR, LanguageModel]:
    """A recogniser and a language model with random weights, in float64 so that rounding makes no ties."""
    torch.manual_seed(seed)
    sizes = {"output_neurons": vocabulary, "d_model": D_MODEL, "nhead": 2, "d_ffn": 16}
    asr = ASR(ModelConfig(**sizes, num_encoder_layers=1, num_decoder_layers=2))
    lm = LanguageModel(LanguageModelConfig(**sizes, num_layers=1))
    return randomise(asr.double(), seed).eval(), randomise(lm.double(), seed + 1).eval()


@st.composite
def dials(draw: st.DrawFn, beams: st.SearchStrategy[int], *, nbest: int, ratio: float) -> SearchOptions:
    """Options of a joint search."""
    beam = draw(beams)
    least = draw(st.sampled_from([0.0, 0.0, 0.2, 0.5]))
    return SearchOptions(
        beam_size=beam,
        nbest=min(beam, draw(st.integers(1, nbest))),
        ctc_weight=draw(st.sampled_from([0.0, 0.2, 0.4, 0.9, 1.0])),
        lm_weight=draw(st.sampled_from([0.0, 0.6, 1.5])),
        temperature=draw(st.sampled_from([1.0, 0.7, 1.4])),
        lm_temperature=draw(st.sampled_from([1.0, 1.3])),
        length_normalization=draw(st.booleans()),
        min_decode_ratio=least,
        max_decode_ratio=draw(st.sampled_from([0.6, 1.0, ratio])),
        eos_threshold=draw(st.sampled_from([None, None, 1.0, 1.5])),
    )


def heard(seed: int, lengths: list[int], loudness: float) -> tuple[Tensor, Tensor]:
    """Encoder output (B, T, D) that is anything, in its padding too, and its frames (B,)."""
    generator = torch.Generator().manual_seed(seed)
    memory = torch.randn(len(lengths), max(lengths), D_MODEL, generator=generator, dtype=torch.float64)
    return loudness * memory, torch.tensor(lengths)


def assert_same(found: list[Hypothesis], truth: list[Hypothesis]) -> None:
    """The same hypotheses in the same order with the same parts; the search weighs labels in float32."""
    assert len(found) == len(truth) > 0
    for ours, theirs in zip(found, truth, strict=True):
        assert ours.tokens == theirs.tokens, (ours, theirs)
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)
        for name, part in ours.parts.items():
            assert part == pytest.approx(theirs.parts[name], abs=1e-6), name


def run(kind: Any, vocabulary: int, seed: int, options: SearchOptions, *heard: Tensor) -> Any:
    """What a search of this class finds with and without a language model, as the weight wants it."""
    asr, lm = systems(vocabulary, seed)
    return kind(asr, options, lm if options.lm_weight else None)(*heard)


@settings(deadline=None, max_examples=60)
@given(
    vocabulary=st.integers(4, 6), seed=st.integers(0, 9), noise=st.integers(0, 99), nbest=st.integers(1, 9),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3), loudness=st.sampled_from([0.5, 2.0]),
    options=dials(st.just(WHOLE_TREE), nbest=1, ratio=1.3),
)  # fmt: skip
@example(
    vocabulary=4, seed=0, noise=0, nbest=1, lengths=[4, 5], loudness=0.5,
    options=SearchOptions(beam_size=WHOLE_TREE, ctc_weight=0.2),
)  # fmt: skip
def test_a_beam_as_wide_as_the_tree_finds_all_there_is(
    vocabulary: int,
    seed: int,
    noise: int,
    nbest: int,
    lengths: list[int],
    loudness: float,
    options: SearchOptions,
) -> None:
    memory = heard(noise, lengths, loudness)
    free = replace(options, nbest=nbest, eos_threshold=None, min_decode_ratio=0.0)
    # With all asked for nothing is given up; with few, what is given up must not matter.
    for asked in (replace(options, nbest=WHOLE_TREE), free):
        truth = run(ExhaustiveSearch, vocabulary, seed, asked, *memory)
        found = run(JointSearch, vocabulary, seed, asked, *memory)
        for ours, theirs in zip(found, truth, strict=True):
            assert_same(ours, theirs)


@settings(deadline=None, max_examples=40)
@given(
    vocabulary=st.sampled_from([30, 75, 200]), seed=st.integers(0, 3), noise=st.integers(0, 99),
    lengths=st.lists(st.integers(1, 14), min_size=1, max_size=3), loudness=st.sampled_from([0.5, 2.0, 5.0]),
    options=dials(st.integers(1, 12), nbest=12, ratio=0.8),
)  # fmt: skip
def test_a_narrow_beam_takes_the_very_steps_of_the_slow_one(
    vocabulary: int, seed: int, noise: int, lengths: list[int], loudness: float, options: SearchOptions
) -> None:
    memory = heard(noise, lengths, loudness)
    truth = run(BeamReference, vocabulary, seed, options, *memory)
    found = run(JointSearch, vocabulary, seed, options, *memory)
    for ours, theirs in zip(found, truth, strict=True):
        assert_same(ours, theirs)


@settings(deadline=None, max_examples=40)
@given(
    vocabulary=st.sampled_from([12, 60]), seed=st.integers(0, 3), noise=st.integers(0, 99),
    lengths=st.lists(st.integers(1, 20), min_size=2, max_size=5), loudness=st.sampled_from([0.5, 2.0]),
    options=dials(st.integers(1, 8), nbest=4, ratio=1.2),
)  # fmt: skip
@example(
    vocabulary=12, seed=0, noise=0, lengths=[10, 5], loudness=0.5,
    options=SearchOptions(beam_size=1, ctc_weight=0.2, eos_threshold=1.0),
)  # fmt: skip
def test_an_utterance_is_searched_in_a_batch_as_alone(
    vocabulary: int, seed: int, noise: int, lengths: list[int], loudness: float, options: SearchOptions
) -> None:
    memory, frames = heard(noise, lengths, loudness)
    together = run(JointSearch, vocabulary, seed, options, memory, frames)
    for row, length in enumerate(lengths):
        alone = run(
            JointSearch, vocabulary, seed, options, memory[row : row + 1, :length], frames[row : row + 1]
        )
        assert_same(together[row], alone[0])


@settings(deadline=None, max_examples=60)
@given(data=st.data(), loudness=st.sampled_from([0.3, 3.0, 30.0, 1000.0]), seed=st.integers(0, 999))
def test_ctc_prefix_scores_are_the_loops(data: st.DataObject, loudness: float, seed: int) -> None:
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    vocabulary = data.draw(st.integers(3, 9))
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(lengths), max(lengths), vocabulary, generator=generator, dtype=torch.float64)
    log_probs_btv = (loudness * logits).log_softmax(-1)
    prefix = CTCPrefix.start(log_probs_btv, torch.tensor(lengths))
    said: list[list[tuple[int, ...]]] = [[()] for _ in lengths]
    for _ in range(data.draw(st.integers(0, 5))):
        rows, width = len(said[0]), data.draw(st.integers(1, 4))
        chosen = torch.randint(rows, (len(lengths), width), generator=generator)
        tokens = torch.randint(1, vocabulary, (len(lengths), width), generator=generator)
        prefix = prefix.extend(chosen, tokens)
        said = [
            [(*before[row], token) for row, token in zip(rows, new, strict=True)]
            for before, rows, new in zip(said, chosen.tolist(), tokens.tolist(), strict=True)
        ]
    assert_ctc(prefix, said, [row[:length] for row, length in zip(log_probs_btv, lengths, strict=True)])


def assert_ctc(prefix: CTCPrefix, said: list[list[tuple[int, ...]]], utterances: list[Tensor]) -> None:
    """Finals, scores of every extension by both ways, and bounds that hold."""
    batch, rows, vocabulary = len(said), len(said[0]), utterances[0].shape[1]
    tokens = torch.arange(1, vocabulary)
    by_product_bkv, (own_bk, reached_bk) = prefix.all_scores(), prefix.bounds()
    by_logs_bkv = prefix.scores(
        torch.arange(rows).repeat_interleave(len(tokens)).expand(batch, -1),
        tokens.repeat(rows).expand(batch, -1),
    ).view(batch, rows, -1)
    for utterance, log_probs_tv in enumerate(utterances):
        for row, spoken in enumerate(said[utterance]):
            final = ctc_log_probability(log_probs_tv, spoken)
            assert_near(prefix.finals_bk[utterance, row], torch.tensor(final, dtype=torch.float64))
            truth_v = ctc_prefix_scores(log_probs_tv, spoken)[1:]
            assert_near(by_logs_bkv[utterance, row], truth_v)
            assert_near(by_product_bkv[utterance, row, 1:], truth_v)
            most_v = prefix.frames.peaks_bv[utterance, 1:] + reached_bk[utterance, row]
            possible = truth_v > -1e4
            assert (truth_v <= most_v + 1e-6)[possible].all() and (
                truth_v <= own_bk[utterance, row] + 1e-6
            ).all()


def assert_near(found: Tensor, truth: Tensor) -> None:
    """Equal where it is possible at all, and impossible where it is not."""
    possible = truth > -1e4
    torch.testing.assert_close(found[possible], truth[possible], rtol=1e-9, atol=1e-6)
    assert (found[~possible] < -0.9e4).all()
