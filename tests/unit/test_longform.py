"""Cutting, stitching and batching, with recordings of tones whose words and times are known."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.inference.longform import joined, transcribe_stream
from hyperconformer.inference.longform_options import LongformOptions
from hyperconformer.inference.segmentation import speech_segments
from hyperconformer.inference.stitching import stitch
from hyperconformer.types import Hypothesis, Segment, Word
from tests.tone_words import VOCABULARY, WORD_SECONDS, Samples, blocks_of, heard, spoken


def drawn(count: int, gaps: tuple[float, float], seed: int = 0) -> tuple[list[str], list[float]]:
    """Words and the gaps before them."""
    rng = np.random.default_rng(seed)
    words = [VOCABULARY[i] for i in rng.integers(0, len(VOCABULARY), count)]
    return words, rng.uniform(*gaps, count).round(2).tolist()


def recognise(arrays: list[Samples]) -> list[Segment]:
    return [heard(samples) for samples in arrays]


@pytest.mark.parametrize("vad", ["energy", "none"])
@pytest.mark.parametrize("gaps", [(0.05, 0.1), (0.1, 0.7), (0.3, 4.0)])
def test_what_was_said_is_heard_once_and_in_time(vad: str, gaps: tuple[float, float]) -> None:
    """Without a pause, with short ones and with long ones; cut in the midst of words too."""
    words, before = drawn(150, gaps)
    samples = spoken(words, before)
    options = LongformOptions(vad=vad, max_segment_seconds=5.0, overlap_seconds=1.0, batch_seconds=12.0)
    segments = list(transcribe_stream(blocks_of(samples), recognise, options))
    assert " ".join(segment.text for segment in segments).split() == words
    found = [word for segment in segments for word in segment.words]
    starts = np.cumsum(before) + WORD_SECONDS * np.arange(len(words))
    np.testing.assert_allclose([word.start for word in found], starts, atol=0.03)
    np.testing.assert_allclose([word.end for word in found], starts + WORD_SECONDS, atol=0.03)
    edges = [time for segment in segments for time in (segment.start, segment.end)]
    assert edges == sorted(edges) and edges[-1] <= len(samples) / SAMPLE_RATE + 0.02
    for segment in segments:
        assert segment.start <= segment.words[0].start and segment.words[-1].end <= segment.end
        assert segment.text == " ".join(word.text for word in segment.words)


@pytest.mark.parametrize("vad", ["energy", "webrtc", "none"])
def test_nothing_ends_after_the_recording(vad: str) -> None:
    """A recogniser may round times up to its frames, and sums of times are rounded too."""
    options = LongformOptions(vad=vad, max_segment_seconds=5.0)

    def late(arrays: list[Samples]) -> list[Segment]:
        ends = [0.04 * np.ceil(len(samples) / 640) for samples in arrays]
        return [Segment(0.0, end, "ONE", (Word("ONE", end - 0.2, end, 1.0),)) for end in ends]

    for seed in range(5):
        words, before = drawn(30, (0.2, 0.2), seed)
        samples = spoken(words, before)[: -(101 + 7 * seed)]
        seconds = len(samples) / SAMPLE_RATE
        for said in (late, recognise):
            segments = list(transcribe_stream(blocks_of(samples), said, options))
            times = [word.end for segment in segments for word in segment.words]
            assert segments and max(segment.end for segment in segments) <= seconds and max(times) <= seconds


def test_batches_are_no_longer_than_asked() -> None:
    words, before = drawn(120, (0.3, 1.5))
    options = LongformOptions(max_segment_seconds=6.0, batch_seconds=15.0)
    sizes = []

    def counted(arrays: list[Samples]) -> list[Segment]:
        sizes.append((len(arrays), max(len(samples) for samples in arrays) / SAMPLE_RATE))
        return recognise(arrays)

    said = transcribe_stream([spoken(words, before)], counted, options)
    assert " ".join(segment.text for segment in said).split() == words
    assert all(count * longest <= 15.0 for count, longest in sizes)
    assert max(count for count, _ in sizes) > 3


def test_a_segment_is_cut_in_its_longest_pause() -> None:
    gaps = [0.1] * 30
    gaps[12], gaps[17] = 0.35, 0.45
    first, second = speech_segments([spoken(["ONE"] * 30, gaps)], LongformOptions(max_segment_seconds=9.0))
    pause = sum(gaps[:17]) + 17 * WORD_SECONDS
    assert pause < first.end <= second.start < pause + 0.45
    assert first.end - pause == pytest.approx(0.2, abs=0.05)


def test_silence_between_segments_is_dropped_but_for_a_margin() -> None:
    samples = spoken(["ONE", "TWO"], [10.0, 60.0])
    segments = list(speech_segments([samples]))
    assert [round(segment.start, 1) for segment in segments] == [9.8, 70.1]
    assert all(len(segment.samples) < SAMPLE_RATE for segment in segments)
    for segment in segments:
        np.testing.assert_array_equal(
            segment.samples, samples[segment.start_sample :][: len(segment.samples)]
        )


@pytest.mark.parametrize("vad", ["energy", "none"])
def test_no_segment_is_too_long(vad: str) -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=90 * SAMPLE_RATE) * np.repeat(rng.uniform(0, 0.3, 900), SAMPLE_RATE // 10)
    options = LongformOptions(vad=vad, max_segment_seconds=7.0, overlap_seconds=2.0)
    segments = list(speech_segments([samples.astype(np.float32)], options))
    assert len(segments) > 12
    assert all(segment.end - segment.start <= 7.0 for segment in segments)
    assert all(left.start < right.start for left, right in pairwise(segments))


def test_everything_is_covered_without_a_gate() -> None:
    options = LongformOptions(vad="none", max_segment_seconds=4.0, overlap_seconds=1.0)
    samples = np.arange(10 * SAMPLE_RATE + 77, dtype=np.float32)
    segments = list(speech_segments([samples], options))
    assert [segment.start for segment in segments] == [0.0, 3.0, 6.0, 9.0]
    assert segments[-1].start_sample + len(segments[-1].samples) == len(samples)


def test_words_come_from_where_they_are_farther_from_the_edge() -> None:
    left = [
        Word("A", 1.0, 1.2, 0.1),
        Word("B", 8.2, 8.4, 0.1),
        Word("C", 9.3, 9.5, 0.1),
        Word("X", 9.9, 10.0, 0.1),
    ]
    right = [
        Word("B", 8.1, 8.4, 0.9),
        Word("C", 9.3, 9.6, 0.9),
        Word("D", 9.8, 10.1, 0.9),
        Word("E", 11.0, 11.2, 0.9),
    ]
    ours, theirs = stitch(left, right, 8.0, 10.0)
    assert [(word.text, word.confidence) for word in ours + theirs] == [
        ("A", 0.1), ("B", 0.1), ("C", 0.9), ("D", 0.9), ("E", 0.9),
    ]  # fmt: skip


@pytest.mark.parametrize("apart", [-0.1, 0.1])
def test_a_word_at_the_middle_that_both_hear_differently_is_one(apart: float) -> None:
    """By its times alone it would come from both pieces or from none."""
    left = [Word("ONE", 8.5, 8.8, 1.0), Word("SEVEN", 8.8 + apart, 9.2 + apart, 1.0)]
    right = [Word("ELEVEN", 8.8 - apart, 9.2 - apart, 1.0), Word("TWO", 9.4, 9.6, 1.0)]
    ours, theirs = stitch(left, right, 8.0, 10.0)
    assert len(ours + theirs) == 3
    assert [(ours + theirs)[i].text for i in (0, -1)] == ["ONE", "TWO"]


def test_words_at_the_seam_do_not_overlap() -> None:
    left, right = [Word("A", 8.0, 9.2, 1.0)], [Word("B", 8.9, 9.9, 1.0)]
    ours, theirs = stitch(left, right, 8.0, 10.0)
    assert ours[0].end == theirs[0].start == pytest.approx(9.05)
    assert stitch([], [], 1.0, 2.0) == ([], [])


def test_hypotheses_stay_only_where_they_say_the_text() -> None:
    one, two, three = (
        Word(text, at, at + 0.3, 1.0) for text, at in (("ONE", 0.5), ("TWO", 3.3), ("THREE", 5.0))
    )
    known = (Hypothesis((1, 2), -1.0),)
    left = Segment(0.0, 4.0, "ONE TWO", (one, two), known)
    right = Segment(3.0, 6.0, "TWO THREE", (two, three), known)
    first, second = joined([left, right])
    assert (first.text, first.hypotheses) == ("ONE TWO", known)
    assert (second.text, second.hypotheses) == ("THREE", ())
    assert first.end == second.start


def test_segments_without_text_are_left_out_and_words_are_wanted() -> None:
    assert list(joined([Segment(0.0, 1.0, ""), Segment(0.5, 2.0, "")])) == []
    with pytest.raises(ValueError, match="has text but no words to join by"):
        list(joined([Segment(0.0, 1.0, "ONE"), Segment(0.5, 2.0, "ONE")]))
    with pytest.raises(ValueError, match=r"zip\(\)"):
        list(transcribe_stream([spoken(["ONE"], [0.5])], lambda arrays: []))


def test_memory_does_not_grow_with_the_recording() -> None:
    """Four times as long, with and without pauses."""

    def peak(minutes: int, gap: float) -> int:
        minute = spoken(["ONE"] * 60, [gap] * 60)

        def blocks() -> Iterator[Samples]:
            for _ in range(minutes):
                yield from blocks_of(minute)

        options = LongformOptions(max_segment_seconds=10.0, batch_seconds=30.0)
        tracemalloc.start()
        words = sum(len(segment.words) for segment in transcribe_stream(blocks(), recognise, options))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert words == 60 * minutes
        return most

    for gap in (0.1, 0.7):
        assert peak(8, gap) < 1.1 * peak(2, gap), gap
