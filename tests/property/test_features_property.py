"""Padding is invisible: an utterance's features are the same alone and in any batch."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.feature_statistics import FeatureStatistics
from hyperconformer.features import LogMel, Normalizer, frames_of

LOG_MEL = {n_fft: LogMel(n_fft=n_fft) for n_fft in (400, 512)}
UTTERANCE = st.tuples(st.integers(0, 2000), st.sampled_from([0.0, 1e-6, 1e-3, 1.0]))
BATCH = st.lists(UTTERANCE, min_size=1, max_size=4)
SEED = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=30)
@given(batch=BATCH, extra=st.integers(0, 700), n_fft=st.sampled_from([400, 512]), seed=SEED)
def test_features_are_the_same_alone_and_in_a_batch(
    batch: list[tuple[int, float]], extra: int, n_fft: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lengths = torch.tensor([samples for samples, _ in batch])
    loudness = torch.tensor([scale for _, scale in batch], dtype=torch.float64)
    samples_bs = torch.from_numpy(rng.standard_normal((len(batch), int(lengths.max()) + extra)))
    samples_bs *= loudness.unsqueeze(1)
    junk = torch.arange(samples_bs.shape[1]) >= lengths.unsqueeze(1)
    samples_bs[junk] = rng.choice([np.nan, np.inf, 1e6])
    together_bfm, frames = LOG_MEL[n_fft](samples_bs, lengths)
    assert together_bfm.shape == (len(batch), frames_of(samples_bs.shape[1]), 80)
    for row, samples in enumerate(lengths.tolist()):
        alone_bfm, own = LOG_MEL[n_fft](samples_bs[row : row + 1, :samples], lengths[row : row + 1])
        count = int(own)
        assert count == int(frames[row]) == frames_of(samples)
        torch.testing.assert_close(together_bfm[row, :count], alone_bfm[0], rtol=0, atol=1e-8)
        assert not together_bfm[row, count:].any()


@settings(deadline=None, max_examples=60)
@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=6), split=st.integers(0, 6), seed=SEED)
def test_statistics_do_not_depend_on_the_batches(counts: list[int], split: int, seed: int) -> None:
    lengths = torch.tensor(counts)
    features_bfm = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(counts), 10, 3)))
    whole, parts = FeatureStatistics(3), FeatureStatistics(3)
    whole.update(features_bfm, lengths)
    for piece in (slice(split, None), slice(0, split)):
        parts.update(features_bfm[piece], lengths[piece])
    assert whole.count == parts.count == sum(counts)
    if whole.count:
        torch.testing.assert_close(whole.mean, parts.mean)
        torch.testing.assert_close(whole.std, parts.std)


@settings(deadline=None, max_examples=30)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=SEED)
def test_normalised_features_are_the_same_alone_and_in_a_batch(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    normalizer = Normalizer(n_mels=3)
    normalizer.set_statistics(torch.from_numpy(rng.normal(size=3)), torch.from_numpy(rng.uniform(size=3)))
    features_bfm = torch.from_numpy(rng.standard_normal((len(counts), 10, 3)))
    together_bfm = normalizer(features_bfm, torch.tensor(counts))
    for row, count in enumerate(counts):
        alone_bfm = normalizer(features_bfm[row : row + 1, :count], torch.tensor([count]))
        assert torch.equal(together_bfm[row, :count], alone_bfm[0])
        assert not together_bfm[row, count:].any()
