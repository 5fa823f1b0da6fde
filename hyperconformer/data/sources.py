"""An utterance as somebody's corpus names it, and the many names that the fields of a row go by."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperconformer.data.clips import Clip
from hyperconformer.errors import InputError

COLUMNS = {
    "audio": ("audio_filepath", "wav", "audio", "audio_path", "path", "file", "file_name", "filename"),
    "text": ("text", "wrd", "transcript", "transcription", "sentence", "words"),
    "id": ("id", "ID", "utt_id", "utterance_id"),
    "speaker": ("speaker", "spk_id", "speaker_id", "client_id"),
    "start": ("start", "offset"),
    "seconds": ("duration", "seconds"),
}
"""What we want of a row, and the names it goes by; the first that is there is taken."""


@dataclass(frozen=True)
class Entry:
    """One utterance as its source names it.

    Attributes
    ----------
    where : str
        File and line, for complaints.
    clip : Clip
        Its sound.
    text : str
        Its transcript, as written.
    id, speaker : str
        Empty where the source has none.
    fault : str
        Why it cannot be used although it is well written; empty where it can.

    Examples
    --------
    >>> Entry("a.csv, line 2", Clip(Path("a.wav")), "Yes.").speaker
    ''
    """

    where: str
    clip: Clip
    text: str
    id: str = ""
    speaker: str = ""
    fault: str = ""


@dataclass
class Source:
    """What is to be read, and what the person said about it.

    Attributes
    ----------
    path : Path
        Folder or file.
    audio_root : Path or None
        Where relative paths of audio begin; None: beside the file that names them.
    transcript : Path or None
        Transcript file of a folder.
    columns : mapping of str to str
        For keys of `COLUMNS`, the names to use instead of the usual ones.
    form : str or None
        How it is kept, a key of `custom.FORMS`; None: to be found out.
    notes : list of str
        What the reader found worth telling.

    Examples
    --------
    >>> Source(Path("speech/train.csv")).root
    PosixPath('speech')
    """

    path: Path
    audio_root: Path | None = None
    transcript: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    form: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Where relative paths begin."""
        if self.audio_root is not None:
            return self.audio_root
        return self.path if self.path.is_dir() else self.path.parent


Reader = Callable[[Source], Iterator[Entry]]


def entry_of(row: Mapping[str, Any], where: str, source: Source) -> Entry:
    """Turn a row of named fields into an entry.

    Parameters
    ----------
    row : mapping
        Field by name.
    where : str
        File and line.
    source : Source
        Says how columns are called and where relative paths begin.

    Returns
    -------
    Entry

    Raises
    ------
    InputError
        If audio or text have no field, or a field cannot be what it is said to be.

    Examples
    --------
    >>> entry_of({"wav": "a.flac", "wrd": "YES", "spk_id": 7}, "a.csv, line 2", Source(Path("a.csv"))).speaker
    '7'
    """
    values = {key: row.get(name) for key, name in column_names(row, where, source).items()}
    audio, text = values["audio"], values["text"]
    if not isinstance(audio, str) or not audio.strip():
        raise InputError(f"{where}: {audio!r} is no path of an audio file: write one")
    start = seconds_of(values.get("start"), f"{where}: start")
    seconds = seconds_of(values.get("seconds"), f"{where}: duration")
    if seconds == 0:
        raise InputError(f"{where}: a duration of 0 seconds: correct it, or leave the field empty")
    clip = Clip(source.root / audio.strip(), start or 0.0, seconds)
    return Entry(where, clip, _plain(text), _plain(values.get("id")), _plain(values.get("speaker")))


def column_names(row: Mapping[str, Any], where: str, source: Source) -> dict[str, str]:
    """Find out how a source calls what we want.

    Parameters
    ----------
    row : mapping
        Its keys are the columns there are.
    where : str
        File and line.
    source : Source
        May name columns.

    Returns
    -------
    dict of str to str
        For those keys of `COLUMNS` that are there, the name.

    Raises
    ------
    InputError
        If a named column, audio or text is missing.

    Examples
    --------
    >>> column_names({"path": 0, "sentence": 0, "age": 0}, "a.tsv, line 2", Source(Path("a.tsv")))
    {'audio': 'path', 'text': 'sentence'}
    """
    names = {}
    for key, usual in COLUMNS.items():
        chosen = source.columns.get(key)
        wanted = usual if chosen is None else (chosen,)
        there = next((name for name in wanted if name in row), None)
        if there is not None:
            names[key] = there
        elif key in ("audio", "text") or chosen is not None:
            raise InputError(
                f"{where}: no column {' or '.join(wanted)} among {', '.join(map(str, row))}: "
                f"name the one with the {key} by --columns {key}=NAME"
            )
    return names


def seconds_of(value: object, name: str, least: float = 0.0) -> float | None:
    """Read a number of seconds.

    Parameters
    ----------
    value : object
        A number, or its text; None and an empty text are no number.
    name : str
        What a complaint calls it.
    least : float
        Smallest number that has a meaning.

    Returns
    -------
    float or None

    Raises
    ------
    InputError
        If it is no finite number, or below `least`.

    Examples
    --------
    >>> seconds_of("2.5", "a.csv, line 2: duration"), seconds_of("", "a.csv, line 3: duration")
    (2.5, None)
    """
    if value is None or value == "":
        return None
    try:
        seconds = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < least:
        raise InputError(f"{name} {value!r} is no number of seconds, such as 2.5: correct it")
    return seconds


def _plain(value: object) -> str:
    return "" if value is None else str(value)
