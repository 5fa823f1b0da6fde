"""The gates in every kind of recording, and what they do not depend on."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hyperconformer.audio import read_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.longform_options import LongformOptions
from hyperconformer.inference.segmentation import speech_segments
from hyperconformer.inference.voice_activity import (
    SILENCE_DB,
    VOICE_ACTIVITY,
    energy_gate,
    levels_db,
    seconds_of,
)
from tests.tone_words import Samples, blocks_of, spoken

SPOKEN = 12.0, 15.0
"""From when to when someone speaks in 30 s."""


def recording(noise: float = 1e-3, level: float = 1.0, offset: float = 0.0) -> Samples:
    """Seconds of noise, three seconds of words in them."""
    said = spoken(["ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX"], [0.2] * 6, noise=0.0)
    silence = np.zeros(30 * SAMPLE_RATE, np.float32)
    silence[12 * SAMPLE_RATE : 12 * SAMPLE_RATE + len(said)] = said
    rng = np.random.default_rng(0)
    heard = silence + rng.normal(scale=noise, size=len(silence)) if noise else silence
    return (level * heard + offset).astype(np.float32)


def kept(samples: Samples, vad: str = "energy") -> float:
    """Which share of a recording passes."""
    return sum(len(s.samples) for s in speech_segments([samples], LongformOptions(vad=vad))) / len(samples)


@pytest.mark.parametrize(
    ("noise", "level", "offset"),
    [
        pytest.param(1e-3, 1.0, 0.0, id="clean"),
        pytest.param(0.0, 1.0, 0.0, id="digital silence"),
        pytest.param(2e-2, 1.0, 0.0, id="loud noise"),
        pytest.param(1e-3, 1.0, 0.4, id="offset"),
        pytest.param(1e-3, 2e-3, 0.0, id="very quiet"),
        pytest.param(1e-3, 8.0, 0.0, id="very loud"),
    ],
)
def test_speech_is_found_and_little_else(noise: float, level: float, offset: float) -> None:
    samples = recording(noise, level, offset)
    if level > 1:
        samples = samples.clip(-0.5, 0.5)
    [segment] = speech_segments([samples])
    assert SPOKEN[0] - 0.5 < segment.start <= SPOKEN[0] + 0.2
    assert SPOKEN[1] <= segment.end < SPOKEN[1] + 0.5


@pytest.mark.parametrize("vad", ["energy", "webrtc"])
def test_human_speech_is_kept_and_the_silence_around_it_is_not(vad: str, shared_data: Path) -> None:
    clip = read_audio(min((shared_data / "digits" / "test-digits").rglob("*.opus")))
    rng = np.random.default_rng(0)
    silence = rng.normal(scale=1e-4, size=8 * SAMPLE_RATE).astype(np.float32)
    said = np.zeros(16 * SAMPLE_RATE + len(clip), np.bool_)
    for segment in speech_segments([silence, clip, silence], LongformOptions(vad=vad)):
        said[segment.start_sample :][: len(segment.samples)] = True
    within = said[len(silence) : -len(silence)]
    loud = np.abs(clip) > 0.05 * np.abs(clip).max()
    assert within[loud].all()
    # WebRTC's begins by taking everything for speech.
    assert (said.sum() - within.sum()) / SAMPLE_RATE < 1.5


def test_silence_and_steady_noise_are_no_speech() -> None:
    rng = np.random.default_rng(0)
    for noise in (0.0, 1e-5, 1e-3, 0.3):
        assert kept(rng.normal(scale=noise, size=60 * SAMPLE_RATE).astype(np.float32)) < 0.02, noise
    assert kept(np.full(10 * SAMPLE_RATE, 0.7, np.float32)) == 0.0
    assert kept(np.zeros(1, np.float32)) == 0.0


def test_music_passes() -> None:
    """Chords without a pause: every beat begins loudly and fades."""
    times = np.arange(60 * SAMPLE_RATE) / SAMPLE_RATE
    fading = np.exp(-3.0 * (times % 0.5))
    music = sum(np.sin(2 * np.pi * hertz * times) for hertz in (262, 330, 392)) * fading * 0.05
    assert kept(music.astype(np.float32)) > 0.95


def test_noise_that_sets_in_is_learnt() -> None:
    """Kept for as long as it may be speech, then no more."""
    rng = np.random.default_rng(0)
    samples = np.concatenate((np.zeros(20 * SAMPLE_RATE), rng.normal(scale=0.01, size=40 * SAMPLE_RATE)))
    assert kept(samples.astype(np.float32)) < 0.35


@pytest.mark.parametrize("vad", sorted(VOICE_ACTIVITY))
def test_blocks_make_no_difference(vad: str) -> None:
    samples = np.concatenate((recording(), spoken(["SIX"] * 90, [0.05] * 90)))
    options = LongformOptions(vad=vad)
    whole = list(speech_segments([samples], options))
    for seed in range(3):
        found = list(speech_segments(blocks_of(samples, seed=seed), options))
        assert [segment.start_sample for segment in found] == [segment.start_sample for segment in whole]
        for one, other in zip(found, whole, strict=True):
            np.testing.assert_array_equal(one.samples, other.samples)
    assert list(speech_segments([], options)) == []


@pytest.mark.parametrize("length", [1, 319, 320, 321, 16_000, 16_001, 200_000])
@pytest.mark.parametrize("vad", sorted(VOICE_ACTIVITY))
def test_every_sample_comes_out_of_a_gate_with_its_flags(vad: str, length: int) -> None:
    samples = np.random.default_rng(0).normal(scale=0.1, size=length).astype(np.float32)
    out, flags = zip(*VOICE_ACTIVITY[vad](seconds_of([samples])), strict=True)
    np.testing.assert_array_equal(np.concatenate(out), samples)
    assert [len(f) for f in flags] == [-(-len(o) // 320) for o in out]
    assert all(f.dtype == np.bool_ for f in flags)


def test_levels_are_of_full_scale_and_have_an_end() -> None:
    square = np.tile(np.array([1.0, -1.0], np.float32), 160)
    np.testing.assert_allclose(levels_db(square), [0.0], atol=1e-6)
    np.testing.assert_allclose(levels_db(0.1 * square + 0.5), [-20.0], atol=1e-4)
    assert levels_db(np.zeros(321, np.float32)).tolist() == [SILENCE_DB, SILENCE_DB]


def test_the_gate_holds_no_more_than_some_seconds() -> None:
    taken = 0

    def seconds() -> Iterator[Samples]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield np.zeros(SAMPLE_RATE, np.float32)

    for given, _ in enumerate(energy_gate(seconds()), start=1):
        assert taken - given <= 5


def test_what_is_missing_or_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="vad 'silero' is not one of energy, webrtc, none"):
        LongformOptions(vad="silero")
    for wrong in ({"max_segment_seconds": 1.0}, {"overlap_seconds": 11.0}, {"batch_seconds": 0.0}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} must "):
            LongformOptions(**wrong)
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(InputError, match=r'pip install "hyperconformer\[vad\]"'):
        list(speech_segments([np.zeros(SAMPLE_RATE, np.float32)], LongformOptions(vad="webrtc")))
