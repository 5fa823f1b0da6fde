"""Prefix search: exact where nothing is pruned, as plain loops prune where something is, blind to padding."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperconformer.decoding.ctc_probability import sequence_log_probs
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.prefix_beam import prefix_beam_search
from hyperconformer.decoding.prefix_reference import enumerate_paths, log_probability, search_by_dictionary

pytestmark = pytest.mark.usefixtures("any_beam")

seeds = st.integers(0, 2**31)
sharpnesses = st.sampled_from([0.1, 1.0, 4.0, 12.0])


def random_log_probs(seed: int, batch: int, frames: int, labels: int, sharpness: float) -> Tensor:
    """Now and then a label is impossible."""
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(batch, frames, labels, generator=generator, dtype=torch.float64)
    never = torch.rand(logits.shape, generator=generator) < 0.05
    never[..., 0] = False
    return logits.masked_fill(never, -torch.inf).log_softmax(dim=-1)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, frames=st.integers(1, 6), labels=st.integers(4, 6), sharpness=sharpnesses)
def test_without_pruning_every_sequence_has_its_exact_probability(
    seed: int, frames: int, labels: int, sharpness: float
) -> None:
    log_probs = random_log_probs(seed, 1, frames, labels, sharpness)
    truth = enumerate_paths(log_probs[0].tolist())
    possible = {tokens: log for tokens, log in truth.items() if log > -math.inf}
    options = SearchOptions(beam_size=len(truth), nbest=len(truth))
    found = prefix_beam_search(log_probs, torch.tensor([frames]), options)[0]
    assert {hypothesis.tokens for hypothesis in found} == possible.keys()
    assert found[0].score == pytest.approx(max(possible.values()), abs=1e-9)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(possible[hypothesis.tokens], abs=1e-9)
        assert log_probability(log_probs[0].tolist(), hypothesis.tokens) == pytest.approx(hypothesis.score)
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)


@settings(deadline=None, max_examples=60)
@given(
    seed=seeds,
    frames=st.integers(0, 25),
    labels=st.integers(3, 40),
    sharpness=sharpnesses,
    beam_size=st.integers(1, 20),
)
def test_with_pruning_it_keeps_what_plain_loops_keep(
    seed: int, frames: int, labels: int, sharpness: float, beam_size: int
) -> None:
    log_probs = random_log_probs(seed, 1, frames, labels, sharpness)
    options = SearchOptions(beam_size=beam_size, nbest=beam_size)
    found = prefix_beam_search(log_probs, torch.tensor([frames]), options)[0]
    truth = search_by_dictionary(log_probs[0].tolist(), beam_size)
    assert [hypothesis.tokens for hypothesis in found] == [hypothesis.tokens for hypothesis in truth]
    for ours, theirs in zip(found, truth, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    seed=seeds,
    lengths=st.lists(st.integers(0, 15), min_size=1, max_size=4),
    padding=st.integers(0, 5),
    beam_size=st.integers(1, 8),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_padding_is_invisible(
    seed: int, lengths: list[int], padding: int, beam_size: int, dtype: torch.dtype
) -> None:
    log_probs = random_log_probs(seed, len(lengths), max(lengths) + padding, 12, 2.0).to(dtype)
    options = SearchOptions(beam_size=beam_size, nbest=beam_size)
    together = prefix_beam_search(log_probs, torch.tensor(lengths), options)
    for row, length in enumerate(lengths):
        alone = prefix_beam_search(log_probs[row : row + 1, :length], torch.tensor([length]), options)
        assert together[row] == alone[0]


@settings(deadline=None, max_examples=60)
@given(
    seed=seeds,
    frames=st.integers(0, 12),
    sharpness=sharpnesses,
    sequences=st.lists(st.lists(st.integers(1, 5), max_size=8), min_size=1, max_size=5),
)
def test_sequence_log_probs_equal_the_loops(
    seed: int, frames: int, sharpness: float, sequences: list[list[int]]
) -> None:
    log_probs_tv = random_log_probs(seed, 1, frames, 6, sharpness)[0].numpy()
    truth = [log_probability(log_probs_tv.tolist(), tuple(tokens)) for tokens in sequences]
    np.testing.assert_allclose(sequence_log_probs(log_probs_tv, sequences), truth, atol=1e-9)
