r"""N-gram models as ARPA text, the form that every toolkit reads and writes.

References
----------
The format: https://www.speech.sri.com/projects/srilm/manpages/ngram-format.5.html
"""

import gzip
import math
import re
import zlib
from array import array
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO, cast

import numpy as np

from hyperconformer.errors import InputError
from hyperconformer.ngram.model import Entries, Floats, Integers, NGram
from hyperconformer.ngram.signs import BEGIN_WORD, END_WORD, SIGNS, UNKNOWN

ROWS = 2**17
"""N-grams that are written together."""

MISSING_UNKNOWN = -100.0
"""Decimal logarithm of unknown words where a file has none; the readers of KenLM take the same."""


def write_arpa(model: NGram, path: Path) -> None:
    r"""Write a model as text; the numbers read back are the very same.

    Parameters
    ----------
    model : NGram
    path : Path
        The file; packed if its name ends with ``.gz``.

    Examples
    --------
    >>> import tempfile
    >>> logs = np.float32([-2, -99, -0.5])
    >>> words = Entries(np.zeros(3, np.int64), np.arange(3), logs, np.zeros(3, np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arpa(NGram.build(SIGNS, [words]), Path(folder) / "lm.arpa")
    ...     print((Path(folder) / "lm.arpa").read_text())
    \data\
    ngram 1=3
    <BLANKLINE>
    \1-grams:
    -2.0	<unk>
    -99.0	<s>
    -0.5	</s>
    <BLANKLINE>
    \end\
    <BLANKLINE>
    """
    with _open_to_write(path) as file:
        counts = [stop - start for start, stop in model.levels()]
        file.write("\\data\\\n")
        file.writelines(f"ngram {order}={count}\n" for order, count in enumerate(counts, start=1))
        for order, (start, stop) in enumerate(model.levels(), start=1):
            file.write(f"\n\\{order}-grams:\n")
            for low in range(start, stop, ROWS):
                file.writelines(_rows(model, order, low, min(low + ROWS, stop)))
        file.write("\n\\end\\\n")


def _open_to_write(path: Path) -> TextIO:
    if path.suffix == ".gz":
        # Without the time of writing, the same model gives the same bytes.
        packed = gzip.GzipFile(path, "wb", compresslevel=6, mtime=0)
        return TextIOWrapper(cast(BinaryIO, packed), encoding="utf-8", newline="\n")
    return path.open("w", encoding="utf-8", newline="\n")


def _rows(model: NGram, order: int, low: int, high: int) -> Iterator[str]:
    """Lines of the nodes from low to high."""
    nodes = np.arange(low, high)
    columns = []
    for _ in range(order):
        columns.append([model.words[word] for word in model.word[nodes]])
        nodes = np.searchsorted(model.first, nodes, side="right") - 1
    # The shortest digits that give the same float32 again.
    logs = model.log[low:high].astype("U16").tolist()
    texts = map(" ".join, zip(*reversed(columns), strict=True))
    if low >= len(model.backoff):
        return (f"{log}\t{text}\n" for log, text in zip(logs, texts, strict=True))
    weights = model.backoff[low:high]
    backoffs = np.where(weights == 0, "", np.char.add("\t", weights.astype("U16"))).tolist()
    return (f"{log}\t{text}{more}\n" for log, text, more in zip(logs, texts, backoffs, strict=True))


