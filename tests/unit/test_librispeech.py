"""LibriSpeech: a faulty corpus is named in one line, a sound one is listed the same way every time."""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from hyperconformer.data.clips import decoded_seconds
from hyperconformer.data.hold_out import hold_out
from hyperconformer.data.librispeech import (
    parse_transcript_line,
    prepare_librispeech,
    scan_split,
    splits_in,
)
from hyperconformer.data.manifest import read_manifest
from hyperconformer.errors import InputError
from hyperconformer.types import Utterance

TinyLibriSpeech = Callable[..., Path]

REAL_SPLITS = [
    # folder, split, utterances, hours, speakers: what the README of the data says
    ("LibriSpeech", "dev-clean", 1313, 2.70, 20),
    ("LibriSpeech", "test-clean", 1957, 4.06, 30),
    ("LibriSpeech-lossless", "test-clean", 30, None, 30),
    ("digits", "train-digits", 555, 0.44, 6),
    ("digits", "test-digits", 64, 0.05, 6),
]


@pytest.mark.parametrize(("folder", "split", "count", "hours", "speakers"), REAL_SPLITS)
def test_real_speech_is_counted_as_its_readme_says(
    shared_data: Path, folder: str, split: str, count: int, hours: float | None, speakers: int
) -> None:
    utterances = scan_split(shared_data / folder, split)
    assert len(utterances) == count
    assert len({utterance.speaker for utterance in utterances}) == speakers
    if hours is not None:
        assert sum(utterance.seconds for utterance in utterances) / 3600 == pytest.approx(hours, abs=0.005)


def test_the_parent_of_librispeech_will_do(tiny_librispeech: TinyLibriSpeech) -> None:
    data_folder = tiny_librispeech()
    (data_folder / "LibriSpeech").mkdir()
    (data_folder / "test-tiny").rename(data_folder / "LibriSpeech" / "test-tiny")
    assert len(scan_split(data_folder, "test-tiny")) == 2
    assert len(scan_split(data_folder, "train-tiny")) == 6


def test_rows_of_a_split(tiny_librispeech: TinyLibriSpeech) -> None:
    data_folder = tiny_librispeech(splits={"dev-tiny": 3}, seconds=0.5)
    split = data_folder / "dev-tiny"
    assert scan_split(data_folder, "dev-tiny", progress=True) == [
        Utterance("10-1-0000", 0.5, str(split / "10/1/10-1-0000.flac"), "10", "ONE"),
        Utterance("10-1-0002", 0.5, str(split / "10/1/10-1-0002.flac"), "10", "THREE FOUR FIVE"),
        Utterance("11-1-0001", 0.5, str(split / "11/1/11-1-0001.flac"), "11", "TWO THREE"),
    ]


