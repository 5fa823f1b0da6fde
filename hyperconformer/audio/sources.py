"""Where a recording is: a path, bytes or a file object, and always a regular file in the end."""

import contextlib
import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from hyperconformer.errors import InputError, one_line

AudioSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

LARGEST_STREAM = 16 * 2**30
"""Bytes that are taken from a file object; what never ends would fill the disk."""

_PIECE = 2**20

_KINDS = (
    (stat.S_ISDIR, "a folder, not an audio file: name one of the files in it"),
    (stat.S_ISFIFO, "a named pipe, not an audio file: send what it gives to a file first"),
    (stat.S_ISSOCK, "a socket, not an audio file: name a file"),
    (stat.S_ISCHR, "a device, not an audio file: name a file"),
    (stat.S_ISBLK, "a device, not an audio file: name a file"),
)
_REASONS = {
    errno.ENOENT: "does not exist: check the path",
    errno.ENOTDIR: "does not exist: check the path",
    errno.ENAMETOOLONG: "has too long a name: check the path",
    errno.EACCES: "may not be read: check its permissions",
    errno.EPERM: "may not be read: check its permissions",
    errno.ELOOP: "is a link that leads back to itself: name the file that is meant",
}


@dataclass(frozen=True)
class AudioFile:
    """A regular file that is open for reading.

    Attributes
    ----------
    handle : FileIO
        Has a file descriptor; without a buffer, so that a library which has its duplicate is where it is.
    name : str
        What complaints call it; one line, whatever is in a file's name.
    size : int
        Bytes.

    Examples
    --------
    >>> import tempfile
    >>> file = AudioFile(tempfile.TemporaryFile(buffering=0), "this", 0)
    >>> file.read(0, 4)
    b''
    >>> file.close()
    """

    handle: Any
    name: str
    size: int

    def read(self, start: int, count: int) -> bytes:
        """Read some bytes; negative starts count from the end."""
        self.handle.seek(max(0, start if start >= 0 else self.size + start))
        data: bytes = self.handle.read(count)
        return data

    def duplicate(self) -> int:
        """Give a descriptor of its own, for a library that closes what it is given; at the beginning."""
        self.handle.seek(0)
        return os.dup(self.handle.fileno())

    def close(self) -> None:
        """Close it; if it was made for a file object or for bytes, it is gone then."""
        self.handle.close()


def open_source(source: AudioSource) -> AudioFile:
    """Open what holds a recording, so that any library can read it.

    What a file object or bytes hold is copied into a temporary file (in ``TMPDIR``), since libraries want to
    move about in it. Nothing is opened that may not be a regular file: a pipe might never give anything.

    Parameters
    ----------
    source : str, Path, bytes or binary file object

    Returns
    -------
    AudioFile

    Raises
    ------
    InputError
        If there is no such file, it may not be read or is no regular file, or the object cannot be read.

    Examples
    --------
    >>> open_source(io.BytesIO(b"RIFF")).size
    4
    >>> open_source("/dev/zero")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: '/dev/zero' is a device, not an audio file: name a file
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _copy(iter([bytes(source)]), "the recording in memory")
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fspath(source))
    if hasattr(source, "read"):
        return _open_object(source)
    raise InputError(
        f"a recording cannot be read from {type(source).__name__}: give a path, bytes or a binary file object"
    )


def _open_path(path: str | bytes) -> AudioFile:
    path = os.fsdecode(path)
    name = f"audio file {path!r}"
    if "\0" in path:
        raise InputError(f"{name} does not exist: check the path")
    try:
        _refuse_kinds(os.stat(path).st_mode, repr(path))
        # Should a pipe have taken its place by now, opening it does not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        handle = io.FileIO(descriptor)
        status = os.fstat(descriptor)
        _refuse_kinds(status.st_mode, repr(path))
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        said = reason or f"cannot be opened ({error.strerror}): copy it to another place"
        raise InputError(f"{name} {said}") from error
    return AudioFile(handle, name, status.st_size)


def _refuse_kinds(mode: int, name: str) -> None:
    for is_kind, said in _KINDS:
        if is_kind(mode):
            raise InputError(f"{name} is {said}")


def _open_object(source: Any) -> AudioFile:
    """Copy what a file object holds, from its beginning if it can be moved about in."""
    called = getattr(source, "name", None)
    name = f"audio file {called!r}" if isinstance(called, str) else "the file object"
    if called in ("<stdin>", 0):
        name = "standard input"
    if _is_device(source):
        raise InputError(f"{name} is a terminal or a device: give it a recording, as in '- < speech.wav'")
    with contextlib.suppress(AttributeError, OSError, ValueError):  # then from where it stands
        if source.seekable():
            source.seek(0)
    return _copy(_pieces(source, name), name)


def _is_device(source: Any) -> bool:
    try:
        return stat.S_ISCHR(os.fstat(source.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):  # it has no descriptor
        return False


def _pieces(source: Any, name: str) -> Iterator[bytes]:
    while True:
        try:
            piece = source.read(_PIECE)
        except (OSError, ValueError) as error:
            raise InputError(f"{name} cannot be read ({one_line(error, 200)}): open it anew") from error
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise InputError(f"{name} gives {type(piece).__name__}, not bytes: open it in binary mode, 'rb'")
        if not piece:
            return
        yield bytes(piece)


def _copy(pieces: Iterator[bytes], name: str) -> AudioFile:
    size = 0
    handle = tempfile.TemporaryFile(buffering=0, prefix="hyperconformer-")  # noqa: SIM115  # AudioFile closes it
    try:
        # Others need room on that disk as well.
        most = min(LARGEST_STREAM, shutil.disk_usage(tempfile.gettempdir()).free // 2)
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise InputError(f"{name} gives more than {most / 2**30:.1f} GiB: name a file instead")
            rest = memoryview(piece)
            while rest:  # more than 2 GiB are not taken at once
                rest = rest[handle.write(rest) :]
    except OSError as error:
        handle.close()
        where = tempfile.gettempdir()
        raise InputError(f"{name} cannot be copied to {where!r} ({error.strerror}): set TMPDIR") from error
    except BaseException:
        handle.close()
        raise
    return AudioFile(handle, name, size)
