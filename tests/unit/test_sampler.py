"""Batches: everything exactly once, bounded, in a new order every epoch, the same for the same epoch."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.data.sampler import BatchSampler, Draw


def epoch(sampler: BatchSampler, number: int) -> list[list[Draw]]:
    sampler.set_epoch(number)
    return list(sampler)


@settings(max_examples=50, deadline=None)
@given(
    seconds=st.lists(st.floats(0.1, 40.0), min_size=1, max_size=60),
    bound=st.floats(1.0, 100.0),
    number=st.integers(1, 5),
    shuffle=st.booleans(),
)
def test_epochs_hold_everything_once_within_the_bound(
    seconds: list[float], bound: float, number: int, shuffle: bool
) -> None:
    sampler = BatchSampler(seconds, max_batch_seconds=bound, speeds=(95, 100, 105), shuffle=shuffle)
    batches = epoch(sampler, number)
    assert len(sampler) == len(batches)
    assert sorted(draw.index for batch in batches for draw in batch) == list(range(len(seconds)))
    for batch in batches:
        longest = max(seconds[draw.index] * 100 / draw.speed for draw in batch)
        assert len(batch) == 1 or longest * len(batch) <= bound + 1e-9
    assert {draw.epoch for batch in batches for draw in batch} == {number}


def test_a_new_epoch_is_a_new_order_and_an_old_one_can_be_had_again() -> None:
    seconds = [1 + n / 7 for n in range(50)]
    one = BatchSampler(seconds, max_batch_seconds=20, seed=3)
    first, second = epoch(one, 1), epoch(one, 2)
    assert {frozenset(d.index for d in b) for b in first} != {frozenset(d.index for d in b) for b in second}
    assert epoch(BatchSampler(seconds, max_batch_seconds=20, seed=3), 2) == second
    assert epoch(BatchSampler(seconds, max_batch_seconds=20, seed=4), 2) != second


def test_all_speeds_are_used() -> None:
    batches = epoch(BatchSampler([1.0] * 100, max_batch_seconds=10, speeds=(95, 100, 105)), 1)
    assert {draw.speed for batch in batches for draw in batch} == {95, 100, 105}


def test_a_bound_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        BatchSampler([1.0], max_batch_seconds=0)
