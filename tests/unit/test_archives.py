"""Archives are unpacked whole or not at all, and nothing leads out of their folder."""

import fcntl
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from hyperconformer.data import archives, download
from hyperconformer.data.archives import ARCHIVES, Archive, fetch_split, unpack
from hyperconformer.data.clips import decoded_seconds
from hyperconformer.data.librispeech import scan_split
from hyperconformer.errors import InputError
from tests.http_server import Manners, serving


def packed(*members: tarfile.TarInfo, content: bytes = b"sound") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.fixture
def corpus(tiny_librispeech, monkeypatch: pytest.MonkeyPatch) -> Manners:
    """A server with a little dev-clean, which the table of archives knows."""
    folder = tiny_librispeech(splits={"dev-clean": 4}, seconds=0.2)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder / "dev-clean", "LibriSpeech/dev-clean")
        tar.addfile(member("LibriSpeech/README.TXT"), io.BytesIO())
    body = buffer.getvalue()
    known = Archive(12, f"sha256:{hashlib.sha256(body).hexdigest()}", utterances=4)
    monkeypatch.setitem(ARCHIVES, "dev-clean", known)
    monkeypatch.setattr(download, "PAUSES_SECONDS", (0.0,))
    return Manners({"/12/dev-clean.tar.gz": body})


def fetch(corpus: Manners, folder: Path, **options: bool) -> Path:
    with serving(corpus) as address:
        return fetch_split(folder, "dev-clean", mirror=f"{address}/", progress=False, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_table_covers_both_corpora() -> None:
    assert (
        sum(a.utterances for name, a in ARCHIVES.items() if name.startswith("train") and a.resource == 12)
        == 281_241
    )
    digits = {"sha256": 64, "md5": 32}
    for archive in ARCHIVES.values():
        kind, _, digest = archive.checksum.partition(":")
        assert len(digest) == digits[kind] and int(digest, 16) > 0


@pytest.mark.parametrize("name", ["data", "LibriSpeech"])
def test_a_split_is_fetched_once_and_stands_in_its_place(corpus: Manners, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    root = folder if name == "LibriSpeech" else folder / "LibriSpeech"
    for _ in range(2):
        assert fetch(corpus, folder) == root / "dev-clean"
    assert len(scan_split(folder, "dev-clean", measure=decoded_seconds)) == 4
    assert len(corpus.asked) == 1 and names(root) == ["README.TXT", "dev-clean"]


def test_a_cut_download_and_a_killed_unpacking_are_gone_on_with(corpus: Manners, tmp_path: Path) -> None:
    corpus.cuts = [500, 0, 0]
    with pytest.raises(InputError, match="the same command goes on"):
        fetch(corpus, tmp_path)
    half = tmp_path / "LibriSpeech" / ".dev-clean.unpacking" / "LibriSpeech" / "dev-clean"
    half.mkdir(parents=True)
    fetch(corpus, tmp_path, keep_archive=True)
    assert [wanted for _, wanted in corpus.asked][-1] == "bytes=500-"
    assert names(tmp_path / "LibriSpeech") == ["README.TXT", "dev-clean", "dev-clean.tar.gz"]


def test_a_partial_split_is_left_alone(corpus: Manners, tmp_path: Path) -> None:
    split = fetch(corpus, tmp_path)
    next(split.rglob("*.flac")).unlink()
    with pytest.raises(InputError, match="holds 3 of 4 utterances: move it away"):
        fetch(corpus, tmp_path)
    assert len(list(split.rglob("*.flac"))) == 3


def test_two_processes_do_not_fetch_the_same(corpus: Manners, tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech").mkdir()
    with (tmp_path / "LibriSpeech" / ".dev-clean.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is downloading 'dev-clean'"):
            fetch(corpus, tmp_path)


def test_an_archive_of_something_else_is_refused(corpus: Manners, tmp_path: Path) -> None:
    body = packed(member("LibriSpeech/test-clean/a.flac"))
    corpus.files["/12/dev-clean.tar.gz"] = body
    archives.ARCHIVES["dev-clean"] = Archive(12, f"md5:{hashlib.md5(body).hexdigest()}", 4)
    with pytest.raises(InputError, match="does not hold LibriSpeech/dev-clean"):
        fetch(corpus, tmp_path)
    assert names(tmp_path / "LibriSpeech") == ["dev-clean.tar.gz"]


def test_a_folder_that_may_not_be_written(corpus: Manners, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\): choose another folder"):
        fetch(corpus, tmp_path / "file")


@pytest.mark.parametrize(
    ("hostile", "fault"),
    [
        (member("../escaped.flac"), "leads out"),
        (member("a/../../escaped.flac"), "leads out"),
        (member("/tmp/escaped.flac"), "leads out"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "no plain file"),
        (member("inner", tarfile.SYMTYPE, "good.flac"), "no plain file"),
        (member("hard", tarfile.LNKTYPE, "good.flac"), "no plain file"),
        (member("pipe", tarfile.FIFOTYPE), "no plain file"),
        (member("device", tarfile.CHRTYPE), "no plain file"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_hostile_members_are_refused(tmp_path: Path, hostile: tarfile.TarInfo, fault: str) -> None:
    archive = tmp_path / "in" / "a.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(packed(member("good.flac"), hostile))
    with pytest.raises(InputError, match=f"is not unpacked: .* {fault}"):
        unpack(archive, tmp_path / "in" / "out", progress=False)
    assert names(tmp_path) == ["in"] and names(tmp_path / "in") == ["a.tar.gz", "out"]
    assert not Path("/tmp/escaped.flac").exists()


def _truncated(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _flipped(body: bytes) -> bytes:
    """A bit of gzip's own checksum: all bytes unpack, and still something is wrong."""
    return body[:-8] + bytes([body[-8] ^ 1]) + body[-7:]


@pytest.mark.parametrize(
    "spoil", [_truncated, _flipped, lambda _: b"<html>", lambda _: gzip.compress(b"text" * 999)]
)
def test_a_damaged_archive_is_one_line(tmp_path: Path, spoil) -> None:
    (tmp_path / "a.tar.gz").write_bytes(spoil(packed(member("a.flac"), content=bytes(range(256)) * 400)))
    with pytest.raises(
        InputError, match=r"archive .*a.tar.gz' is damaged \(.*\): delete it and run"
    ) as raised:
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", progress=False)
    assert "\n" not in str(raised.value)


def test_permissions_are_ours(tmp_path: Path) -> None:
    odd = member("odd.flac")
    odd.mode = 0o4777
    (tmp_path / "a.tar.gz").write_bytes(packed(odd))
    unpack(tmp_path / "a.tar.gz", tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "odd.flac").stat().st_mode & 0o7022 == 0
