"""Speed perturbation, keyed chance and SpecAugment against one-utterance-at-a-time references."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hyperconformer.data.augment import SpecAugment, change_speed, keyed_rng, sped_up_samples

Array = npt.NDArray[np.float64]


def slow_spec_augment(
    features: Array, plan: list[int], freq_masks: int, time_masks: int, time_warp: int
) -> Array:
    """One unpadded utterance (F, M), one frame, one band and one mask at a time."""
    frames, n_mels = features.shape
    out = features.copy()
    if time_warp > 0:
        centre, target = plan[:2]
        for t in range(frames):
            source = np.interp(t, [0, target, frames - 1], [0, centre, frames - 1]) if target else float(t)
            low = min(int(source), frames - 1)
            high = min(low + 1, frames - 1)
            out[t] = features[low] + (source - low) * (features[high] - features[low])
    masks = [plan[i : i + 2] for i in range(2, len(plan), 2)]
    for start, width in masks[:freq_masks]:
        for m in range(n_mels):
            if start <= m < start + width:
                out[:, m] = 0
    for start, width in masks[freq_masks : freq_masks + time_masks]:
        for t in range(frames):
            if start <= t < start + width:
                out[t] = 0
    return out


SETTINGS: list[dict[str, Any]] = [
    {},
    {"time_warp": 0},
    {"freq_masks": 0},
    {"time_masks": 0},
    {"freq_masks": 0, "time_masks": 0, "time_warp": 20},
    {"freq_masks": 3, "time_masks": 5, "time_mask_width": 9, "max_time_share": 1.0, "time_warp": 1},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_agrees_with_the_slow_reference(settings: dict[str, Any]) -> None:
    augment = SpecAugment(**settings)
    lengths = torch.tensor([200, 1, 2, 13, 77, 150])
    features = torch.randn(6, 210, 80, dtype=torch.float64)
    padding = torch.arange(210) >= lengths.unsqueeze(1)
    features[padding] = torch.nan
    plans = np.stack([augment.draw(keyed_rng(i), n, 80) for i, n in enumerate(lengths.tolist())])
    fast = augment.apply(features, lengths, torch.from_numpy(plans))
    for row, frames in enumerate(lengths.tolist()):
        slow = slow_spec_augment(
            features[row, :frames].numpy(),
            plans[row].tolist(),
            augment.freq_masks,
            augment.time_masks,
            augment.time_warp,
        )
        np.testing.assert_allclose(fast[row, :frames].numpy(), slow, rtol=0, atol=1e-10)
        assert not fast[row, frames:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_plan_of_zeros_leaves_features_alone(dtype: torch.dtype) -> None:
    augment = SpecAugment()
    features = torch.randn(2, 50, 80).to(dtype)
    plans = torch.zeros(2, augment.plan_size, dtype=torch.long)
    assert torch.equal(augment.apply(features, torch.tensor([50, 50]), plans), features)


def test_a_warp_from_a_frame_to_itself_is_exact_on_long_utterances() -> None:
    augment = SpecAugment(freq_masks=0, time_masks=0)
    features = torch.randn(1, 360_001, 1)
    plans = torch.tensor([[123_457, 123_457]])
    assert torch.equal(augment.apply(features, torch.tensor([360_001]), plans), features)


def test_a_warp_keeps_both_ends_and_moves_its_centre() -> None:
    augment = SpecAugment(freq_masks=0, time_masks=0)
    ramp = torch.arange(101.0).view(1, 101, 1)
    warped = augment.apply(ramp, torch.tensor([101]), torch.tensor([[50, 55]])).flatten()
    assert (float(warped[0]), float(warped[55]), float(warped[100])) == (0.0, 50.0, 100.0)
    assert (warped.diff() > 0).all()


def test_views_share_the_warp_and_differ_in_the_masks() -> None:
    augment = SpecAugment()
    size = augment.plan_size
    key = 7775, 3, "a"
    plans = augment.draw_views(key, 400, 80, views=3).reshape(3, size)
    assert np.array_equal(plans[0], augment.draw(keyed_rng(*key), 400, 80))
    assert np.array_equal(augment.draw_views(key, 400, 80), plans[0])
    assert np.array_equal(plans[1, 2:], augment.draw(keyed_rng(*key, 1), 400, 80)[2:])
    assert (plans[:, :2] == plans[0, :2]).all() and plans[0, 0] != plans[0, 1]
    assert len({tuple(plan) for plan in plans}) == 3


def test_views_are_applied_one_after_the_other() -> None:
    augment = SpecAugment()
    lengths = torch.tensor([60, 41])
    features = torch.randn(2, 60, 80)
    plans = torch.from_numpy(
        np.stack([augment.draw_views((n,), int(length), 80, views=2) for n, length in enumerate(lengths)])
    )
    both = augment.apply_views(features, lengths, plans)
    for view in range(2):
        own = plans[:, view * augment.plan_size : (view + 1) * augment.plan_size]
        assert torch.equal(both[2 * view : 2 * view + 2], augment.apply(features, lengths, own))
    assert not torch.equal(both[:2], both[2:])


def test_draws_stay_inside_the_utterance_and_reach_every_value() -> None:
    augment = SpecAugment(time_warp=2, freq_masks=1, freq_mask_width=3, time_masks=1, time_mask_width=4)
    rng = keyed_rng("reach")
    plans = np.stack([augment.draw(rng, frames=30, n_mels=8) for _ in range(2000)])
    centre, target, band, bands, frame, frames = plans.T
    assert set(centre) == set(range(3, 27))
    assert set(target - centre) == {-2, -1, 0, 1, 2}
    assert set(bands) == {0, 1, 2, 3}
    assert set(frames) == {0, 1, 2, 3, 4}
    assert band.min() == frame.min() == 0
    assert (band + bands).max() == 8
    assert (frame + frames).max() == 30
    assert target.min() >= 1
    assert target.max() <= 28


def test_short_utterances_are_protected() -> None:
    augment = SpecAugment(max_time_share=0.2)
    widths = [augment.draw(keyed_rng(i), frames=14, n_mels=80)[7::2] for i in range(300)]
    assert np.max(widths) == 2
    for frames in (1, 2, 3, 12):
        assert not augment.draw(keyed_rng(frames), frames, 80)[:2].any()


def test_narrow_features_bound_frequency_masks() -> None:
    plans = [SpecAugment().draw(keyed_rng(i), frames=50, n_mels=4) for i in range(300)]
    assert max(plan[2] + plan[3] for plan in plans) == 4


def test_gradients_flow_through_what_is_not_masked() -> None:
    augment = SpecAugment(freq_masks=1, time_masks=1)
    features = torch.randn(1, 20, 4, dtype=torch.float64, requires_grad=True)
    plans = torch.tensor([[8, 10, 1, 1, 12, 3]])
    assert torch.autograd.gradcheck(lambda x: augment.apply(x, torch.tensor([18]), plans), (features,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_warp": -1}, "time_warp must not be negative, got -1"),
        ({"freq_mask_width": -3}, "freq_mask_width must not be negative, got -3"),
        ({"max_time_share": 1.5}, r"max_time_share must lie between 0 and 1, got 1\.5"),
    ],
)
def test_meaningless_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpecAugment(**settings)


def test_nothing_to_augment_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 80"):
        SpecAugment().draw(keyed_rng(0), frames=0, n_mels=80)


def test_keyed_chance_is_pinned_to_its_key() -> None:
    # Written down once, so equal in every process: a change would give a resumed training other batches.
    first_bits = keyed_rng(7775, 1, "1272-128104-0000").bit_generator.random_raw(2)
    assert first_bits.tolist() == [14873212301210328141, 17301000308027820165]
    keys: list[tuple[int | str, ...]] = [
        (1, 23),
        (12, 3),
        (123,),
        ("1", 23),
        (1, "23"),
        (23, 1),
        (-1,),
        ("-1",),
    ]
    keys += [("a", "b"), ("ab",), ("", "ab"), ("ab", "")]
    assert len({int(keyed_rng(*key).bit_generator.random_raw()) for key in keys}) == len(keys)
    with pytest.raises(ValueError, match="at least one part"):
        keyed_rng()


def peak_hz(samples: npt.NDArray[np.float32]) -> float:
    """Strongest frequency, to a quarter of a hertz."""
    padded = np.fft.rfft(samples * np.hanning(len(samples)), 64_000)
    return float(np.abs(padded).argmax() * 16_000 / 64_000)


@pytest.mark.parametrize(("percent", "expected_hz"), [(95, 418.0), (100, 440.0), (105, 462.0)])
def test_speed_shifts_pitch(percent: int, expected_hz: float) -> None:
    seconds = np.arange(32_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    changed = change_speed(tone, percent)
    assert changed.dtype == np.float32
    assert len(changed) == round(32_000 * 100 / percent)
    assert peak_hz(changed) == pytest.approx(expected_hz, abs=0.25)
    # The same tone played at the new speed from its first sample, away from the filter's edges.
    direct = 0.3 * np.sin(2 * np.pi * expected_hz * np.arange(len(changed)) / 16_000)
    np.testing.assert_allclose(changed[500:-500], direct[500:-500], atol=1e-3)


def test_speed_100_returns_the_very_same_array() -> None:
    samples = np.ones(7, dtype=np.float32)
    assert change_speed(samples, 100) is samples


def test_lengths_that_end_in_one_half_are_exact() -> None:
    assert [sped_up_samples(n, 56) for n in (553, 7)] == [988, 13]
    assert len(change_speed(np.zeros(553, dtype=np.float32), 56)) == 988


@pytest.mark.parametrize("percent", [0, -5])
def test_meaningless_speeds_are_refused(percent: int) -> None:
    with pytest.raises(ValueError, match=f"got {percent}"):
        change_speed(np.zeros(3, dtype=np.float32), percent)
