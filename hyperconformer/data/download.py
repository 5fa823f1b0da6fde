"""Fetch a file over HTTP: gone on with after a cut, and checked before it counts as there."""

import errno
import hashlib
import http.client
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from hyperconformer.errors import InputError, one_line

PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Before each further try that brings nothing new; after the last one we give up."""

TIMEOUT_SECONDS = 30.0
_BLOCK_BYTES = 1 << 20
_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP answers that may be different in a moment."""


def download(url: str, target: Path, checksum: str, *, progress: bool = True) -> Path:
    """Fetch a file, unless it is there; what a broken connection left is gone on with.

    Until it is whole and its checksum is right, the file is called ``<target>.part``.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://`` address.
    target : Path
        File to write, in a folder that exists. One that is there is checked, and completed if it is cut.
    checksum : str
        Name of a hash function of hashlib, a colon and the digest in hexadecimal digits.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    Path
        The target.

    Raises
    ------
    InputError
        If the server cannot be reached, lacks the file or keeps breaking off; if the checksum is another
        (the file is deleted then); or if the disk is full or may not be written.

    Examples
    --------
    >>> download("ftp://example.org/a.tar.gz", Path("a.tar.gz"), "md5:0")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: address 'ftp://example.org/a.tar.gz' is not http:// or https://: ...
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"address {url!r} is not http:// or https://: name another mirror")
    part = target.with_name(target.name + ".part")
    try:
        if target.exists():
            if _digest(target, checksum, progress) == checksum:
                return target
            os.replace(target, part)
        _fetch(url, part, progress)
        if _digest(part, checksum, progress) != checksum:
            part.unlink()
            raise InputError(
                f"{url} arrived damaged, its {checksum.partition(':')[0]} checksum is not the known one, and "
                "was deleted: run the command again, or name another mirror"
            )
        os.replace(part, target)
    except OSError as error:
        raise disk_error(target, error) from error
    return target


def disk_error(path: Path, error: OSError) -> InputError:
    """Say that a file cannot be written.

    Parameters
    ----------
    path : Path
        The file.
    error : OSError
        What the system said.

    Returns
    -------
    InputError
        To be raised.

    Examples
    --------
    >>> print(disk_error(Path("a.tar.gz"), OSError(28, "No space left on device")))
    'a.tar.gz' cannot be written, the disk is full: make room, or choose another folder; ...
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "make room, or choose another folder; the same command then goes on"
        return InputError(f"{str(path)!r} cannot be written, the disk is full: {remedy}")
    return InputError(f"{str(path)!r} cannot be written ({error.strerror or error}): choose another folder")


def _digest(path: Path, checksum: str, progress: bool) -> str:
    """Checksum of a file, made the way that another was made."""
    name = checksum.partition(":")[0]
    digest = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as file, _bar(f"checking {path.name}", progress) as bar:
        bar.total = os.fstat(file.fileno()).st_size
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            bar.update(len(block))
    return f"{name}:{digest.hexdigest()}"


def _bar(title: str, progress: bool) -> "tqdm[None]":
    # disable=None: no bar unless standard error is a terminal, so that logs stay clean.
    return tqdm(desc=title, unit="B", unit_scale=True, unit_divisor=1024, disable=None if progress else True)


def _fetch(url: str, part: Path, progress: bool) -> None:
    """Fetch until the file is whole; give up where several tries in a row bring nothing new."""
    most = start = _size(part)
    pauses = list(PAUSES_SECONDS)
    with _bar(part.name.removesuffix(".part"), progress) as bar:
        while True:
            try:
                if _fetch_once(url, part, bar):
                    return
                reason = "the connection broke off"
            except _NETWORK_ERRORS as error:
                reason = one_line(error, 200) or type(error).__name__
                if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
                    reason = " ".join(str(error.reason).split())
                    if most == start:
                        raise InputError(f"cannot reach {url} ({reason}): check the network") from error
            if _size(part) > most:
                most, pauses = _size(part), list(PAUSES_SECONDS)
            if not pauses:
                raise InputError(
                    f"{url} cannot be fetched ({reason}, {most:,} bytes are here): "
                    "the same command goes on from there; try it later, or name another mirror"
                )
            if progress:
                bar.write(f"{reason}: trying again in {pauses[0]:g} s", file=sys.stderr)
            time.sleep(pauses.pop(0))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch_once(url: str, part: Path, bar: "tqdm[None]") -> bool:
    """Ask for what is missing and append it; returns whether the file is whole now."""
    have = _size(part)
    headers = {"User-Agent": "hyperconformer", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            return _whole_or_gone(error, url, part, have)
    with answer:
        begins, total = _span(answer)
        if begins not in (0, have):
            part.unlink()
            return False
        bar.total = total
        bar.update(begins - bar.n)
        with part.open("r+b" if begins else "wb") as file:
            file.seek(begins)
            _check_room(part, total, begins)
            _append(answer, file, bar)
    return total is None or _size(part) == total


def _whole_or_gone(error: urllib.error.HTTPError, url: str, part: Path, have: int) -> bool:
    """Judge an HTTP error; True where it means that nothing is missing."""
    if error.code == 416:  # nothing lies behind what we have: it is whole, or not this file
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
            return True
        part.unlink(missing_ok=True)
        return False
    if error.code in _PASSING:
        raise error
    raise InputError(
        f"the server answers {error.code} ({error.reason}) for {url}: name another mirror"
    ) from error


def _span(answer: http.client.HTTPResponse) -> tuple[int, int | None]:
    """First byte that an answer brings, and the bytes of the whole file if the server says so."""
    if answer.status == 206:
        span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first = span.partition("-")[0]
        return (int(first) if first.isdigit() else -1), (int(total) if total.isdigit() else None)
    length = answer.headers.get("Content-Length", "")
    return 0, (int(length) if length.isdigit() else None)


def _check_room(part: Path, total: int | None, have: int) -> None:
    """Refuse at once what would fill the disk in an hour."""
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise InputError(
            f"{str(part.parent)!r} has room for {free / 1e9:.1f} GB, {part.name.removesuffix('.part')} needs "
            f"{(total - have) / 1e9:.1f} GB more: make room, or choose another folder"
        )


def _append(answer: http.client.HTTPResponse, file: BinaryIO, bar: "tqdm[None]") -> None:
    """Write what comes; a full disk is no network error, though both are OSErrors."""
    while block := _read(answer):
        try:
            file.write(block)
            file.flush()
        except OSError as error:
            raise disk_error(Path(file.name), error) from error
        bar.update(len(block))


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_BLOCK_BYTES)
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from error
