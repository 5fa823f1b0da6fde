"""Files come as padded batches, in the order of the plan, whatever is wrong with some of them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperconformer.audio import read_audio
from hyperconformer.inference import reading
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.encoding import encode_files, set_precision
from hyperconformer.inference.longform_options import LongformOptions
from hyperconformer.inference.reading import Portion, plan_batches, plan_files, read_batches
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    """Five clips of noise, the second of them cut short."""
    generator = np.random.default_rng(0)
    paths = [str(tmp_path / f"{index}.flac") for index in range(5)]
    for index, path in enumerate(paths):
        soundfile.write(path, 0.1 * generator.standard_normal(4000 * (index + 1)), samplerate=16_000)
    Path(paths[1]).write_bytes(b"fLaC")
    return paths


def portions(paths: list[str], *numbers: list[int]) -> list[Portion]:
    """Recordings by their numbers."""
    return [{number: paths[number] for number in group} for group in numbers]


@given(
    seconds=st.lists(st.floats(0, 40), max_size=30),
    most_seconds=st.floats(0.1, 100),
)
def test_a_plan_holds_every_file_once_and_keeps_to_its_size(
    seconds: list[float], most_seconds: float
) -> None:
    plan = plan_batches(seconds, most_seconds)
    assert sorted(file for batch in plan for file in batch) == list(range(len(seconds)))
    assert [seconds[file] for batch in plan for file in batch] == sorted(seconds, reverse=True)
    for batch in plan:
        assert len(batch) == 1 or seconds[batch[0]] * len(batch) <= most_seconds


def test_what_is_long_or_cannot_be_read_stands_alone_and_first(
    recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = LongformOptions(batch_seconds=1.0)
    numbered = list(enumerate(recordings, start=10))
    plan = [list(portion) for portion in plan_files(numbered, options)]
    assert plan == [[11], [14], [13], [12], [10]]
    # Nobody hears two seconds at once: 14 would, of the longer one.
    assert [list(portion) for portion in plan_files(numbered, LongformOptions())] == [[11], [14, 13, 12, 10]]
    monkeypatch.setattr(reading, "WINDOW", 2)
    plan = [list(portion) for portion in plan_files(iter(numbered), options)]
    assert plan == [[11], [10], [13], [12], [14]]


def test_batches_hold_what_the_files_hold(recordings: list[str]) -> None:
    batches = list(read_batches(portions(recordings, [4, 1], [1], [3, 2, 0]), ahead=0))
    assert [list(batch.files) for batch in batches] == [[4], [], [3, 2, 0]]
    assert [list(batch.faults) for batch in batches] == [[1], [1], []]
    for batch in batches:
        for file, samples, length in zip(batch.files, batch.samples_bs, batch.lengths_b, strict=True):
            assert np.array_equal(samples[:length].numpy(), read_audio(recordings[file]))
            assert not samples[length:].any()
    assert batches[2].seconds == [1.0, 0.75, 0.25]


def test_files_that_are_longer_than_thought_are_named(recordings: list[str]) -> None:
    [batch] = read_batches(portions(recordings, [4, 1, 3, 0]), most_seconds=1.0)
    assert (list(batch.files), batch.longer, list(batch.faults)) == ([3, 0], {4: recordings[4]}, [1])
    assert batch.seconds == [1.0, 0.25]


def test_batches_are_taken_as_there_is_room(recordings: list[str]) -> None:
    asked = []

    def wanted():
        for portion in portions(recordings, [3], [0], [2], [4]):
            asked.extend(portion)
            yield portion

    batches = read_batches(wanted(), ahead=1)
    assert list(next(batches).files) == [3]
    assert asked == [3, 0, 2]
    batches.close()


def test_nothing_waits_behind_what_is_long(recordings: list[str]) -> None:
    asked = []

    def wanted():
        for portion in portions(recordings, [4], [3], [0, 2], [1]):
            asked.extend(portion)
            yield portion

    batches = read_batches(wanted(), most_seconds=1.0)
    assert list(next(batches).longer) == asked == [4]
    assert [list(batch.files) for batch in batches] == [[3], [0, 2], []]
    assert asked == [4, 3, 0, 2, 1]


def test_a_fault_of_the_program_is_not_taken_for_one_of_the_audio(
    recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise MemoryError

    monkeypatch.setattr(reading, "read_audio", fail)
    with pytest.raises(MemoryError):
        list(read_batches(portions(recordings, [0])))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_neighbours_in_a_batch_are_not_heard(recordings: list[str], precision: str) -> None:
    torch.manual_seed(0)
    model = set_precision(ASR(ModelConfig(output_neurons=12, d_model=16, nhead=2)).eval(), precision)
    clock = Clock()
    [together] = encode_files(model, portions(recordings, [4, 3, 0]), clock=clock)
    alone = list(encode_files(model, portions(recordings, [4], [3], [0]), clock=clock))
    assert {"wait", "encode"} == set(clock.take())
    assert together.memory_btd.dtype == torch.float32
    for row, heard in enumerate(alone):
        frames = int(together.lengths_b[row])
        assert frames == int(heard.lengths_b[0])
        tolerance = {"rtol": 0, "atol": 1e-4 if precision == "fp32" else 0.1}
        torch.testing.assert_close(together.memory_btd[row, :frames], heard.memory_btd[0], **tolerance)


def test_less_precision_stays_near(recordings: list[str]) -> None:
    torch.manual_seed(0)
    model = ASR(ModelConfig(output_neurons=12, d_model=16, nhead=2)).eval()
    [exact] = encode_files(model, portions(recordings, [4]), clock=Clock())
    [near] = encode_files(set_precision(model, "bf16"), portions(recordings, [4]), clock=Clock())
    error = (near.memory_btd - exact.memory_btd).norm() / exact.memory_btd.norm()
    assert 0 < error < 0.2
