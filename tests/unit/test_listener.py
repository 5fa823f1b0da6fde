"""What stands between a model and recordings of any length: its limits, headers that lie, rates, timings."""

import struct
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hyperconformer.audio import Recording, Samples, audio_seconds
from hyperconformer.errors import InputError
from hyperconformer.inference import voice_activity
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.inference.clock import Clock
from hyperconformer.inference.longform_options import LongformOptions
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.inference.voice_activity import Flags
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import Tokenizer
from tests.broken_audio import encode, sound


def bursts(seconds: float) -> Samples:
    """Noise with pauses, as the gate takes it for speech."""
    times = np.arange(round(16_000 * seconds)) / 16_000
    loudness = np.where(times % 2.0 < 1.4, 0.1, 0.001)
    return (loudness * np.random.default_rng(0).standard_normal(len(times))).astype(np.float32)


def limited(folder: Path, tiny_bundle: Path, mixer: str, max_frames: int) -> Path:
    """A model whose mixer hears so many frames, and no more."""
    torch.manual_seed(0)
    config = ModelConfig(
        output_neurons=30, d_model=16, nhead=2, d_ffn=32, num_encoder_layers=1, num_decoder_layers=1,
        mixer=mixer, mixer_options={"max_frames": max_frames},
    )  # fmt: skip
    tokenizer = Tokenizer.load(tiny_bundle / "tokenizer.model")
    return save_bundle(folder / "model", ASR(config), tokenizer, metrics={}, card="")


@pytest.mark.parametrize("mixer", ["mlp", "gmlp"])
def test_segments_are_no_longer_than_the_mixer_hears(mixer: str, tiny_bundle: Path, tmp_path: Path) -> None:
    model = limited(tmp_path, tiny_bundle, mixer, max_frames=76)
    files = []
    for seconds in (2.9, 3.0, 3.01, 10.0):
        files.append(tmp_path / f"{seconds}.wav")
        soundfile.write(files[-1], bursts(seconds), 16_000)
    transcriber = Transcriber.load(model)
    found = dict(transcriber.transcribe_files(files))
    for place, path in enumerate(files):
        assert not isinstance(found[place], InputError)
        assert found[place].text == transcriber.transcribe(path).text != ""
    given = Transcriber.load(model, longform=LongformOptions(max_segment_seconds=3.0))
    assert given.transcribe(files[-1]).text == found[3].text
    with pytest.raises(InputError, match=r"^max_segment_seconds 3.01 is more than the 3 s that this model"):
        Transcriber.load(model, longform=LongformOptions(max_segment_seconds=3.01))
    at_once = Transcriber.load(model, one_pass=True)
    assert at_once.transcribe(files[1]).seconds == 3.0
    with pytest.raises(InputError, match="one pass over 10 s is too much"):
        at_once.transcribe(files[-1])


def test_a_mixer_that_hears_hardly_anything_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hears 0.4 s at once, too little for segments of 2 s"):
        Transcriber.load(limited(tmp_path, tiny_bundle, "mlp", max_frames=11))


def test_overlap_is_half_of_a_short_segment() -> None:
    assert LongformOptions(max_segment_seconds=3.0).shared_seconds == 1.5
    assert LongformOptions().shared_seconds == 2.0
    with pytest.raises(InputError, match=r"overlap_seconds must lie between 0.0 and 1.5, got 2.0"):
        LongformOptions(overlap_seconds=2.0).within(3.0)


def lying(seconds: float) -> bytes:
    """A film without pictures that is said to last a second."""
    content = encode(sound(seconds), "matroska", "pcm_s16le")
    # EBML's identity of a segment's duration, and its size; then milliseconds. Its stream says it in words.
    at = content.index(b"\x44\x89\x88") + 3
    content = content[:at] + struct.pack(">d", 1_000.0) + content[at + 8 :]
    tag = content.rindex(b"00:00:")
    return content[: tag + 6] + b"01.000000000" + content[tag + 18 :]


