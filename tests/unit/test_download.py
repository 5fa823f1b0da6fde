"""Downloads from a server that misbehaves: whole and right, or one line and nothing wrong left behind."""

import hashlib
import random
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from hyperconformer.data import download as module
from hyperconformer.data.download import download
from hyperconformer.errors import InputError
from tests.http_server import Manners, serving

BODY = random.Random(0).randbytes(300_000)
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_SECONDS", (0.0, 0.0, 0.0))


def fetch(manners: Manners, folder: Path, checksum: str = SHA256) -> Path:
    with serving(manners) as address:
        return download(f"{address}/a.tar.gz", folder / "a.tar.gz", checksum, progress=False)


def ranges(manners: Manners) -> list[str | None]:
    return [wanted for _, wanted in manners.asked]


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_a_file_is_fetched_once(tmp_path: Path, checksum: str) -> None:
    manners = Manners({"/a.tar.gz": BODY})
    for _ in range(2):
        assert fetch(manners, tmp_path, checksum).read_bytes() == BODY
    assert ranges(manners) == [None] and only(tmp_path) == ["a.tar.gz"]


def test_a_broken_connection_is_gone_on_with_from_where_it_broke(tmp_path: Path) -> None:
    manners = Manners({"/a.tar.gz": BODY}, cuts=[100_000, 0, 50_000])
    assert fetch(manners, tmp_path).read_bytes() == BODY
    assert ranges(manners) == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]


def test_a_later_run_goes_on_from_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz.part").write_bytes(BODY[:12_345])
    manners = Manners({"/a.tar.gz": BODY})
    assert fetch(manners, tmp_path).read_bytes() == BODY
    assert ranges(manners) == ["bytes=12345-"]


def test_a_cut_file_of_another_program_is_completed(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(BODY[:777])
    manners = Manners({"/a.tar.gz": BODY})
    assert fetch(manners, tmp_path).read_bytes() == BODY
    assert ranges(manners) == ["bytes=777-"] and only(tmp_path) == ["a.tar.gz"]


def test_a_server_without_ranges_starts_anew(tmp_path: Path) -> None:
    manners = Manners({"/a.tar.gz": BODY}, cuts=[100_000], knows_ranges=False)
    assert fetch(manners, tmp_path).read_bytes() == BODY
    assert ranges(manners) == [None, "bytes=100000-"]


def test_a_server_that_always_breaks_off_is_given_up(tmp_path: Path) -> None:
    manners = Manners({"/a.tar.gz": BODY}, cuts=[1000] * 99, knows_ranges=False)
    with pytest.raises(InputError, match=r"broke off, 1,000 bytes are here\): the same command goes on"):
        fetch(manners, tmp_path)
    assert len(manners.asked) == 4 and only(tmp_path) == ["a.tar.gz.part"]


def test_progress_renews_patience(tmp_path: Path) -> None:
    manners = Manners({"/a.tar.gz": BODY}, cuts=[10_000] * 20)
    assert fetch(manners, tmp_path).read_bytes() == BODY
    assert len(manners.asked) == 21


def test_an_answer_that_begins_elsewhere_is_not_appended(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz.part").write_bytes(BODY[:5000])
    manners = Manners({"/a.tar.gz": BODY}, lie=4000)
    assert fetch(manners, tmp_path).read_bytes() == BODY
    assert ranges(manners) == ["bytes=5000-", None]


@pytest.mark.parametrize("there", [BODY, BODY + b"more", BODY[:-1] + b"xy"])
def test_a_range_behind_the_end(tmp_path: Path, there: bytes) -> None:
    (tmp_path / "a.tar.gz.part").write_bytes(there)
    manners = Manners({"/a.tar.gz": BODY})
    assert fetch(manners, tmp_path).read_bytes() == BODY
    assert ranges(manners)[0] == f"bytes={len(there)}-" and len(manners.asked) == (1 if there == BODY else 2)


def test_a_server_that_does_not_tell_the_length(tmp_path: Path) -> None:
    manners = Manners({"/a.tar.gz": BODY}, tells_length=False)
    assert fetch(manners, tmp_path).read_bytes() == BODY


def test_a_flipped_bit_is_noticed_and_deleted(tmp_path: Path) -> None:
    flipped = bytearray(BODY)
    flipped[150_000] ^= 4
    with pytest.raises(InputError, match=r"a.tar.gz arrived damaged, its sha256 .* deleted: run .* again"):
        fetch(Manners({"/a.tar.gz": bytes(flipped)}), tmp_path)
    assert only(tmp_path) == []


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_final(tmp_path: Path, code: int) -> None:
    manners = Manners({}, answers=[code])
    with pytest.raises(
        InputError, match=f"the server answers {code} .* for http.*/a.tar.gz: name another"
    ) as e:
        fetch(manners, tmp_path)
    assert "\n" not in str(e.value) and len(manners.asked) == 1


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    manners = Manners({"/a.tar.gz": BODY}, answers=[503, 429, 500])
    assert fetch(manners, tmp_path).read_bytes() == BODY
    assert len(manners.asked) == 4


def test_no_network_is_one_line_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    monkeypatch.setattr(module, "PAUSES_SECONDS", (60.0,))
    with pytest.raises(
        InputError, match="cannot reach http://example.org/a .*not known.*: check the network"
    ):
        download("http://example.org/a", tmp_path / "a", SHA256, progress=False)
    assert only(tmp_path) == []


def test_too_little_room_is_said_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1000))
    with pytest.raises(InputError, match="has room for 0.0 GB, a.tar.gz needs 0.0 GB more: make room"):
        fetch(Manners({"/a.tar.gz": BODY}), tmp_path)


def test_a_disk_that_fills_up_is_one_line(tmp_path: Path) -> None:
    # Whatever is written to this device finds the disk full.
    (tmp_path / "a.tar.gz.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"cannot be written, the disk is full: make room") as raised:
        fetch(Manners({"/a.tar.gz": BODY}), tmp_path)
    assert "\n" not in str(raised.value)


def test_bars_go_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manners = Manners({"/a.tar.gz": BODY}, cuts=[1000])
    with serving(manners) as address:
        download(f"{address}/a.tar.gz", tmp_path / "a.tar.gz", SHA256)
    said = capsys.readouterr()
    assert said.out == "" and "broke off: trying again in 0 s" in said.err
