"""Sentences of text files, streamed: a line each, plain or gzipped, or those of manifests and transcripts."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from hyperconformer.data.librispeech import parse_transcript_line
from hyperconformer.data.manifest import read_manifest
from hyperconformer.errors import InputError

RESERVED = ("<s>", "</s>", "<unk>")
"""What begins, ends and replaces words in every language model here, and so can be none of its words."""


def read_sentences(paths: Sequence[str | Path]) -> Iterator[str]:
    r"""Yield the sentences of text files, in their order; no file is ever held in memory.

    Parameters
    ----------
    paths : sequence of str or Path
        Files in UTF-8: ``.txt``, a sentence a line; ``.csv``, a manifest; ``.trans.txt``, LibriSpeech's
        transcripts with an id before each line's words. ``.gz`` behind the first or the last is unpacked
        on the way.

    Yields
    ------
    str
        Words separated by single spaces, in the case of the file; lines without any are passed over.

    Raises
    ------
    InputError
        If no file is given, a file is missing, broken, of another kind or without words, or a line is not
        UTF-8 or holds a reserved word. The message names the file and the line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = Path(folder, "text.txt.gz")
    ...     _ = text.write_bytes(gzip.compress(b"YES  INDEED\n\nNO\n"))
    ...     list(read_sentences([text]))
    ['YES INDEED', 'NO']
    >>> next(read_sentences(["nowhere.txt"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: text 'nowhere.txt' cannot be read (No such file or directory): ...
    """
    if not paths:
        raise InputError("no text is given: name a file with a sentence a line, .txt or .txt.gz")
    for path in map(Path, paths):
        some = False
        for sentence in _reader(path)(path):
            some = True
            yield sentence
        if not some:
            raise InputError(f"text '{path}' holds no words: give another file")


def _reader(path: Path) -> Callable[[Path], Iterator[str]]:
    """How a file is read, by the end of its name."""
    for ending, reader in _READERS.items():
        if path.name.lower().endswith(ending):
            return reader
    raise InputError(f"text '{path}' is of no known kind: its name must end with {', '.join(_READERS)}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and words of every line that has some."""
    number = 0
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                line = " ".join(raw.decode("utf-8-sig" if number == 1 else "utf-8").split())
                if not line:
                    continue
                if "<" in line and (found := [word for word in line.split() if word in RESERVED]):
                    raise InputError(
                        f"text '{path}', line {number}: {found[0]!r} is no word but the model's own sign: "
                        "take it out"
                    )
                yield number, line
    except UnicodeDecodeError as error:
        raise InputError(f"text '{path}', line {number}: not UTF-8: save the file as UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"text '{path}', after line {number}: broken gzip ({error}): copy it again"
        ) from error
    except OSError as error:
        raise InputError(f"text '{path}' cannot be read ({error.strerror}): correct its path") from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _plain(path: Path) -> Iterator[str]:
    return (line for _, line in _lines(path))


def _transcripts(path: Path) -> Iterator[str]:
    for number, line in _lines(path):
        identity, words = parse_transcript_line(line)
        if not words:
            raise InputError(f"text '{path}', line {number}: {identity!r} has no words: transcribe it")
        yield words


def _manifest(path: Path) -> Iterator[str]:
    return (utterance.words for utterance in read_manifest(path))


# The first ending that fits counts, so the longer one stands before the shorter.
_READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".trans.txt": _transcripts,
    ".txt": _plain,
    ".gz": _plain,
    ".csv": _manifest,
}
