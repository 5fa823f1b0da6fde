"""Invariants of augmentation: exact lengths, plans inside the utterance, invisible padding."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.data.augment import SpecAugment, change_speed, keyed_rng, sped_up_samples

KEY_PART = st.one_of(st.integers(), st.text(max_size=4))
KEY = st.lists(KEY_PART, min_size=1, max_size=4).map(tuple)
AUGMENT = st.builds(
    SpecAugment,
    time_warp=st.integers(0, 12),
    freq_masks=st.integers(0, 3),
    freq_mask_width=st.integers(0, 20),
    time_masks=st.integers(0, 3),
    time_mask_width=st.integers(0, 50),
    max_time_share=st.floats(0, 1),
)


@settings(deadline=None, max_examples=200)
@given(samples=st.integers(0, 60_000), percent=st.integers(50, 200))
def test_the_predicted_length_is_exact(samples: int, percent: int) -> None:
    changed = change_speed(np.zeros(samples, dtype=np.float32), percent)
    assert changed.shape == (sped_up_samples(samples, percent),)
    assert abs(len(changed) - samples * 100 / percent) <= 0.5


@settings(deadline=None, max_examples=20)
@given(samples=st.integers(60_000, 640_000), percent=st.sampled_from([90, 95, 105, 110]))
def test_the_predicted_length_is_exact_for_long_utterances(samples: int, percent: int) -> None:
    assert len(change_speed(np.zeros(samples, dtype=np.float32), percent)) == sped_up_samples(
        samples, percent
    )


@given(one=KEY, other=KEY)
def test_only_equal_keys_give_equal_chance(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> None:
    first, second = (keyed_rng(*key).bit_generator.random_raw() for key in (one, other))
    assert (first == second) == (one == other)


@given(augment=AUGMENT, frames=st.integers(1, 400), n_mels=st.integers(1, 80), seed=st.integers(0, 2**32))
def test_plans_stay_inside_the_utterance(augment: SpecAugment, frames: int, n_mels: int, seed: int) -> None:
    plan = augment.draw(keyed_rng(seed), frames, n_mels)
    assert plan.shape == (augment.plan_size,)
    assert plan.dtype == np.int64
    centre, target = plan[:2]
    assert abs(target - centre) <= augment.time_warp
    assert centre == target == 0 or (0 < target < frames - 1 and 0 < centre < frames - 1)
    first_time = 2 + 2 * augment.freq_masks
    for masks, size, widest in (
        (plan[2:first_time], n_mels, augment.freq_mask_width),
        (plan[first_time:], frames, min(augment.time_mask_width, augment.max_time_share * frames)),
    ):
        starts, widths = masks[0::2], masks[1::2]
        assert ((starts >= 0) & (starts < size) & (starts + widths <= size)).all()
        assert ((widths >= 0) & (widths <= widest)).all()


@settings(deadline=None, max_examples=60)
@given(
    augment=AUGMENT,
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    extra=st.integers(0, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_augmentation_is_the_same_alone_and_in_a_batch(
    augment: SpecAugment, lengths: list[int], extra: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lengths_b = torch.tensor(lengths)
    features_bfm = torch.from_numpy(rng.standard_normal((len(lengths), max(lengths) + extra, 7)))
    features_bfm[torch.arange(features_bfm.shape[1]) >= lengths_b.unsqueeze(1)] = rng.choice([np.nan, 1e9])
    plans_bp = torch.from_numpy(np.stack([augment.draw(rng, frames, 7) for frames in lengths]))
    together_bfm = augment.apply(features_bfm, lengths_b, plans_bp)
    for row, frames in enumerate(lengths):
        alone = features_bfm[row : row + 1, :frames], lengths_b[row : row + 1], plans_bp[row : row + 1]
        assert torch.equal(together_bfm[row, :frames], augment.apply(*alone)[0])
        assert not together_bfm[row, frames:].any()
