"""Edges of words in sounds whose edges are known: tones in silence, in noise, beside each other."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.decoding.word_edges import BLOCK_FRAMES, HOP_SECONDS, Guess, edges_in_sound, listen

Samples = npt.NDArray[np.float64]
Times = list[tuple[float, float]]

WORDS = [(0.4, 0.8), (1.1, 1.6), (1.75, 2.0), (3.2, 3.7)]
TOLERANCE = 0.025
"""Frames of 10 ms, behind windows of 20 ms."""


def spoken(times: Sequence[tuple[float, float]], seconds: float, noise: float = 0.0) -> Samples:
    """A tone for every word, each of another pitch, with faint noise or none around."""
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    samples = noise * np.random.default_rng(0).standard_normal(len(at))
    for number, (start, end) in enumerate(times):
        tone = 0.3 * np.sin(2 * np.pi * (400 + 300 * (number % 4)) * at)
        samples += np.where((at >= start) & (at < end), tone, 0.0)
    return samples


def guesses(times: Sequence[tuple[float, float]], off: float = 0.12) -> list[Guess]:
    """One labelled frame in the middle of a word, and guesses that are too narrow and too wide in turns."""
    rows = []
    for number, (start, end) in enumerate(times):
        peak, shift = (start + end) / 2, off if number % 2 else -off
        rows.append(Guess(start + shift, end - shift, 0.1, 0.15, peak, peak))
    return rows


def heard(samples: Samples, guessed: Sequence[Guess]) -> Times:
    return edges_in_sound(listen(samples), guessed)


def assert_near(found: Times, truth: Sequence[tuple[float, float]], tolerance: float = TOLERANCE) -> None:
    assert np.abs(np.array(found) - np.array(truth)).max() <= tolerance


@pytest.mark.parametrize("noise", [0.0, 1e-4, 3e-3])
def test_silence_between_words_belongs_to_none(noise: float) -> None:
    assert_near(heard(spoken(WORDS, 4.0, noise), guesses(WORDS)), WORDS)


def test_loudness_and_clipping_move_nothing() -> None:
    samples = spoken(WORDS, 4.0, 1e-3)
    assert_near(heard(samples / 100, guesses(WORDS)), WORDS)
    assert_near(heard(np.clip(30 * samples, -1, 1), guesses(WORDS)), WORDS)


def test_words_that_touch_part_where_the_spectrum_changes() -> None:
    touching = [(0.3, 0.7), (0.7, 1.2), (1.2, 1.5)]
    found = heard(spoken(touching, 2.0, 1e-3), guesses(touching, off=0.08))
    assert_near(found, touching)
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]


def test_words_that_touch_part_in_a_dip() -> None:
    samples = spoken([(0.3, 1.1)], 1.5, 1e-3)
    samples[round(0.62 * SAMPLE_RATE) : round(0.65 * SAMPLE_RATE)] *= 0.1
    guessed = [Guess(0.3, 0.55, 0.1, 0.2, 0.4, 0.4), Guess(0.55, 1.1, 0.1, 0.2, 0.9, 0.9)]
    (_, end), (start, _) = heard(samples, guessed)
    assert 0.6 <= end <= start <= 0.67


def test_a_cough_far_from_both_words_belongs_to_none() -> None:
    truth = [(0.3, 0.7), (2.5, 2.9)]
    found = heard(spoken([truth[0], (1.5, 1.6), truth[1]], 3.2, 1e-3), guesses(truth))
    assert_near(found, truth)


def test_a_closure_within_a_word_does_not_end_it() -> None:
    """As in EIGHT: 60 ms of silence, then a burst."""
    samples = spoken([(0.3, 0.6), (0.66, 0.74)], 1.2, 1e-4)
    assert_near(heard(samples, [Guess(0.3, 0.7, 0.1, 0.2, 0.4, 0.4)]), [(0.3, 0.74)])


def test_labelled_frames_stay_inside_even_where_it_is_silent() -> None:
    guessed = [Guess(0.9, 1.1, 0.1, 0.1, 0.96, 1.04), Guess(2.2, 2.4, 0.1, 0.1, 2.28, 2.32)]
    for (start, end), word in zip(heard(spoken(WORDS, 4.0), guessed), guessed, strict=True):
        assert start <= word.first <= word.last <= end


@pytest.mark.parametrize("value", [0.0, 0.5, np.nan, np.inf, 1e30])
def test_where_there_is_nothing_to_hear_the_guesses_stay(value: float) -> None:
    guessed = guesses(WORDS, off=0.05)
    found = heard(np.full(4 * SAMPLE_RATE, value), guessed)
    assert_near(found, [(word.start, word.end) for word in guessed], 0.01)


@pytest.mark.parametrize("seed", range(3))
def test_steady_noise_as_loud_as_speech_leaves_the_guesses(seed: int) -> None:
    guessed = guesses(WORDS, off=0.05)
    noise = np.random.default_rng(seed).standard_normal(4 * SAMPLE_RATE)
    assert_near(heard(noise, guessed), [(word.start, word.end) for word in guessed], 0.02)


def test_a_token_of_two_words_leaves_them_as_guessed() -> None:
    guessed = [Guess(0.3, 0.6, 0.1, 0.1, 0.5, 0.6), Guess(0.6, 0.9, 0.1, 0.1, 0.5, 0.8)]
    (_, end), (start, _) = heard(spoken([(0.3, 0.9)], 1.2, 1e-3), guessed)
    assert (end, start) == (0.6, 0.6)


def test_what_is_beyond_the_sound_stays_as_guessed() -> None:
    guessed = guesses(WORDS, off=0.05)
    found = heard(spoken(WORDS[:2], 1.7), guessed)
    assert found[2:] == [(word.start, word.end) for word in guessed[2:]]
    assert heard(np.zeros(0), guessed) == [(word.start, word.end) for word in guessed]


def test_a_long_recording_is_heard_in_blocks_like_a_short_one() -> None:
    block = BLOCK_FRAMES * HOP_SECONDS
    # Words in, across and after the end of a block, whose length is three quarters of the longest one's.
    truth = [
        (start + shift, end + shift) for shift in (0.0, 0.75 * block - 1.5, 2 * block) for start, end in WORDS
    ]
    samples = spoken(truth, 3 * 0.75 * block, 1e-3)
    sound = listen(samples)
    assert len(sound.level_f) == len(samples) // 160 + 1 == len(sound.change_f) - 1
    assert_near(edges_in_sound(sound, guesses(truth)), truth)