def test_extensions_mix_and_strangers_are_ignored(tiny_librispeech: TinyLibriSpeech) -> None:
    data_folder = tiny_librispeech(splits={"dev-tiny": 10})
    before = scan_split(data_folder, "dev-tiny")
    formats = {".wav": "WAV", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3", ".FLAC": "FLAC"}
    for utterance, (extension, container) in zip(before, formats.items(), strict=False):
        path = Path(utterance.path)
        samples, rate_hz = soundfile.read(path)
        subtype = "OPUS" if extension == ".opus" else None
        path.unlink()
        soundfile.write(path.with_suffix(extension), samples, rate_hz, subtype, format=container)
    chapter = Path(before[0].path).parent
    for stranger in ("._10-1-0000.flac", "notes.txt", ".DS_Store"):
        (chapter / stranger).write_bytes(b"not audio")
    (data_folder / "dev-tiny" / "README").touch()
    (data_folder / "dev-tiny" / "99" / "1").mkdir(parents=True)
    after = scan_split(data_folder, "dev-tiny")
    assert [(row.id, row.seconds, row.words) for row in after] == [
        (row.id, row.seconds, row.words) for row in before
    ]
    assert {Path(row.path).suffix for row in after} == {*formats, ".flac"}


def test_paths_are_absolute(tiny_librispeech: TinyLibriSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    data_folder = tiny_librispeech()
    monkeypatch.chdir(data_folder.parent)
    assert scan_split(Path(data_folder.name), "test-tiny") == scan_split(data_folder, "test-tiny")


def test_the_case_of_a_transcript_is_kept_and_its_spaces_are_not() -> None:
    assert parse_transcript_line("a-1-0000  Mixed\tCase \n") == ("a-1-0000", "Mixed Case")
    assert parse_transcript_line("a-1-0000\n") == ("a-1-0000", "")


def _remove_audio(chapter: Path) -> None:
    (chapter / "10-1-0002.flac").unlink()


def _remove_line(chapter: Path) -> None:
    transcript = chapter / "10-1.trans.txt"
    transcript.write_text("".join(transcript.read_text().splitlines(keepends=True)[1:]))


def _remove_transcript(chapter: Path) -> None:
    (chapter / "10-1.trans.txt").unlink()


def _append(text: bytes) -> Callable[[Path], None]:
    def append(chapter: Path) -> None:
        with (chapter / "10-1.trans.txt").open("ab") as transcript:
            transcript.write(text)

    return append


def _double_audio(chapter: Path) -> None:
    soundfile.write(chapter / "10-1-0000.wav", np.zeros(160), 16_000)


def _copy_to_other_speaker(chapter: Path) -> None:
    other = chapter.parents[1] / "11" / "1"
    shutil.copy(chapter / "10-1-0000.flac", other)
    with (other / "11-1.trans.txt").open("a") as transcript:
        transcript.write("10-1-0000 ONE\n")


def _corrupt(chapter: Path) -> None:
    (chapter / "10-1-0000.flac").write_bytes(b"noise")


FAULTS = [
    (_remove_audio, "no audio file for line '10-1-0002' of .*10-1.trans.txt"),
    (_remove_line, "audio .*10-1-0000.flac' has no line in '10-1.trans.txt': add its transcript"),
    (_remove_transcript, "audio .*10-1-0000.flac' has no line in '10-1.trans.txt'"),
    (_append(b"10-1-0008 \n"), "10-1.trans.txt', line 4: '10-1-0008' has no words"),
    (_append(b"\n10-1-0000 AGAIN\n"), "10-1.trans.txt', line 5: duplicate id '10-1-0000'"),
    (_append(b"10-1-0008 GR\xdcN\n"), "10-1.trans.txt' is not readable UTF-8"),
    (_double_audio, "duplicate id '10-1-0000', audio '10-1-0000.flac' and '10-1-0000.wav'"),
    (_copy_to_other_speaker, "duplicate id '10-1-0000', audio .*/10/1/.* and .*/11/1/.*: rename or remove"),
    (_corrupt, "audio file .*10-1-0000.flac' cannot be decoded"),
]


@pytest.mark.parametrize(("spoil", "complaint"), FAULTS)
def test_a_faulty_corpus_is_named_in_one_line(
    tiny_librispeech: TinyLibriSpeech, tmp_path: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    data_folder = tiny_librispeech()
    spoil(data_folder / "train-tiny" / "10" / "1")
    with pytest.raises(InputError, match=complaint) as raised:
        prepare_librispeech(data_folder, ["test-tiny", "train-tiny"], tmp_path / "manifests", progress=False)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "manifests").exists()


def test_a_missing_split_lists_those_there_and_guesses(tiny_librispeech: TinyLibriSpeech) -> None:
    data_folder = tiny_librispeech()
    with pytest.raises(InputError) as raised:
        scan_split(data_folder, "train_tiny")
    message = str(raised.value)
    assert "no split 'train_tiny'" in message and str(data_folder) in message
    assert "did you mean 'train-tiny'?" in message and "which holds test-tiny, train-tiny:" in message
    for no_name in ("", ".", "..", "train-tiny/10"):
        with pytest.raises(InputError, match="no split"):
            scan_split(data_folder, no_name)


def test_a_folder_without_splits_and_an_empty_split(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no split 'dev-clean' in .* which holds no split: .* point --data_folder"
    ):
        scan_split(tmp_path, "dev-clean")
    (tmp_path / "dev-clean" / "10").mkdir(parents=True)
    with pytest.raises(InputError, match="split 'dev-clean' is empty"):
        scan_split(tmp_path, "dev-clean")


@pytest.mark.parametrize("missing", [None, Path("/no/such/place")])
def test_a_missing_corpus_is_named(tmp_path: Path, missing: Path | None) -> None:
    named = "is not set" if missing is None else str(missing)
    with pytest.raises(InputError, match=f"data_folder .*{named}.* --data_folder"):
        prepare_librispeech(missing, ["dev-clean"], tmp_path)


def test_preparing_writes_what_was_scanned_and_again_the_same_bytes(
    tiny_librispeech: TinyLibriSpeech, tmp_path: Path
) -> None:
    data_folder = tiny_librispeech()
    splits = ["train-tiny", "test-tiny"]
    manifests = prepare_librispeech(data_folder, splits, tmp_path / "new" / "manifests", progress=False)
    assert manifests == {split: tmp_path / "new" / "manifests" / f"{split}.csv" for split in splits}
    for split, manifest in manifests.items():
        assert read_manifest(manifest) == scan_split(data_folder, split)
    first = [path.read_bytes() for path in manifests.values()]
    prepare_librispeech(data_folder, splits, tmp_path / "new" / "manifests", progress=False)
    assert [path.read_bytes() for path in manifests.values()] == first


def test_a_split_is_named_once(tiny_librispeech: TinyLibriSpeech, tmp_path: Path) -> None:
    data_folder = tiny_librispeech()
    with pytest.raises(InputError, match="'test-tiny' is named twice"):
        prepare_librispeech(data_folder, ["test-tiny", "test-tiny"], tmp_path, progress=False)


@pytest.mark.parametrize("splits", [[], "test-tiny"])
def test_splits_are_a_list(tmp_path: Path, splits: list[str]) -> None:
    with pytest.raises(InputError, match="give a list of split names"):
        prepare_librispeech(tmp_path, splits, tmp_path, progress=False)


corpora = st.lists(
    st.builds(
        Utterance,
        id=st.text(max_size=6),
        seconds=st.just(1.0),
        path=st.just("a.flac"),
        speaker=st.sampled_from("abcde"),
        words=st.just("YES"),
    ),
    unique_by=lambda utterance: utterance.id,
    max_size=30,
)


@given(corpora, st.floats(0.01, 0.99), st.randoms(use_true_random=False))
def test_held_out_sets_are_disjoint_complete_and_independent_of_order(
    utterances: list[Utterance], share: float, rng: random.Random
) -> None:
    counts = Counter(utterance.speaker for utterance in utterances)
    if max(counts.values(), default=0) < 2:
        with pytest.raises(InputError, match="one speaker needs at least two"):
            hold_out(utterances, share)
        return
    train, valid = hold_out(utterances, share)
    assert valid and not set(train) & set(valid)
    assert [row for row in utterances if row in set(valid)] == valid
    assert [row for row in utterances if row not in set(valid)] == train
    held_out = Counter(utterance.speaker for utterance in valid)
    for speaker, count in counts.items():
        assert held_out[speaker] <= count - 1
        assert held_out[speaker] <= share * count + 1
    shuffled = rng.sample(utterances, len(utterances))
    assert set(hold_out(shuffled, share)[1]) == set(valid)


@pytest.mark.parametrize("per_speaker", [3, 10, 64])
def test_the_share_is_kept_even_where_speakers_are_small(per_speaker: int) -> None:
    utterances = [
        Utterance(f"{speaker}-1-{index}", 1.0, "a.flac", str(speaker), "YES")
        for speaker in range(2_000)
        for index in range(per_speaker)
    ]
    train, valid = hold_out(utterances, 0.1)
    assert len(valid) / len(utterances) == pytest.approx(0.1, abs=0.015)
    assert {row.speaker for row in train} == {row.speaker for row in utterances}


@pytest.mark.parametrize("share", [0, 1, -0.1, 10, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="held-out share"):
        hold_out([], share)


def test_decoding_shows_what_headers_hide(tiny_librispeech: TinyLibriSpeech) -> None:
    data_folder = tiny_librispeech()
    path = data_folder / "train-tiny" / "10" / "1" / "10-1-0002.flac"
    path.write_bytes(path.read_bytes()[:-2000])
    assert len(scan_split(data_folder, "train-tiny")) == 6
    with pytest.raises(InputError, match=r"10-1-0002.flac' (is cut short|cannot be decoded)"):
        scan_split(data_folder, "train-tiny", measure=decoded_seconds)


def test_splits_that_are_there(tiny_librispeech: TinyLibriSpeech) -> None:
    data_folder = tiny_librispeech()
    (data_folder / "manifests").mkdir()
    (data_folder / "LibriSpeech").mkdir()
    (data_folder / "test-tiny").rename(data_folder / "LibriSpeech" / "test-tiny")
    assert splits_in(data_folder) == ["test-tiny", "train-tiny"]
    with pytest.raises(InputError, match="does not exist"):
        splits_in(data_folder / "none")


def write_list(data_folder: Path, name: str, *lines: str) -> None:
    """A list beside the splits."""
    (data_folder / "lists").mkdir(exist_ok=True)
    (data_folder / "lists" / f"{name}.txt").write_text("\n".join([*lines, ""]))


def test_a_list_divides_a_corpus_anew(tiny_librispeech: TinyLibriSpeech, tmp_path: Path) -> None:
    data_folder = tiny_librispeech()
    every = [*scan_split(data_folder, "train-tiny"), *scan_split(data_folder, "test-tiny")]
    lines = [str(Path(row.path).relative_to(data_folder).with_suffix("")) for row in every]
    write_list(data_folder, "slice", lines[-1], lines[0], "", lines[2])
    chosen = scan_split(data_folder, "slice")
    assert chosen == sorted([every[-1], every[0], every[2]], key=lambda row: row.id)
    manifests = prepare_librispeech(data_folder, ["slice", "test-tiny"], tmp_path)
    assert read_manifest(manifests["slice"]) == chosen
    # A folder comes before a list of its name.
    write_list(data_folder, "test-tiny", lines[0])
    assert scan_split(data_folder, "test-tiny") == every[-2:]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["train-tiny/10/1/10-1-0000", "train-tiny/10"], "line 2: 'train-tiny/10' is not <split>/<speaker>"),
        (
            ["train-tiny/10/1/10-1-0099"],
            "names 1 utterances of 'train-tiny' that are .* 10-1-0099",
        ),
        ([], "is empty: write an utterance a line"),
        (["slice/10/1/10-1-0000"], "no split 'slice'"),
        (["other/10/1/10-1-0000"], "no split 'other' .*which holds test-tiny, train-tiny: name one"),
    ],
)
def test_a_faulty_list_is_named(tiny_librispeech: TinyLibriSpeech, lines: list[str], message: str) -> None:
    data_folder = tiny_librispeech()
    write_list(data_folder, "slice", *lines)
    with pytest.raises(InputError, match=message):
        scan_split(data_folder, "slice")


def test_real_lists_are_of_different_speakers(shared_data: Path) -> None:
    slices = [scan_split(shared_data, f"slice-{part}") for part in ("train", "valid", "test")]
    assert [len(rows) for rows in slices] == [2816, 170, 284]
    speakers = [{row.speaker for row in rows} for rows in slices]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
