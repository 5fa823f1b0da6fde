"""Manifests: written whole or not at all, and every bad line named when read."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hyperconformer.data.manifest import COLUMNS, read_manifest, write_manifest
from hyperconformer.errors import InputError
from hyperconformer.types import Utterance

ROW = Utterance("7-1-0000", 2.5, "/speech/7-1-0000.flac", "7", "YES INDEED")
HEADER = "ID,duration,wav,spk_id,wrd\n"
GOOD = "7-1-0000,2.5,a.flac,7,YES INDEED\n"


def test_the_columns_are_those_of_the_speechbrain_recipe(tmp_path: Path) -> None:
    write_manifest(tmp_path / "a.csv", [ROW])
    assert (tmp_path / "a.csv").read_text() == (
        "ID,duration,wav,spk_id,wrd\n7-1-0000,2.5,/speech/7-1-0000.flac,7,YES INDEED\n"
    )
    assert COLUMNS == ("ID", "duration", "wav", "spk_id", "wrd")


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.csv"
    write_manifest(target, [ROW])
    assert [path.name for path in target.parent.iterdir()] == ["a.csv"]


def test_an_empty_manifest_reads_back_empty(tmp_path: Path) -> None:
    write_manifest(tmp_path / "a.csv", [])
    assert read_manifest(tmp_path / "a.csv") == []


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([ROW, ROW], "id '7-1-0000' is used twice"),
        ([replace(ROW, id=" ")], "an id is empty"),
        ([replace(ROW, seconds=0.0)], "duration 0.0 of '7-1-0000'"),
        ([replace(ROW, seconds=-1.0)], "duration -1.0 of '7-1-0000'"),
        ([replace(ROW, seconds=float("nan"))], "duration nan of '7-1-0000'"),
        ([replace(ROW, seconds=float("inf"))], "duration inf of '7-1-0000'"),
        ([replace(ROW, words=" \t ")], "'7-1-0000' has no words"),
        ([replace(ROW, path="")], "'7-1-0000' has no audio file"),
        ([replace(ROW, path="a\nb.flac")], r"'a\\nb.flac' of '7-1-0000' holds a line break"),
        ([replace(ROW, path="a\udcff.flac")], "is not valid Unicode"),
    ],
)
def test_bad_rows_are_refused_and_the_old_manifest_stays(
    tmp_path: Path, rows: list[Utterance], complaint: str
) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(InputError, match=complaint) as raised:
        write_manifest(target, rows)
    assert str(target) in str(raised.value) and "\n" not in str(raised.value)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failing_replacement_leaves_the_old_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(InputError, match="No space left"):
        write_manifest(target, [ROW])
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_manifest_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written \(.*\): choose another folder"):
        write_manifest(tmp_path / "file" / "a.csv", [ROW])


def test_other_columns_orders_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffwrd,room,wav,ID,spk_id,duration\r\nYES  INDEED,3,a.wav,x,7,1\r\n")
    assert read_manifest(tmp_path / "a.csv") == [Utterance("x", 1.0, "a.wav", "7", "YES INDEED")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: no column ID, duration, wav, spk_id, wrd"),
        ("ID,wav,spk_id\n", "line 1: no column duration, wrd"),
        (HEADER + GOOD + GOOD, "line 3: id '7-1-0000' is used twice"),
        (HEADER + "x,abc,a.flac,7,YES\n", "line 2: duration 'abc' is not a number"),
        (HEADER + "x,-2,a.flac,7,YES\n", "line 2: duration -2.0 of 'x' is not a positive"),
        (HEADER + "x,nan,a.flac,7,YES\n", "line 2: duration nan of 'x' is not a positive"),
        (HEADER + GOOD + "\nx,1,a.flac,7,\n", "line 4: 'x' has no words"),
        (HEADER + "x,1,a.flac,7,   \n", "line 2: 'x' has no words"),
        (HEADER + ",1,a.flac,7,YES\n", "line 2: an id is empty"),
        (HEADER + "x,1,,7,YES\n", "line 2: 'x' has no audio file"),
        (HEADER + "x,1,a.flac\n", "line 2: fewer fields than columns"),
        (HEADER + "x,1,a.flac,7,YES, INDEED\n", "line 2: more fields than columns: put double quotes"),
        (HEADER + GOOD + "x,1,a.flac,7," + "A" * 200_000 + "\n", "line 3: not CSV"),
        (HEADER + GOOD + 'x,1,a.flac,7,"YES\ny,1,b.flac,7,NO\n', "line 3: not CSV .* check its quotes"),
    ],
)
def test_reading_names_file_and_line(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=complaint) as raised:
        read_manifest(tmp_path / "a.csv")
    assert str(tmp_path / "a.csv") in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_manifest_and_a_wrong_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv' cannot be read \(No such file.*prepare the data first"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + "x,1,a.flac,7,GRÜN\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.csv' is not UTF-8"):
        read_manifest(tmp_path / "latin.csv")
