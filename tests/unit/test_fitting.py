"""The largest batch that fits: found by few tries, never larger than what was seen to fit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperconformer.errors import InputError
from hyperconformer.training.fitting import largest_fit


@given(
    base=st.integers(0, 10**9),
    slope=st.integers(1, 10**8),
    bend=st.floats(0, 1e5),
    room=st.integers(10**9, 10**12),
    limit=st.integers(10**9, 10**12),
)
def test_what_is_found_was_seen_to_fit(base: int, slope: int, bend: float, room: int, limit: int) -> None:
    tried = {}

    def peak(seconds: float) -> int:
        tried[seconds] = int(base + slope * seconds + bend * seconds**2)
        if tried[seconds] > limit:
            raise torch.OutOfMemoryError("no memory")
        return tried[seconds]

    try:
        found = largest_fit(peak, room, first=30.0)
    except InputError:
        assert max(tried.values()) > limit
        return
    assert found == 30 or tried[found] <= min(room, limit)
    assert len(tried) < 200
    if bend == 0 and room <= limit and found > 30:
        assert base + slope * (found + 10) > room


def test_a_gpu_without_any_room_is_named() -> None:
    def peak(seconds: float) -> int:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(InputError, match="no room for 60 s of audio: lower --max_utterance_length"):
        largest_fit(peak, 10**9, first=30.0)