def read_arpa(path: Path) -> NGram:
    r"""Read a model of any toolkit.

    Parameters
    ----------
    path : Path
        The file; unpacked if its name ends with ``.gz``.

    Returns
    -------
    NGram

    Raises
    ------
    InputError
        If the file cannot be read, or is not ARPA. The message names the file and the line.

    Examples
    --------
    >>> import tempfile
    >>> text = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1 <unk>\n-99 <s>\n-0.5 </s>\n\n\\end\\\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "lm.arpa"
    ...     _ = path.write_text(text)
    ...     round(read_arpa(path).score("NEVER HEARD"), 3)  # -2.5 log 10
    -5.756
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return _Reader(cast(TextIO, file), path).read()
    except UnicodeDecodeError as error:
        raise InputError(f"n-gram model '{path}' is not UTF-8: write it as UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"n-gram model '{path}': broken gzip ({error}): copy it again") from error
    except OSError as error:
        raise InputError(
            f"n-gram model '{path}' cannot be read ({error.strerror}): correct its path"
        ) from error


class _Table(NamedTuple):
    """The n-grams of one order as they stand in the file: word ids (N, n), and two logarithms each."""

    rows: Integers
    logs: Floats
    backoffs: Floats
    first_line: int


class _Reader:
    """One pass over an open ARPA file."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.lines: Iterator[str] = iter(file)
        self.path, self.number = path, 0
        self.index = {sign: number for number, sign in enumerate(SIGNS)}

    def read(self) -> NGram:
        """Read the whole model."""
        levels: list[Entries] = []
        keys: list[Integers] = []
        for order, count in enumerate(self._header(), start=1):
            self._expect(f"\\{order}-grams:")
            table = self._table(order, count)
            levels.append(self._linked(table, keys) if keys else self._vocabulary(table))
            keys.append(levels[-1].parents * len(self.index) + levels[-1].words)
        self._expect("\\end\\")
        return NGram.build(list(self.index), levels)

    def _fault(self, text: str, line: int | None = None) -> InputError:
        return InputError(f"n-gram model '{self.path}', line {line or self.number}: {text}")

    def _next(self) -> str:
        """The next line that is not empty; an empty text at the end."""
        for line in self.lines:
            self.number += 1
            if line := line.strip():
                return line
        return ""

    def _expect(self, wanted: str) -> None:
        if (line := self._next()) != wanted:
            raise self._fault(f"{line[:40]!r} where {wanted!r} should stand: the header's counts are wrong")

    def _header(self) -> list[int]:
        """The number of n-grams of each order; what stands before them is passed over."""
        while (line := self._next()) != "\\data\\":
            if not line:
                raise self._fault("no \\data\\ in the whole file: it is no ARPA model")
        counts: list[int] = []
        while match := re.fullmatch(r"ngram\s+(\d+)\s*=\s*(\d+)", line := self._next()):
            if int(match[1]) != len(counts) + 1:
                raise self._fault(
                    f"order {match[1]} where {len(counts) + 1} should stand: it is no ARPA model"
                )
            counts.append(int(match[2]))
        if not counts:
            raise self._fault(f"{line[:40]!r} where 'ngram 1=...' should stand: it is no ARPA model")
        self.lines, self.number = chain([line], self.lines), self.number - 1
        return counts

    def _table(self, order: int, count: int) -> _Table:
        """Read the n-grams of an order."""
        rows, logs, backoffs = array("q"), array("f"), array("f")
        first_line = self.number + 1
        for _ in range(count):
            fields = self._next().split()
            if not order + 1 <= len(fields) <= order + 2:
                raise self._fault(
                    f"{len(fields)} fields where a log, {order} words and a back-off should stand"
                )
            rows.extend(self._ids(fields[1 : order + 1], new=order == 1))
            for numbers, text in ((logs, fields[0]), (backoffs, (*fields, "0")[order + 1])):
                try:
                    numbers.append(float(text))
                except ValueError:
                    raise self._fault(f"{text!r} is no number: correct it") from None
            if not logs[-1] <= 0 or not math.isfinite(backoffs[-1]):
                raise self._fault(
                    f"{fields[0]!r} or {fields[-1]!r} is no logarithm of a probability: correct it"
                )
        shaped = np.array(rows, dtype=np.int64).reshape(-1, order)
        return _Table(shaped, np.array(logs, np.float32), np.array(backoffs, np.float32), first_line)

    def _ids(self, words: list[str], *, new: bool) -> list[int]:
        """Ids of an n-gram's words; single words are new ones."""
        words = [SIGNS[UNKNOWN] if word == "<UNK>" else word for word in words]
        if new:
            return [self.index.setdefault(word, len(self.index)) for word in words]
        try:
            return [self.index[word] for word in words]
        except KeyError as error:
            raise self._fault(f"word {error.args[0]!r} is not among the 1-grams: add it there") from None

    def _vocabulary(self, table: _Table) -> Entries:
        """The words by id; of the signs, that of the unknown word may be missing."""
        ids, size = table.rows[:, 0], len(self.index)
        if len(np.unique(ids)) < len(ids):
            raise self._fault("a word stands twice among the 1-grams: take one out")
        if absent := {BEGIN_WORD, END_WORD} - set(ids.tolist()):
            raise self._fault(f"the 1-grams lack {SIGNS[min(absent)]!r}: a model of sentences has it")
        logs = np.full(size, MISSING_UNKNOWN, dtype=np.float32)
        backoffs = np.zeros(size, dtype=np.float32)
        logs[ids], backoffs[ids] = table.logs, table.backoffs
        return Entries(np.zeros(size, np.int64), np.arange(size, dtype=np.int32), logs, backoffs)

    def _linked(self, table: _Table, keys: list[Integers]) -> Entries:
        """Find every n-gram's first words among the shorter ones, and sort."""
        size, parents = len(self.index), table.rows[:, 0].copy()
        for column, shorter in enumerate(keys[1:], start=1):
            wanted = parents * size + table.rows[:, column]
            parents = np.searchsorted(shorter, wanted)
            lost = shorter[np.minimum(parents, len(shorter) - 1)] != wanted
            if lost.any():
                line = table.first_line + int(np.argmax(lost))
                raise self._fault("its first words are no n-gram of the file: add it", line)
        words = table.rows[:, -1].astype(np.int32)
        order = np.lexsort((words, parents))
        parents, words = parents[order], words[order]
        twice = (np.diff(parents) == 0) & (np.diff(words) == 0)
        if twice.any():
            line = table.first_line + int(order[int(np.argmax(twice)) + 1])
            raise self._fault("the n-gram stands there twice: take one out", line)
        return Entries(parents, words, table.logs[order], table.backoffs[order])
