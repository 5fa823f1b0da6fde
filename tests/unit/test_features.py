"""Log-mel features against a Fourier transform written out frame by frame, statistics against numpy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hyperconformer.feature_statistics import FeatureStatistics
from hyperconformer.features import LogMel, Normalizer, frames_of, mel_filters

Array = npt.NDArray[np.float64]


def slow_log_mel(samples: Array, window: Array, filters: Array, n_fft: int) -> Array:
    """One utterance (S,) -> (F, M), one frame at a time, the Fourier transform written out."""
    bins, points = np.arange(n_fft // 2 + 1), np.arange(n_fft)
    fourier = np.exp(-2j * np.pi * np.outer(bins, points) / n_fft)
    # The window is shorter than the transform or as long, and stands in its middle.
    left = (n_fft - len(window)) // 2
    full_window = np.zeros(n_fft)
    full_window[left : left + len(window)] = window
    padded = np.concatenate([np.zeros(n_fft // 2), samples, np.zeros(n_fft)])
    rows = []
    for frame in range(len(samples) // 160 + 1):
        spectrum = fourier @ (padded[frame * 160 : frame * 160 + n_fft] * full_window)
        mel = filters.T @ np.abs(spectrum) ** 2
        rows.append(10 * np.log10(np.maximum(mel, 1e-10)))
    decibels = np.stack(rows)
    return np.maximum(decibels, decibels.max() - 80)


@pytest.mark.parametrize("n_fft", [400, 512])
@pytest.mark.parametrize("piece", [1, 201 * 2 * 7, 201 * 2 * 64])
def test_pieces_are_the_whole(n_fft: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long recordings take some frames at a time: one, seven, sixty-four."""
    generator = torch.Generator().manual_seed(0)
    samples_bs = torch.randn(2, 32_123, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([32_123, 20_001])
    log_mel = LogMel(n_fft=n_fft)
    whole, frames = log_mel(samples_bs, lengths)
    calls = []
    mel = log_mel._mel
    monkeypatch.setattr(log_mel, "_mel", lambda *args, **keys: calls.append(1) or mel(*args, **keys))
    monkeypatch.setattr("hyperconformer.features.PIECE_VALUES", piece)
    pieces, piece_frames = log_mel(samples_bs, lengths)
    assert len(calls) > 3
    torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-9)
    assert piece_frames.tolist() == frames.tolist()


