"""Anybody's recordings: every form gives the same manifest, and every fault has its file and line."""

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hyperconformer.audio import read_audio
from hyperconformer.data.clips import Clip, settle
from hyperconformer.data.custom import (
    MISCUT,
    NO_WORDS,
    TOO_LONG,
    TOO_SHORT,
    UNREADABLE,
    Choices,
    prepare_custom,
)
from hyperconformer.data.librispeech import scan_split
from hyperconformer.data.manifest import read_manifest
from hyperconformer.data.sources import Source
from hyperconformer.errors import InputError
from hyperconformer.types import Utterance

RATE = 16_000


@pytest.fixture
def utterances(tiny_librispeech) -> list[Utterance]:
    return scan_split(tiny_librispeech(), "train-tiny")


@pytest.fixture
def noise(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Ten seconds of two channels."""
    samples = np.random.default_rng(0).integers(-9000, 9000, size=(10 * RATE, 2), dtype=np.int16)
    soundfile.write(tmp_path / "long.wav", samples, RATE)
    return tmp_path / "long.wav", samples


def prepare(path: Path, output: Path, choices: Choices | None = None, **about):
    return prepare_custom(Source(path, **about), output, "train", choices or Choices(), progress=False)


def write_csv(path: Path, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def write_jsonl(path: Path, rows: Sequence[object]) -> Path:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_csv(folder: Path, rows: Sequence[Utterance]) -> Path:
    header = ("ID", "duration", "wav", "spk_id", "wrd")
    return write_csv(
        folder / "a.csv", [header, *((u.id, u.seconds, u.path, u.speaker, u.words) for u in rows)]
    )


def as_common_voice(folder: Path, rows: Sequence[Utterance]) -> Path:
    header = ("client_id", "path", "sentence", "id")
    return write_csv(folder / "a.tsv", [header, *((u.speaker, u.path, u.words, u.id) for u in rows)], "\t")


def as_nemo(folder: Path, rows: Sequence[Utterance]) -> Path:
    return write_jsonl(
        folder / "a.json",
        [{"audio_filepath": u.path, "duration": u.seconds, "text": u.words, "id": u.id, "speaker": u.speaker}
         for u in rows],
    )  # fmt: skip


def cut_of(u: Utterance, **changes: object) -> dict[str, object]:
    sound = {"type": "file", "channels": [0], "source": u.path}
    heard = {
        "id": u.id,
        "start": 0.0,
        "duration": u.seconds,
        "channel": 0,
        "text": u.words,
        "speaker": u.speaker,
    }
    return {
        "id": f"cut-{u.id}", "start": 0.0, "duration": u.seconds, "channel": 0, "type": "MonoCut",
        "supervisions": [heard], "recording": {"id": u.id, "sources": [sound], "duration": u.seconds},
    } | changes  # fmt: skip


def as_cuts(folder: Path, rows: Sequence[Utterance]) -> Path:
    return write_jsonl(folder / "a.jsonl.gz", [cut_of(u) for u in rows])


@pytest.mark.parametrize("write", [as_csv, as_common_voice, as_nemo, as_cuts])
def test_every_table_gives_the_utterances_it_was_made_of(
    utterances: list[Utterance], tmp_path: Path, write: Callable[[Path, Sequence[Utterance]], Path]
) -> None:
    source = write(tmp_path, utterances)
    prepared = prepare(source, tmp_path / "out")
    assert prepared.utterances == utterances and prepared.dropped == prepared.notes == []
    assert read_manifest(prepared.manifest) == utterances
    first = prepared.manifest.read_bytes()
    prepare(source, tmp_path / "out")
    assert prepared.manifest.read_bytes() == first
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.csv"]


def lay_out(folder: Path, utterances: Sequence[Utterance], *, texts: bool) -> Path:
    """The same speech as a plain folder, in several formats."""
    for u, ending in zip(utterances, (".flac", ".wav", ".ogg", ".mp3", ".opus", ".FLAC"), strict=True):
        target = folder / u.speaker / f"{u.id}{ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        kind = {".ogg": "VORBIS", ".opus": "OPUS"}.get(ending)
        container = {".opus": "OGG", ".FLAC": "FLAC"}.get(ending)
        soundfile.write(target, read_audio(u.path), RATE, kind, format=container)
        if texts:
            target.with_suffix(".txt").write_text(f"\ufeff{u.words.title()},\n")
    return folder


def test_a_folder_with_a_text_beside_each_file(utterances: list[Utterance], tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "in", utterances, texts=True)
    (folder / "README.txt").touch()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.flac").touch()
    prepared = prepare(folder, tmp_path / "out", Choices(case="upper", strip_punctuation=True))
    found = {u.id: (round(u.seconds, 1), u.speaker, u.words) for u in prepared.utterances}
    assert found == {f"{u.speaker}-{u.id}": (u.seconds, u.speaker, u.words) for u in utterances}
    assert prepared.notes == [f"1 text files belong to no audio file, e.g. {str(folder / 'README.txt')!r}"]


@pytest.mark.parametrize("named", ["{u.id}", "{path.name}", "{u.speaker}/{path.name}", "{u.speaker}/{u.id}"])
@pytest.mark.parametrize("space", [" ", "\t"])
def test_a_folder_with_one_transcript(
    utterances: list[Utterance], tmp_path: Path, named: str, space: str
) -> None:
    folder = lay_out(tmp_path / "in", utterances, texts=False)
    paths = {u.id: next(folder.rglob(f"{u.id}.*")) for u in utterances}
    lines = [f"{named.format(u=u, path=paths[u.id])}{space}{u.words}\n" for u in utterances]
    (folder / "transcripts.txt").write_text("".join(lines))
    prepared = prepare(folder, tmp_path / "out")
    assert [(u.path, u.words) for u in prepared.utterances] == [
        (str(paths[u.id]), u.words) for u in utterances
    ]
    (folder / "transcripts.txt").rename(tmp_path / "elsewhere.txt")
    again = prepare(folder, tmp_path / "out", transcript=tmp_path / "elsewhere.txt")
    assert again.utterances == prepared.utterances


@pytest.mark.parametrize(
    ("transcript", "complaint"),
    [
        ("a YES\nc NO\n", r"transcripts.txt', line 2: there is no audio file 'c' in"),
        ("a YES\na NO\n", r"line 2: a second line for .*a.wav'"),
        ("a YES\n", r"1 audio files have no line in .*transcripts.txt', e.g. .*b.wav'"),
        ("same YES\n", r"line 1: several audio files are called 'same'"),
        (b"a gr\xfcn\n", r"transcripts.txt' is not readable UTF-8"),
    ],
)
def test_faults_of_a_transcript_have_a_line(tmp_path: Path, transcript: str | bytes, complaint: str) -> None:
    folder = tmp_path / "in"
    for name in ("a", "b") if "same" not in str(transcript) else ("1/same", "2/same"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.wav", np.zeros(RATE), RATE)
    raw = transcript.encode() if isinstance(transcript, str) else transcript
    (folder / "transcripts.txt").write_bytes(raw)
    with pytest.raises(InputError, match=complaint) as raised:
        prepare(folder, tmp_path / "out")
    assert "\n" not in str(raised.value) and not (tmp_path / "out" / "train.csv").exists()


def test_folders_that_are_something_else(tiny_librispeech, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="laid out like LibriSpeech: use 'hyperconformer prepare librispeech'"
    ):
        prepare(tiny_librispeech(), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty' holds no \.flac, .* file: name another folder"):
        prepare(tmp_path / "empty", tmp_path / "out")
    soundfile.write(tmp_path / "empty" / "a.wav", np.zeros(RATE), RATE)
    with pytest.raises(InputError, match=r"a\.wav' has no 'a\.txt' beside it: .* --transcript"):
        prepare(tmp_path / "empty", tmp_path / "out")


TABLE_FAULTS = [
    ("a.csv", "wav,wrd\na.wav\n", r"a.csv', line 2: more or fewer fields than columns"),
    ("a.csv", "wav,wrd\na.wav,yes, indeed\n", r"line 2: more or fewer fields"),
    (
        "a.csv",
        "sound,wrd\na.wav,yes\n",
        r"line 2: no column audio_filepath or .* among sound, wrd: .* --columns audio=",
    ),
    ("a.csv", "wav,said\na.wav,yes\n", r"line 2: no column text or .* --columns text=NAME"),
    ("a.csv", "wav,wrd\n,yes\n", r"line 2: '' is no path of an audio file"),
    ("a.csv", "wav,wrd,duration\na.wav,yes,long\n", r"line 2: duration 'long' is no number of seconds"),
    ("a.csv", "wav,wrd,duration\na.wav,yes,-1\n", r"line 2: duration '-1' is no number"),
    ("a.csv", "wav,wrd,duration\na.wav,yes,nan\n", r"line 2: duration 'nan' is no number"),
    ("a.csv", "wav,wrd,duration\na.wav,yes,0\n", r"line 2: a duration of 0 seconds"),
    ("a.csv", "wav,wrd,start\na.wav,yes,inf\n", r"line 2: start 'inf' is no number"),
    ("a.csv", "wav,wrd\na.wav,yes\na.wav,no\n", r"line 3: id 'a' is used twice, first in .*a.csv', line 2"),
    ("a.csv", "wav,wrd\n", r"none of 0 utterances is left"),
    ("a.csv", 'wav,wrd\na.wav,"yes\n', r"a.csv' cannot be read \(.*\): save it again"),
    ("a.jsonl", '{"text": "yes"}\n', r"a.jsonl', line 1: no column audio_filepath"),
    ("a.jsonl", '\n{"audio_filepath": "a.wav"\n', r"a.jsonl', line 2: not JSON \(.*\): correct it"),
    ("a.jsonl", '["a.wav"]\n', r"a.jsonl', line 1: no JSON object"),
    ("a.jsonl", '{"audio_filepath": 7, "text": "yes"}\n', r"line 1: 7 is no path of an audio file"),
    (
        "a.jsonl",
        '{"audio_filepath": "a.wav", "text": "yes", "duration": [2]}\n',
        r"line 1: duration \[2\] is no",
    ),
    ("a.jsonl.gz", "not packed", r"a.jsonl.gz' cannot be read \(.*\): copy it again"),
    ("a.xml", "<a/>", r"a.xml' is of no known form: give --form folder, csv"),
]


@pytest.mark.parametrize(("name", "content", "complaint"), TABLE_FAULTS)
def test_faults_of_a_table_have_a_line(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint) as raised:
        prepare(tmp_path / name, tmp_path / "out")
    assert "\n" not in str(raised.value) and not (tmp_path / "out" / "train.csv").exists()


def test_columns_and_roots_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips" / "7_a.wav", np.zeros(RATE), RATE)
    source = write_csv(tmp_path / "a.csv", [("sound", "said", "text"), ("7_a.wav", "yes", "no")])
    about = {"audio_root": tmp_path / "clips", "columns": {"audio": "sound", "text": "said"}}
    [utterance] = prepare(source, tmp_path / "out", Choices(speaker_from="name"), **about).utterances
    assert utterance == Utterance("7_a", 1.0, str(tmp_path / "clips" / "7_a.wav"), "7", "yes")
    [utterance] = prepare(source, tmp_path / "out", **about).utterances
    assert utterance.speaker == "clips"
    with pytest.raises(
        InputError, match=r"line 2: no column who among sound, said, text: .*--columns speaker="
    ):
        prepare(source, tmp_path / "out", columns={"audio": "sound", "text": "said", "speaker": "who"})


def test_stretches_of_a_file_become_files(noise: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, samples = noise
    rows = [
        {"audio_filepath": path.name, "offset": 0, "duration": 2.5, "text": "one"},
        {"audio_filepath": path.name, "offset": 2.5, "duration": 1.25, "text": "two"},
        {"audio_filepath": path.name, "offset": 8, "text": "three"},
        {"audio_filepath": path.name, "duration": 10.05, "text": "whole"},
    ]
    prepared = prepare(write_jsonl(tmp_path / "a.jsonl", rows[:3]), tmp_path / "out")
    spans = [(0, 2.5), (2.5, 3.75), (8, 10)]
    assert [u.seconds for u in prepared.utterances] == [end - begin for begin, end in spans]
    assert [u.id for u in prepared.utterances] == ["long", "long-0002500", "long-0008000"]
    for utterance, (begin, end) in zip(prepared.utterances, spans, strict=True):
        expected = samples[int(begin * RATE) : int(end * RATE)].mean(axis=1) / 2**15
        np.testing.assert_allclose(read_audio(utterance.path), expected, atol=1 / 2**15)
    [whole] = prepare(write_jsonl(tmp_path / "b.jsonl", rows[3:]), tmp_path / "out").utterances
    assert (whole.path, whole.seconds) == (str(path), 10.0)


def test_stretches_are_written_once_and_again_where_their_file_has_changed(
    noise: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    clip = Clip(noise[0], start=1.0, seconds=1.0, channel=1)
    first, _ = settle(clip, "a/1", tmp_path / "clips")
    first.write_bytes(b"kept")
    with pytest.raises(InputError):  # the file that is there is taken, without a second look at its source
        settle(clip, "a/1", tmp_path / "clips")
    soundfile.write(noise[0], noise[1][::-1], RATE)
    second, seconds = settle(clip, "a/1", tmp_path / "clips")
    assert second != first and seconds == 1.0
    assert sorted(path.suffix for path in (tmp_path / "clips").iterdir()) == [".flac", ".flac"]


def test_cuts_supervisions_and_channels_are_honoured(noise: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, samples = noise
    heard = [
        {"id": "s0", "start": 1.0, "duration": 2.0, "channel": 0, "text": "one", "speaker": "A"},
        {"id": "s1", "start": -0.05, "duration": 1.0, "channel": 1, "text": "two", "speaker": "B"},
    ]
    sound = {"type": "file", "channels": [0, 1], "source": str(path)}
    cut = {
        "start": 4,
        "duration": 3.0,
        "channel": [0, 1],
        "supervisions": heard,
        "recording": {"sources": [sound]},
    }
    prepared = prepare(write_jsonl(tmp_path / "cuts.jsonl", [cut]), tmp_path / "out")
    spans = {"s0": (5.0, 7.0, 0), "s1": (4.0, 4.95, 1)}
    for u in prepared.utterances:
        begin, end, channel = spans[u.id]
        expected = samples[int(begin * RATE) : int(end * RATE), channel] / 2**15
        np.testing.assert_array_equal(read_audio(u.path), expected.astype(np.float32))
    assert [(u.speaker, u.words) for u in prepared.utterances] == [("A", "one"), ("B", "two")]


U = Utterance("a", 1.0, "a.wav", "7", "YES")
LONG = {"id": "s", "start": 0.5, "duration": 1.0, "text": "YES"}
CUT_FAULTS = [
    ({"supervisions": [{"start": 0}]}, r"line 2: duration is missing"),
    ({"recording": None}, r"line 2: no cut with supervisions and a recording"),
    ({"start": -1}, r"line 2: start -1 is no number of seconds"),
    (
        {"recording": {"sources": [{"type": "url", "source": "http://a"}]}},
        r"its recording is no file \(url\)",
    ),
    (
        {"recording": {"sources": [{"type": "file", "channels": [3], "source": "a.wav"}]}},
        r"no file for channel 0",
    ),
    ({"recording": {"sources": [7]}}, r"no file for channel 0"),
    ({"recording": {"sources": [], "transforms": [{"name": "Speed"}]}}, r"has transforms"),
    (
        {"supervisions": [LONG]},
        r"1 with words outside the audio.*line 2: .* from 0.50 to 1.50 s reaches out of",
    ),
    ({"supervisions": [LONG | {"start": 1.0, "duration": 0.0}]}, r"a supervision of no duration"),
]


@pytest.mark.parametrize(("changes", "complaint"), CUT_FAULTS)
def test_faults_of_cuts_have_a_line(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    source = write_jsonl(tmp_path / "a.jsonl", [cut_of(U), cut_of(U, **changes)])
    with pytest.raises(InputError, match=complaint) as raised:
        prepare(source, tmp_path / "out")
    assert "\n" not in str(raised.value)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A table with one good utterance, and one of every kind that can be left out."""
    for name, seconds in (("good", 2.0), ("short", 0.2), ("long", 9.0), ("dull", 2.0), ("cut", 2.0)):
        soundfile.write(tmp_path / f"{name}.flac", np.sin(np.arange(int(seconds * RATE))) / 2, RATE)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.flac").write_bytes(b"noise")
    names = ("good", "short", "long", "cut", "noise", "missing")
    rows = [("wav", "wrd", "duration"), *((f"{name}.flac", "yes", "") for name in names)]
    return write_csv(tmp_path / "a.csv", [*rows, ("dull.flac", "...", ""), ("good.flac", "yes", 5)])


def test_bad_utterances_stop_it_and_are_named(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        prepare(mixed, tmp_path / "out", Choices(strip_punctuation=True))
    message = str(raised.value)
    assert message.startswith(
        "5 of 8 utterances cannot be used (1 with no words, 4 with unreadable audio): mend"
    )
    assert "by --drop_bad" in message and "a.csv', line 5" in message and "\n" not in message
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train-dropped.txt"]
    listed = (tmp_path / "out" / "train-dropped.txt").read_text()
    assert (
        listed.count("\n") == 5 and "lasts 2.00 s, the utterance is said to go from 0.00 to 5.00 s" in listed
    )


def test_what_is_left_out_is_counted(mixed: Path, tmp_path: Path) -> None:
    choices = Choices(strip_punctuation=True, min_seconds=1, max_seconds=5, drop_bad=True)
    prepared = prepare(mixed, tmp_path / "out", choices)
    assert [u.id for u in prepared.utterances] == ["good"]
    assert [one.reason for one in prepared.dropped] == [
        TOO_SHORT,
        TOO_LONG,
        *[UNREADABLE] * 3,
        NO_WORDS,
        UNREADABLE,
    ]
    listed = (tmp_path / "out" / "train-dropped.txt").read_text().splitlines()
    assert listed == [str(one) for one in prepared.dropped]
    prepare(write_csv(tmp_path / "b.csv", [("wav", "wrd"), ("good.flac", "yes")]), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.csv"]


def test_headers_alone_do_not_show_a_cut(mixed: Path, tmp_path: Path) -> None:
    prepared = prepare(mixed, tmp_path / "out", Choices(drop_bad=True, decode=False))
    assert "cut" in {u.id for u in prepared.utterances}


def test_utterances_outside_their_cut_can_be_left_out(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    source = write_jsonl(
        tmp_path / "a.jsonl", [cut_of(U), cut_of(U, supervisions=[LONG]), cut_of(U, supervisions=[])]
    )
    prepared = prepare(source, tmp_path / "out", Choices(drop_bad=True))
    assert [one.reason for one in prepared.dropped] == [MISCUT] and len(prepared.utterances) == 1
    assert prepared.notes == [f"{str(source)!r}, line 3: a cut without supervisions holds no utterance"]


def test_a_full_disk_is_no_bad_utterance(noise: tuple[Path, np.ndarray], tmp_path: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise soundfile.LibsndfileError(2)

    source = write_jsonl(tmp_path / "a.jsonl", [{"audio": str(noise[0]), "start": 1, "text": "one"}])
    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(
        InputError, match=r"out' cannot be written \(Input/output error\): choose another folder"
    ):
        prepare(source, tmp_path / "out", Choices(drop_bad=True))


def test_a_split_is_a_name(utterances: list[Utterance], tmp_path: Path) -> None:
    for split in ("", "a/b", ".."):
        with pytest.raises(InputError, match="--split .* is no name of a file"):
            prepare_custom(Source(as_csv(tmp_path, utterances)), tmp_path, split, Choices())
    source = as_csv(tmp_path, utterances)
    before = source.read_bytes()
    with pytest.raises(InputError, match=r"a\.csv' would be overwritten: choose another --output or --split"):
        prepare_custom(Source(source), tmp_path, "a", Choices())
    assert source.read_bytes() == before


@pytest.mark.parametrize(("channel", "complaint"), [(2, "has 2 channels, none with the number 2"), (1, None)])
def test_channels(
    noise: tuple[Path, np.ndarray], tmp_path: Path, channel: int, complaint: str | None
) -> None:
    clip = Clip(noise[0], channel=channel)
    if complaint is None:
        path, _ = settle(clip, "a", tmp_path / "clips")
        np.testing.assert_array_equal(read_audio(path), (noise[1][:, channel] / 2**15).astype(np.float32))
        return
    with pytest.raises(InputError, match=complaint):
        settle(clip, "a", tmp_path / "clips")
