"""The list of utterances of one split, as a CSV file with the columns of SpeechBrain's LibriSpeech recipe."""

import contextlib
import csv
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hyperconformer.errors import InputError
from hyperconformer.types import Utterance

COLUMNS = ("ID", "duration", "wav", "spk_id", "wrd")
"""Utterance.id, .seconds, .path, .speaker and .words, in this order."""


def write_manifest(path: Path, utterances: Sequence[Utterance]) -> None:
    """Write utterances to a CSV file, whole or not at all.

    Folders on the way are made. The words are written with single spaces between them.

    Parameters
    ----------
    path : Path
        CSV file to make or to replace.
    utterances : sequence of Utterance
        Rows, in the order in which they are to be read back.

    Raises
    ------
    InputError
        If an id is empty or used twice, a duration is not positive and finite, a path or a
        transcript is empty, a field holds a line break, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> row = Utterance("7-1-0000", 2.5, "a.flac", "7", "YES,  INDEED")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_manifest(Path(folder, "train.csv"), [row])
    ...     print(Path(folder, "train.csv").read_text(), end="")
    ID,duration,wav,spk_id,wrd
    7-1-0000,2.5,a.flac,7,"YES, INDEED"
    """
    rows = [_single_spaced(utterance) for utterance in utterances]
    seen: set[str] = set()
    for row in rows:
        if fault := _fault(row, seen):
            raise InputError(f"manifest {str(path)!r} is not written: {fault}")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in rows:
                # repr gives back the very same float; float() strips a numpy scalar, whose repr does not.
                writer.writerow((row.id, repr(float(row.seconds)), row.path, row.speaker, row.words))
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(
            f"manifest {str(path)!r} cannot be written ({error.strerror}): choose another folder or make room"
        ) from error
    except UnicodeEncodeError as error:  # a file name may hold any bytes
        raise InputError(
            f"manifest {str(path)!r} is not written: {error.object.strip()!r} is not valid Unicode: "
            "rename the file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def read_manifest(path: Path) -> list[Utterance]:
    r"""Read the utterances of a CSV manifest; further columns are ignored.

    Parameters
    ----------
    path : Path
        CSV file in UTF-8 whose first line names at least the columns ID, duration, wav, spk_id, wrd.

    Returns
    -------
    list of Utterance
        In the order of the file, with single spaces between the words.

    Raises
    ------
    InputError
        If the file is missing or not UTF-8, a column is missing, a line has too few or too many
        fields, an id is empty or used twice, a duration is not a positive number, or a path or
        a transcript is empty. The message names the file and the line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = Path(folder, "test.csv")
    ...     _ = manifest.write_text("ID,duration,wav,spk_id,wrd\n7-1-0000,2.5,a.flac,7,YES INDEED\n")
    ...     read_manifest(manifest)
    [Utterance(id='7-1-0000', seconds=2.5, path='a.flac', speaker='7', words='YES INDEED')]
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_utterances(csv.DictReader(file, strict=True), str(path)))
    except OSError as error:
        raise InputError(
            f"manifest {str(path)!r} cannot be read ({error.strerror}): "
            "prepare the data first, or check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"manifest {str(path)!r} is not UTF-8: save it as UTF-8") from error


def _utterances(reader: "csv.DictReader[str]", name: str) -> Iterator[Utterance]:
    """Yield the checked rows of an open manifest."""
    seen: set[str] = set()
    good_lines = 0
    try:
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise InputError(
                f"manifest {name!r}, line 1: no column {', '.join(missing)}; "
                f"the first line must name {','.join(COLUMNS)}"
            )
        good_lines = reader.line_num
        for fields in reader:
            utterance, fault = _parsed(fields)
            if fault := fault or _fault(utterance, seen):
                raise InputError(f"manifest {name!r}, line {reader.line_num}: {fault}")
            good_lines = reader.line_num
            yield utterance
    except csv.Error as error:
        # An open quote is noticed at the end of the file only, but the row that opened it is the faulty one.
        raise InputError(
            f"manifest {name!r}, line {good_lines + 1}: not CSV ({error}); check its quotes"
        ) from error


def _parsed(fields: dict[str | None, str | None]) -> tuple[Utterance, str]:
    """Turn one CSV row into an utterance, or say what hinders it."""
    texts = [fields[column] or "" for column in COLUMNS]
    identity, duration, wav, speaker, words = texts
    fault = ""
    if None in fields:
        fault = "more fields than columns: put double quotes around a field that holds a comma"
    elif None in fields.values():
        fault = "fewer fields than columns: write all of them, separated by commas"
    try:
        seconds = float(duration)
    except ValueError:
        seconds = math.nan
        fault = fault or f"duration {duration!r} is not a number: write seconds, for instance 2.5"
    return _single_spaced(Utterance(identity, seconds, wav, speaker, words)), fault


def _single_spaced(utterance: Utterance) -> Utterance:
    words = " ".join(utterance.words.split())
    return Utterance(utterance.id, utterance.seconds, utterance.path, utterance.speaker, words)


def _fault(utterance: Utterance, seen: set[str]) -> str:
    """Name what is wrong with a row, or return an empty string and remember its id."""
    identity = utterance.id
    if not identity.strip():
        return "an id is empty: give every utterance its own"
    if identity in seen:
        return f"id {identity!r} is used twice: give every utterance its own"
    if not (math.isfinite(utterance.seconds) and utterance.seconds > 0):
        return f"duration {utterance.seconds} of {identity!r} is not a positive number of seconds: correct it"
    if not utterance.path:
        return f"{identity!r} has no audio file: write its path into the column wav"
    if not utterance.words:
        return f"{identity!r} has no words: transcribe it or leave it out"
    for text in (identity, utterance.path, utterance.speaker):
        if "\n" in text or "\r" in text:
            return f"{text!r} of {identity!r} holds a line break: remove it"
    seen.add(identity)
    return ""
