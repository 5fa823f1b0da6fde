"""Whatever a transcript says and when: its files are valid, ordered, and lose no word."""

import html
import json
from datetime import timedelta
from itertools import pairwise

import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.inference.cues import LINE_CHARACTERS, LINES, LONGEST_MS, cues, plain
from hyperconformer.inference.writers import WRITERS
from hyperconformer.types import Hypothesis, Segment, Transcript, Word

SECONDS = st.one_of(st.floats(-1, 60), st.sampled_from([0.0, 0.0004, 0.001, 3.0, 7200.0]))
TEXTS = st.one_of(
    st.sampled_from(
        ["ONE", "don't", "", " ", "-->", "<b>", "&amp;", "A\nB", "1\n2", "WEBVTT", "NOTE X", "0"]
    ),
    st.text(max_size=12),
    st.text("abc ", max_size=120),
)
SCORES = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """Words with times in any order, or none."""
    texts = draw(st.lists(TEXTS, max_size=30))
    words = [Word(text, draw(SECONDS), draw(SECONDS), draw(st.floats(0, 1))) for text in texts]
    found = draw(st.lists(st.builds(Hypothesis, st.just((3, 4)), SCORES, st.just({"ctc": -1.0})), max_size=3))
    timed = tuple(words) if draw(st.booleans()) else ()
    return Segment(draw(SECONDS), draw(SECONDS), " ".join(texts), timed, tuple(found))


@st.composite
def orderly(draw: st.DrawFn) -> Transcript:
    """Words as a recogniser gives them: one after the other."""
    now, found = 0.0, []
    for texts in draw(st.lists(st.lists(st.text("ABC'", min_size=1, max_size=14), max_size=60), max_size=4)):
        words = []
        for text in texts:
            start = now + draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 2.0]))
            now = start + draw(st.sampled_from([0.04, 0.3, 1.0]))
            words.append(Word(text, start, now, 0.5))
        begin = words[0].start if words else now
        found.append(Segment(begin, now, " ".join(texts), tuple(words)))
    return Transcript(now + draw(st.sampled_from([0.0, 2.0])), tuple(found))


TRANSCRIPTS = st.one_of(
    st.builds(Transcript, SECONDS.map(abs), st.lists(segments(), max_size=5).map(tuple)), orderly()
)


def said(transcript: Transcript) -> str:
    """All text that cues show, words where there are any."""
    parts = []
    for segment in transcript.segments:
        words = [plain(word.text) for word in segment.words]
        parts += [word for word in words if word] or [plain(segment.text)]
    return " ".join(" ".join(parts).split())


@settings(max_examples=200, deadline=None)
@given(TRANSCRIPTS)
def test_cues_are_ordered_apart_and_within_the_audio(transcript: Transcript) -> None:
    found = cues(transcript)
    assert all(0 <= cue.start_ms < cue.end_ms for cue in found)
    assert all(first.end_ms <= second.start_ms for first, second in pairwise(found))
    assert not found or found[-1].end_ms <= max(1, transcript.seconds * 1000)
    assert all(cue.lines and all(line == plain(line) != "" for line in cue.lines) for cue in found)
    assert " ".join(line for cue in found for line in cue.lines) == said(transcript)


@settings(max_examples=100, deadline=None)
@given(orderly())
def test_cues_of_words_can_be_read(transcript: Transcript) -> None:
    starts = {round(word.start * 1000) for word in transcript.words}
    for cue in cues(transcript):
        assert len(cue.lines) <= LINES and max(map(len, cue.lines)) <= LINE_CHARACTERS
        assert cue.end_ms - cue.start_ms <= LONGEST_MS
        assert cue.start_ms in starts


def clock(text: str) -> int:
    """Milliseconds of HH:MM:SS.mmm."""
    hours, minutes, seconds = text.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + int(seconds.replace(".", ""))


@settings(max_examples=200, deadline=None)
@given(TRANSCRIPTS)
def test_subtitles_are_what_their_readers_take_them_for(transcript: Transcript) -> None:
    shown = cues(transcript)
    spans = [(cue.start_ms, cue.end_ms) for cue in shown]
    read = list(srt.parse(WRITERS["srt"](transcript)))
    assert [(each.start, each.end) for each in read] == [
        tuple(timedelta(milliseconds=moment) for moment in span) for span in spans
    ]
    assert [each.index for each in read] == list(range(1, len(shown) + 1))
    assert [each.content for each in read] == ["\n".join(cue.lines).replace("-->", "-- >") for cue in shown]
    captions = webvtt.from_string(WRITERS["vtt"](transcript), strict=True).captions
    assert [(clock(each.start), clock(each.end)) for each in captions] == spans
    assert [html.unescape(each.raw_text) for each in captions] == ["\n".join(cue.lines) for cue in shown]


@settings(max_examples=100, deadline=None)
@given(TRANSCRIPTS)
def test_tables_and_json_say_the_same(transcript: Transcript) -> None:
    spoken = [segment for segment in transcript.segments if plain(segment.text)]
    header, *rows = WRITERS["tsv"](transcript).splitlines()
    assert header.split("\t") == ["start", "end", "text"]
    assert [row.split("\t")[2] for row in rows] == [plain(segment.text) for segment in spoken]
    assert WRITERS["txt"](transcript).splitlines() == [plain(segment.text) for segment in spoken]

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads(WRITERS["json"](transcript), parse_constant=refuse)
    assert [each["text"] for each in found["segments"]] == [segment.text for segment in transcript.segments]
    for each, segment in zip(found["segments"], transcript.segments, strict=True):
        assert [word["word"] for word in each.get("words", [])] == [word.text for word in segment.words]
        assert abs(each["start"] - segment.start) <= 0.0005 + 1e-9
        assert ("hypotheses" in each) == (len(segment.hypotheses) > 1)
