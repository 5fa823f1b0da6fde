"""Text files: every kind is read, every bad line is named."""

import gzip
from pathlib import Path

import pytest

from hyperconformer.data.manifest import write_manifest
from hyperconformer.data.sentences import read_sentences
from hyperconformer.errors import InputError
from hyperconformer.types import Utterance


def test_all_kinds_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfONE  TWO\r\n\n \tTHREE\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"FOUR"))
    (tmp_path / "7-1.trans.txt").write_text("7-1-0000 FIVE SIX\n")
    write_manifest(tmp_path / "c.csv", [Utterance("x", 1.0, "x.flac", "1", "SEVEN,  EIGHT")])
    names = ("c.csv", "a.txt", "7-1.trans.txt", "b.txt.gz")
    assert list(read_sentences([tmp_path / name for name in names])) == [
        "SEVEN, EIGHT", "ONE TWO", "THREE", "FIVE SIX", "FOUR",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "holds no words: give another file"),
        ("a.txt", b" \n\n", "holds no words"),
        ("a.txt", b"GOOD\nGR\xdcN\n", "line 2: not UTF-8"),
        ("a.txt", b"GOOD\n\nA </s> B\n", "line 3: '</s>' is no word"),
        ("a.txt.gz", gzip.compress(b"GOOD\n" * 999, mtime=0)[:-9], "broken gzip"),
        ("a.txt.gz", b"GOOD\n", "broken gzip"),
        ("1-1.trans.txt", b"1-1-0000 GOOD\n1-1-0001\n", "line 2: '1-1-0001' has no words"),
        ("a.csv", b"ID,duration,wav,spk_id,wrd\nx,1,a.wav,1,\n", "line 2: 'x' has no words"),
        ("a.json", b"{}", "of no known kind: its name must end with .trans.txt, .txt, .gz, .csv"),
    ],
)
def test_bad_files_are_named_with_the_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        list(read_sentences([tmp_path / name]))
    assert str(tmp_path / name) in str(raised.value) and "\n" not in str(raised.value)


def test_no_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text is given"):
        list(read_sentences([]))
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(InputError, match=r"folder.txt' cannot be read \(Is a directory\)"):
        list(read_sentences([tmp_path / "folder.txt"]))