def test_a_file_that_is_longer_than_its_header_says_is_cut(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "lies.mka", tmp_path / "honest.wav"]
    paths[0].write_bytes(lying(12.0))
    soundfile.write(paths[1], bursts(1.5), 16_000)
    assert audio_seconds(paths[0]) == 1.0
    transcriber = Transcriber.load(tiny_bundle, longform=LongformOptions(max_segment_seconds=4.0))
    told: list[float] = []
    found = dict(transcriber.transcribe_files(paths, progress=told.append))
    assert sum(told) == pytest.approx(13.5)
    for place, path in enumerate(paths):
        alone = transcriber.transcribe(path)
        assert (found[place].seconds, found[place].segments) == (alone.seconds, alone.segments)
    assert found[0].seconds == pytest.approx(12.0)
    assert len(found[0].segments) > 1
    assert max(segment.end - segment.start for segment in found[0].segments) <= 4.0


@pytest.mark.parametrize("one_pass", [False, True], ids=["segments", "one pass"])
def test_timings_of_long_recordings_are_whole(
    one_pass: bool, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.flac", bursts(12.0), 16_000)
    energy, own = voice_activity.VOICE_ACTIVITY["energy"], Recording.blocks

    def slow_gate(seconds: Iterable[Samples]) -> Iterator[tuple[Samples, Flags]]:
        for found in energy(seconds):
            time.sleep(0.02)
            yield found

    def slow_blocks(recording: Recording) -> Iterator[Samples]:
        for block in own(recording, seconds=2.0):
            time.sleep(0.05)
            yield block

    monkeypatch.setitem(voice_activity.VOICE_ACTIVITY, "energy", slow_gate)
    monkeypatch.setattr(Recording, "blocks", slow_blocks)
    options = LongformOptions(max_segment_seconds=4.0, batch_seconds=4.0)
    transcriber = Transcriber.load(tiny_bundle, longform=options, one_pass=one_pass)
    begun = time.perf_counter()
    timings = transcriber.transcribe(tmp_path / "long.flac").timings
    took = time.perf_counter() - begun
    assert set(timings) == {"read", "encode", "search", "words"}
    slept = 6 * 0.05 + (0 if one_pass else 12 * 0.02)
    assert timings["read"] >= slept
    assert 0.8 * took < sum(timings.values()) <= took


def test_a_clock_counts_what_getting_takes_and_not_what_is_done() -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.02)
            yield number

    clock, got = Clock(), []
    for number in clock.each("read", slow()):
        time.sleep(0.1)
        got.append(number)
    assert got == [0, 1, 2]
    assert 0.06 <= clock.take()["read"] < 0.2
    assert list(clock.each("read", [])) == []


def test_rates_are_of_samples(tiny_bundle: Path, tmp_path: Path) -> None:
    transcriber = Transcriber.load(tiny_bundle)
    soundfile.write(tmp_path / "a.wav", bursts(0.5), 16_000)
    for call in (transcriber.transcribe, lambda *given: list(transcriber.stream(*given))):
        with pytest.raises(InputError, match=r"a\.wav': a file tells its own rate: leave sample_rate_hz out"):
            call(tmp_path / "a.wav", 8_000)
        with pytest.raises(InputError, match="the array has a sample rate of '16000', which is no number"):
            call(bursts(0.5), "16000")
        with pytest.raises(InputError, match="does not exist"):
            call(tmp_path / "b.wav", 8_000)


def test_a_tensor_may_have_a_gradient(tiny_bundle: Path) -> None:
    transcriber, samples = Transcriber.load(tiny_bundle), bursts(0.5)
    found = transcriber.transcribe(torch.from_numpy(samples).requires_grad_(), 16_000)
    assert found.text == transcriber.transcribe(samples, 16_000).text


def test_short_segments_overlap_by_half_and_are_joined(tiny_bundle: Path, tmp_path: Path) -> None:
    model = limited(tmp_path, tiny_bundle, "mlp", max_frames=51)
    transcriber = Transcriber.load(model, longform=LongformOptions(vad="none"))
    segments = list(transcriber.stream(bursts(9.0), 16_000))
    assert len(segments) > 3
    assert all(one.end <= other.start for one, other in pairwise(segments))
