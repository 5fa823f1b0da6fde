"""Batches: everything exactly once, bounded, in a new order every epoch, the same for the same epoch."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.data.sampler import BatchSampler, Draw, Share


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


@settings(max_examples=50, deadline=None)
@given(
    seconds=st.lists(st.floats(0.1, 40.0), min_size=1, max_size=60),
    tokens=st.data(),
    bound=st.integers(20, 200),
)
def test_tokens_are_bounded_too(seconds: list[float], tokens: st.DataObject, bound: int) -> None:
    counts = tokens.draw(st.lists(st.integers(0, 50), min_size=len(seconds), max_size=len(seconds)))
    sampler = BatchSampler(seconds, max_batch_seconds=1e9, tokens=counts, max_batch_tokens=bound)
    for batch in sampler:
        assert len(batch) == 1 or max(counts[draw.index] for draw in batch) * len(batch) <= bound


@settings(max_examples=50, deadline=None)
@given(
    seconds=st.lists(st.floats(0.1, 40.0), min_size=1, max_size=60),
    world=st.integers(1, 5),
    pieces=st.integers(1, 4),
)
def test_processes_and_pieces_share_the_very_same_batches(
    seconds: list[float], world: int, pieces: int
) -> None:
    whole = BatchSampler(seconds, max_batch_seconds=60, seed=7, speeds=(95, 100))
    parts = [
        BatchSampler(
            seconds, max_batch_seconds=60, seed=7, speeds=(95, 100), share=Share(rank, world, pieces)
        )
        for rank in range(world)
    ]
    for step, batch in enumerate(whole):
        cut = [piece for part in parts for piece in part.pieces(step)]
        assert sorted((d for piece in cut for d in piece), key=lambda d: d.index) == sorted(
            batch, key=lambda d: d.index
        )
        assert all(len(part.pieces(step)) <= pieces and part.size(step) == len(batch) for part in parts)
        sizes = [len(piece) for piece in cut]
        assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    assert all(part.steps == whole.steps for part in parts)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 60), pieces=st.integers(1, 3), data=st.data())
def test_an_epoch_that_is_taken_up_again_holds_what_was_left_exactly_once(
    count: int, pieces: int, data: st.DataObject
) -> None:
    seconds = [1 + n / 7 for n in range(count)]
    sampler = BatchSampler(seconds, max_batch_seconds=20, share=Share(pieces=pieces))
    whole = epoch(sampler, 3)
    start = data.draw(st.integers(0, sampler.steps))
    done = [list(piece) for step in range(start) for piece in sampler.pieces(step)]
    sampler.set_epoch(3, start=start)
    assert done + list(sampler) == whole and len(sampler) == len(whole) - len(done)
