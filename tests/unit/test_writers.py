"""What a transcript looks like in each format, and how its files are written."""

import json
import math
import os
import stat
from pathlib import Path

import pytest

from hyperconformer.errors import InputError
from hyperconformer.inference import writers
from hyperconformer.inference.cues import LINE_CHARACTERS, LONGEST_MS, cues
from hyperconformer.inference.writers import WRITERS, write_transcript
from hyperconformer.types import Hypothesis, Segment, Transcript, Word

FOUND = (
    Hypothesis((5, 6), -1.23456, {"ctc": -1.0, "attention": -1.5}),
    Hypothesis((5,), -math.inf, {"ctc": -math.inf}),
)
SAID = Transcript(
    3725.5,
    (
        Segment(0.0, 1.5, "ONE\tTWO", (Word("ONE", 0.1, 0.4004, 0.98765), Word("TWO", 0.5, 1.2, 1.0)), FOUND),
        Segment(2.0, 3.0, ""),
        Segment(3723.25, 3725.9, "<A> & B --> C"),
    ),
    timings={"encode": 0.5},
)
NOTHING = Transcript(2.0, (Segment(0.0, 2.0, ""),))

EXPECTED = {
    "txt": "ONE TWO\n<A> & B --> C\n",
    "tsv": "start\tend\ttext\n0\t1500\tONE TWO\n3723250\t3725900\t<A> & B --> C\n",
    "srt": "1\n00:00:00,100 --> 00:00:01,200\nONE TWO\n\n2\n01:02:03,250 --> 01:02:05,500\n<A> & B -- > C\n",
    "vtt": "WEBVTT\n\n00:00:00.100 --> 00:00:01.200\nONE TWO\n\n01:02:03.250 --> 01:02:05.500\n"
    "&lt;A&gt; &amp; B --&gt; C\n",
}
EMPTY = {"txt": "", "tsv": "start\tend\ttext\n", "srt": "", "vtt": "WEBVTT\n"}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_format(name: str) -> None:
    assert WRITERS[name](SAID) == EXPECTED[name]
    for silent in (NOTHING, Transcript(0.0, ())):
        assert WRITERS[name](silent) == EMPTY[name]


def test_json_has_words_and_further_hypotheses() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    written = WRITERS["json"](SAID, lambda tokens: "-".join(map(str, tokens)))
    found = json.loads(written, parse_constant=refuse)
    assert set(found) == {"text", "seconds", "segments"} and found["seconds"] == 3725.5
    first, silent, last = found["segments"]
    assert first["words"] == [
        {"word": "ONE", "start": 0.1, "end": 0.4, "probability": 0.9877},
        {"word": "TWO", "start": 0.5, "end": 1.2, "probability": 1.0},
    ]
    assert first["hypotheses"] == [
        {"text": "5-6", "tokens": [5, 6], "score": -1.2346, "parts": {"ctc": -1.0, "attention": -1.5}},
        {"text": "5", "tokens": [5], "score": None, "parts": {"ctc": None}},
    ]
    assert silent == {"id": 1, "start": 2.0, "end": 3.0, "text": ""}
    assert last["text"] == "<A> & B --> C"
    unspelt = json.loads(WRITERS["json"](SAID))["segments"][0]["hypotheses"][0]
    assert "text" not in unspelt and unspelt["tokens"] == [5, 6]


def spoken(texts: list[str], pauses: dict[int, float] | None = None, each: float = 0.4) -> Transcript:
    """Words one after another, some behind a pause."""
    words, now = [], 0.0
    for number, text in enumerate(texts):
        now += (pauses or {}).get(number, 0.0)
        words.append(Word(text, now, now + each, 1.0))
        now += each
    return Transcript(now + 5.0, (Segment(0.0, now, " ".join(texts), tuple(words)),))


def texts(transcript: Transcript) -> list[str]:
    return [" ".join(cue.lines) for cue in cues(transcript)]


def test_a_long_pause_begins_a_cue_and_shorter_ones_decide_where_to_cut() -> None:
    assert texts(spoken(["ONE", "TWO", "THREE"], {2: 1.1})) == ["ONE TWO", "THREE"]
    assert texts(spoken(["ONE", "TWO", "THREE"], {2: 0.9})) == ["ONE TWO THREE"]
    # Too long for one cue, whether by its characters or its seconds.
    many = [f"WORD{number:02}" for number in range(16)]
    assert texts(spoken(many)) == [" ".join(many[:8]), " ".join(many[8:])]
    assert texts(spoken(many, {10: 0.4})) == [" ".join(many[:10]), " ".join(many[10:])]
    assert texts(spoken(["A"] * 10, each=0.8)) == [" ".join("A" * 5)] * 2


