"""The largest batch that fits: found by few tries, never larger than what was seen to fit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperconformer.errors import InputError
from hyperconformer.training.brain import ASRBrain
from hyperconformer.training.fitting import MOST_SECONDS, _dry_step, largest_fit
from hyperconformer.training.settings import load_settings
from hyperconformer.training.setup import make_model


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
    assert found <= MOST_SECONDS
    if bend == 0 and room <= limit and 30 < found < MOST_SECONDS:
        assert base + slope * (found + 10) > room


def test_a_gpu_without_any_room_is_named() -> None:
    def peak(seconds: float) -> int:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(InputError, match="no room for 60 s of audio: lower --max_utterance_length"):
        largest_fit(peak, 10**9, first=30.0)


def test_a_try_leaves_the_weights_alone_and_its_batch_is_one_that_training_could_have(tmp_path) -> None:
    settings = load_settings(
        "hparams/digits.yaml",
        {
            "output_folder": str(tmp_path),
            "num_encoder_layers": 1,
            "d_model": 16,
            "d_ffn": 32,
            "cr_ctc_weight": 0.2,
        },
    )
    brain = ASRBrain(make_model(settings), None, settings, {"device": "cpu", "noprogressbar": True})
    before = {name: tensor.clone() for name, tensor in brain.model.state_dict().items()}
    _dry_step(brain, utterances=3, seconds=2.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in brain.model.state_dict().items())
    assert all(parameter.grad is None for parameter in brain.model.parameters())