def slow_mel_filters(n_fft: int, n_mels: int) -> Array:
    """Filters one weight at a time: (n_fft / 2 + 1, M)."""
    top_mel = 2595 * np.log10(1 + 8000 / 700)
    edges_hz = [700 * (10 ** (top_mel * i / (n_mels + 1) / 2595) - 1) for i in range(n_mels + 2)]
    filters = np.zeros((n_fft // 2 + 1, n_mels))
    for band in range(n_mels):
        centre_hz, width_hz = edges_hz[band + 1], edges_hz[band + 1] - edges_hz[band]
        for k in range(n_fft // 2 + 1):
            filters[k, band] = max(0.0, 1 - abs(k * 16_000 / n_fft - centre_hz) / width_hz)
    return filters


def speechlike(rng: np.random.Generator, samples: int, loudness: float = 0.1) -> Array:
    """Noise with a strong tilt and a slow envelope, so that bands lie tens of decibels apart."""
    walk = np.cumsum(rng.standard_normal(samples)) * np.sin(np.arange(samples) / 3000) ** 2
    return loudness * walk / max(1e-9, np.abs(walk).max()) + 1e-4 * rng.standard_normal(samples)


def ragged(rows: Sequence[Array]) -> tuple[torch.Tensor, torch.Tensor]:
    """Utterances -> (B, S) padded with junk, and their lengths."""
    samples = torch.full((len(rows), max(map(len, rows))), torch.nan, dtype=torch.float64)
    for row, values in zip(samples, rows, strict=True):
        row[: len(values)] = torch.from_numpy(values)
    return samples, torch.tensor([len(row) for row in rows])


@pytest.mark.parametrize("n_fft", [400, 512])
def test_agrees_with_the_slow_reference(n_fft: int) -> None:
    rng = np.random.default_rng(0)
    rows = [speechlike(rng, n) for n in (1600, 1, 4001, 159, 160)] + [np.zeros(700)]
    log_mel = LogMel(n_fft=n_fft)
    features, frames = log_mel(*ragged(rows))
    assert features.dtype == torch.float64
    assert features.shape == (6, 4001 // 160 + 1, 80)
    for samples, own, count in zip(rows, features, frames.tolist(), strict=True):
        slow = slow_log_mel(samples, log_mel.window.double().numpy(), log_mel.filters.double().numpy(), n_fft)
        assert count == len(slow) == frames_of(len(samples))
        np.testing.assert_allclose(own[:count].numpy(), slow, rtol=0, atol=1e-9)
        assert not own[count:].any()


def test_float32_is_close_to_float64_and_half_precision_is_widened() -> None:
    samples, lengths = ragged([speechlike(np.random.default_rng(1), 8000)])
    log_mel = LogMel()
    exact, _ = log_mel(samples, lengths)
    single, _ = log_mel(samples.float(), lengths)
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-2)
    half = samples.to(torch.bfloat16)
    assert torch.equal(log_mel(half, lengths)[0], log_mel(half.float(), lengths)[0])


@pytest.mark.parametrize(("n_fft", "n_mels"), [(400, 80), (512, 80), (512, 40)])
def test_filters_agree_with_the_slow_reference(n_fft: int, n_mels: int) -> None:
    np.testing.assert_allclose(mel_filters(n_fft, n_mels), slow_mel_filters(n_fft, n_mels), atol=1e-4)


def test_window_is_a_periodic_hamming_window() -> None:
    expected = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400)
    np.testing.assert_allclose(LogMel(n_fft=512).window, expected, atol=1e-6)


def test_a_tone_is_loudest_in_its_own_band() -> None:
    tone = torch.sin(2 * torch.pi * 1000 / 16_000 * torch.arange(16_000))
    features, _ = LogMel()(tone.unsqueeze(0), torch.tensor([16_000]))
    band = int(features[0, 50].argmax())
    assert mel_filters(400, 80)[25, band] > 0.5  # bin 25 of 400 points is 1000 Hz


def test_a_loud_neighbour_does_not_lift_the_floor() -> None:
    rng = np.random.default_rng(2)
    quiet, loud = speechlike(rng, 3000, 1e-3), speechlike(rng, 9000, 1.0)
    together, frames = LogMel()(*ragged([quiet, loud]))
    alone, _ = LogMel()(*ragged([quiet]))
    torch.testing.assert_close(together[0, : int(frames[0])], alone[0], rtol=0, atol=1e-9)


def test_a_click_at_the_very_end_is_not_louder_in_a_batch() -> None:
    # The click lies closer to the centre of the first padded frame than to that of the last own one.
    click = np.concatenate([1e-4 * np.random.default_rng(4).standard_normal(319), [1.0]])[1:]
    together, frames = LogMel()(*ragged([click, np.zeros(2000)]))
    alone, _ = LogMel()(*ragged([click]))
    torch.testing.assert_close(together[0, : int(frames[0])], alone[0], rtol=0, atol=1e-9)


def test_the_dynamic_range_is_eighty_decibels() -> None:
    samples = torch.zeros(1, 16_000)
    samples[:, :1600] = 1.0
    features, _ = LogMel()(samples, torch.tensor([16_000]))
    assert float(features.max() - features.min()) == pytest.approx(80.0, abs=1e-4)


def test_autocast_changes_nothing() -> None:
    samples, lengths = torch.randn(2, 4000), torch.tensor([4000, 2500])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, _ = LogMel()(samples, lengths)
    assert features.dtype == torch.float32
    assert torch.equal(features, LogMel()(samples, lengths)[0])


def test_checkpoints_hold_the_statistics_only() -> None:
    assert not LogMel().state_dict()
    assert set(Normalizer().state_dict()) == {"mean", "std"}


def test_gradients_reach_the_samples() -> None:
    samples = torch.randn(2, 2000, requires_grad=True)
    features, frames = LogMel()(samples, torch.tensor([2000, 1000]))
    Normalizer()(features, frames).sum().backward()
    assert samples.grad is not None
    assert samples.grad.isfinite().all()
    assert samples.grad[0].any()
    assert not samples.grad[1, 1000:].any()


def test_export_keeps_batch_and_length_free() -> None:
    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log_mel, self.normalizer = LogMel(), Normalizer()

        def forward(self, samples: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            features, frames = self.log_mel(samples, lengths)
            return self.normalizer(features, frames)

    batch, size = torch.export.Dim("batch"), torch.export.Dim("size", min=400)
    features = Features().eval()
    exported = torch.export.export(
        features,
        (torch.randn(2, 4000), torch.tensor([4000, 3000])),
        dynamic_shapes=({0: batch, 1: size}, {0: batch}),
    ).module()
    for lengths in ([5001, 12, 4000], [777]):
        inputs = torch.randn(len(lengths), max(lengths)), torch.tensor(lengths)
        torch.testing.assert_close(exported(*inputs), features(*inputs), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_fft": 401}, "even and at least 400.*401"),
        ({"n_fft": 256}, "even and at least 400.*256"),
        ({"n_mels": 0}, "positive.* 0"),
        ({"hop_ms": 0.0}, r"positive.* 0\.0"),
    ],
)
def test_meaningless_sizes_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel(**arguments)


def test_normalizer_starts_as_the_identity_and_zeroes_padding() -> None:
    features = torch.randn(2, 5, 80)
    features[1, 2:] = torch.nan
    normal = Normalizer()(features, torch.tensor([5, 2]))
    assert torch.equal(normal[0], features[0])
    assert torch.equal(normal[1, :2], features[1, :2])
    assert not normal[1, 2:].any()


def test_normalizer_survives_a_constant_band() -> None:
    normalizer = Normalizer(n_mels=2)
    normalizer.set_statistics(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    normal = normalizer(torch.tensor([[[1.0, 10.0], [1.5, 2.0]]]), torch.tensor([2]))
    torch.testing.assert_close(normal, torch.tensor([[[0.0, 2.0], [50.0, 0.0]]]))


def test_statistics_travel_in_the_state_dict() -> None:
    source, target = Normalizer(n_mels=3), Normalizer(n_mels=3)
    source.set_statistics(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    target.load_state_dict(source.state_dict())
    features = torch.randn(1, 4, 3)
    assert torch.equal(source(features, torch.tensor([4])), target(features, torch.tensor([4])))


def test_statistics_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"std must have shape \(80,\), got \(40,\)"):
        Normalizer().set_statistics(torch.zeros(80), torch.ones(40))
    with pytest.raises(ValueError, match="expected statistics of 80 bands, got 40"):
        FeatureStatistics(80).merge(FeatureStatistics(40))
    with pytest.raises(ValueError, match="0 frames"):
        _ = FeatureStatistics(80).std


def batches(rng: np.random.Generator, offset: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ragged batches of three bands, junk in the padding, one batch without a frame."""
    made = []
    for counts in ([5, 2, 9], [1], [0, 0], [30, 4]):
        features = torch.from_numpy(rng.standard_normal((len(counts), max(counts) + 2, 3)) + offset)
        lengths = torch.tensor(counts)
        features[torch.arange(features.shape[1]) >= lengths.unsqueeze(1)] = torch.nan
        made.append((features, lengths))
    return made


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_statistics_agree_with_numpy_in_any_order(offset: float) -> None:
    made = batches(np.random.default_rng(3), offset)
    rows = np.concatenate([f[i, :n].numpy() for f, counts in made for i, n in enumerate(counts.tolist())])
    forwards, backwards, halves = FeatureStatistics(3), FeatureStatistics(3), FeatureStatistics(3)
    for batch in made:
        forwards.update(*batch)
    for batch in reversed(made):
        backwards.update(*batch)
    other_half = FeatureStatistics(3)
    for i, batch in enumerate(made):
        (halves if i % 2 else other_half).update(*batch)
    halves.merge(other_half)
    halves.merge(FeatureStatistics(3))
    for statistics in (forwards, backwards, halves):
        assert statistics.count == len(rows)
        np.testing.assert_allclose(statistics.mean, rows.mean(0), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(statistics.std, rows.std(0), rtol=1e-9)


def test_measured_statistics_make_features_standard() -> None:
    features = 20 * torch.randn(4, 500, 80) - 30
    lengths = torch.tensor([500, 400, 300, 200])
    statistics, normalizer = FeatureStatistics(80), Normalizer()
    statistics.update(features, lengths)
    normalizer.set_statistics(statistics.mean, statistics.std)
    again = FeatureStatistics(80)
    again.update(normalizer(features, lengths), lengths)
    np.testing.assert_allclose(again.mean, np.zeros(80), atol=1e-5)
    np.testing.assert_allclose(again.std, np.ones(80), atol=1e-5)