def test_lines_are_short_and_about_equal() -> None:
    (cue,) = cues(spoken(["SEVEN"] * 11, each=0.5))
    assert cue.lines == ("SEVEN SEVEN SEVEN SEVEN SEVEN SEVEN", "SEVEN SEVEN SEVEN SEVEN SEVEN")
    endless = "X" * 100
    assert [cue.lines for cue in cues(spoken(["A", endless, "B"]))] == [("A",), (endless, "B")]
    # A segment whose words have no times stays whole; players wrap it.
    text = " ".join(["SEVEN"] * 40)
    (whole,) = cues(Transcript(30.0, (Segment(0.0, 30.0, text),)))
    assert whole.lines == (text,) and whole.end_ms == 30_000
    (short,) = cues(Transcript(30.0, (Segment(0.0, 3.0, " ".join(["SEVEN"] * 8)),)))
    assert [len(line) <= LINE_CHARACTERS for line in short.lines] == [True, True]


def test_a_cue_stays_long_enough_to_be_read_and_not_for_ever() -> None:
    (cue,) = cues(spoken(["YES"], each=0.1))
    assert (cue.start_ms, cue.end_ms) == (0, 1000)
    first, second = cues(spoken(["YES", "NO"], {1: 1.5}, each=0.1))
    assert (first.end_ms, second.start_ms) == (1000, 1600)
    (held,) = cues(spoken(["AAAH"], each=20.0))
    assert held.end_ms == LONGEST_MS


@pytest.mark.parametrize(
    ("seconds", "segments", "spans"),
    [
        (2.0, [(0.0, 9.0)], [(0, 2000)]),
        (2.0, [(5.0, 9.0)], [(1999, 2000)]),
        (2.0, [(0.0, 1.5), (1.0, 1.9)], [(0, 1000), (1000, 2000)]),
        (2.0, [(1.0, 1.5), (0.5, 1.9)], [(1000, 1001), (1001, 2000)]),
        (2.0, [(-1.0, -0.5), (-1.0, 0.0)], [(0, 1), (1, 1001)]),
        (0.002, [(0.0, 0.0)] * 5, [(0, 1), (1, 2)]),
        (0.0, [(0.0, 0.0)] * 2, [(0, 1)]),
    ],
)
def test_times_are_in_order_and_within_the_audio(seconds: float, segments: list, spans: list) -> None:
    transcript = Transcript(seconds, tuple(Segment(*span, f"S{n}") for n, span in enumerate(segments)))
    found = cues(transcript)
    assert [(cue.start_ms, cue.end_ms) for cue in found] == spans
    assert " ".join(line for cue in found for line in cue.lines) == transcript.text


def test_files_are_written_whole_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "place"
    paths = write_transcript(folder, "a.b", SAID, list(WRITERS))
    assert [path.name for path in paths] == ["a.b.txt", "a.b.srt", "a.b.vtt", "a.b.tsv", "a.b.json"]
    assert paths[0].read_bytes() == EXPECTED["txt"].encode()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o666 & ~umask
    write_transcript(folder, "a.b", NOTHING, ["txt"])
    assert paths[0].read_bytes() == b""
    assert sorted(folder.iterdir()) == sorted(paths)


def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = write_transcript(tmp_path, "a", SAID, ["txt"])
    whole = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        whole(self, data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"a\.txt' cannot be written \(No space left on device\): make room"):
        write_transcript(tmp_path, "a", NOTHING, ["txt"])
    assert path.read_text() == EXPECTED["txt"] and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stem", ["x" * 300, "folder", "file/below"])
def test_what_cannot_be_written_is_said_in_a_line(stem: str, tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"cannot be written \([\w ]+\)") as refused:
        write_transcript(tmp_path, stem, SAID, ["txt"])
    assert "\n" not in str(refused.value) and sorted(tmp_path.iterdir()) == before


def test_an_unknown_format_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no format 'doc': name one or more of txt, srt, vtt, tsv, json"):
        write_transcript(tmp_path, "a", SAID, ["txt", "doc"])
    assert not list(tmp_path.iterdir())
    assert set(writers.WRITERS) == {"txt", "srt", "vtt", "tsv", "json"}
