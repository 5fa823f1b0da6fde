"""Features and normalisation against SpeechBrain's, which the published models were trained with."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hyperconformer.features import LogMel, Normalizer

features = pytest.importorskip("speechbrain.lobes.features")
processing = pytest.importorskip("speechbrain.processing.features")

TOLERANCE_DB = 1e-4


def largest_difference(samples_s: torch.Tensor, n_fft: int) -> float:
    """Of our features of one utterance and SpeechBrain's, in decibels."""
    golden = features.Fbank(sample_rate=16_000, n_fft=n_fft, n_mels=80)(samples_s.unsqueeze(0))
    ours, frames = LogMel(n_fft=n_fft)(samples_s.unsqueeze(0), torch.tensor([len(samples_s)]))
    assert ours.shape == golden.shape == (1, int(frames), 80)
    return float((ours - golden).abs().max())


@pytest.mark.parametrize("n_fft", [400, 512])
def test_noise(n_fft: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for samples in (1, 159, 160, 161, 16_000, 50_001):
        for loudness in (1.0, 1e-3, 0.0):
            noise_s = loudness * torch.randn(samples, generator=generator)
            assert largest_difference(noise_s, n_fft) < TOLERANCE_DB


@pytest.mark.parametrize("n_fft", [400, 512])
def test_speech(n_fft: int, shared_data: Path) -> None:
    paths = sorted((shared_data / "LibriSpeech-lossless").rglob("*.flac"))[:5]
    assert paths
    for path in paths:
        samples, _ = soundfile.read(path, dtype="float32")
        assert largest_difference(torch.from_numpy(samples), n_fft) < TOLERANCE_DB


def test_a_padded_batch_equals_speechbrain_one_utterance_at_a_time() -> None:
    rng = np.random.default_rng(1)
    samples_bs = torch.from_numpy(rng.standard_normal((3, 9000)).astype(np.float32))
    samples_bs *= torch.tensor([1.0, 1e-3, 1e-5]).unsqueeze(1)
    lengths = torch.tensor([9000, 4321, 320])
    ours, frames = LogMel()(samples_bs, lengths)
    fbank = features.Fbank(sample_rate=16_000, n_fft=400, n_mels=80)
    for row, samples in enumerate(lengths.tolist()):
        golden = fbank(samples_bs[row : row + 1, :samples])[0]
        torch.testing.assert_close(ours[row, : int(frames[row])], golden, rtol=0, atol=TOLERANCE_DB)


def test_imported_statistics_give_equal_outputs() -> None:
    generator = torch.Generator().manual_seed(2)
    golden = processing.InputNormalization(norm_type="global")
    for _ in range(3):
        golden(20 * torch.randn(4, 50, 80, generator=generator) - 30, torch.tensor([1.0, 0.9, 0.5, 0.2]))
    golden.eval()
    ours = Normalizer()
    ours.set_statistics(golden.glob_mean, golden.glob_std)
    features_bfm = 20 * torch.randn(1, 60, 80, generator=generator) - 30
    expected = golden(features_bfm, torch.ones(1))
    torch.testing.assert_close(ours(features_bfm, torch.tensor([60])), expected, rtol=0, atol=1e-6)
