"""Anybody's recordings: from a folder, a table, cuts or a data set to a checked manifest."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from hyperconformer.data.clips import settle
from hyperconformer.data.download import disk_error
from hyperconformer.data.folders import read_folder
from hyperconformer.data.hugging_face import read_hugging_face
from hyperconformer.data.lhotse import read_lhotse
from hyperconformer.data.manifest import write_manifest
from hyperconformer.data.sources import Entry, Reader, Source
from hyperconformer.data.tables import json_lines, read_csv, read_jsonl
from hyperconformer.data.words import plain_words
from hyperconformer.errors import InputError
from hyperconformer.types import Utterance

FORMS: dict[str, Reader] = {
    "folder": read_folder,
    "csv": read_csv,
    "jsonl": read_jsonl,
    "lhotse": read_lhotse,
    "hugging_face": read_hugging_face,
}
"""How a source may be kept."""

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".arrow": "hugging_face",
    ".parquet": "hugging_face",
}
_SAVED_DATA_SET = ("dataset_info.json", "dataset_dict.json", "state.json")

UNREADABLE, NO_WORDS, MISCUT = "unreadable audio", "no words", "words outside the audio"
TOO_LONG, TOO_SHORT = "longer than --max_seconds", "shorter than --min_seconds"
_NAMED = 3
_THREADS = 8
_AT_ONCE = 64
"""Entries that are in memory together; those of a data set hold their audio."""


@dataclass(frozen=True)
class Choices:
    """What the person decides about the utterances.

    Attributes
    ----------
    case : str
        ``keep``, ``upper`` or ``lower``.
    strip_punctuation : bool
        Letters, digits and apostrophes only.
    min_seconds, max_seconds : float
        Shorter and longer utterances are left out.
    drop_bad : bool
        Leave out what cannot be read or has no words, instead of stopping.
    decode : bool
        Decode all audio; otherwise only headers are looked at.
    speaker_from : str
        Where an utterance's speaker comes from if its source names none, see `SPEAKERS`.

    Examples
    --------
    >>> Choices(case="upper").max_seconds
    inf
    """

    case: str = "keep"
    strip_punctuation: bool = False
    min_seconds: float = 0.0
    max_seconds: float = math.inf
    drop_bad: bool = False
    decode: bool = True
    speaker_from: str = "folder"


@dataclass(frozen=True)
class Dropped:
    """An utterance that is not in the manifest.

    Attributes
    ----------
    where : str
        File and line that name it.
    reason : str
        Of a few kinds, to be counted.
    detail : str
        What exactly.

    Examples
    --------
    >>> Dropped("a.csv, line 2", NO_WORDS, "its text is '...'").reason
    'no words'
    """

    where: str
    reason: str
    detail: str

    def __str__(self) -> str:
        """One line of the list of what was left out."""
        return f"{self.where}: {self.reason}: {self.detail}"


@dataclass
class Prepared:
    """What became of a source.

    Attributes
    ----------
    manifest : Path
        CSV file that was written.
    utterances : list of Utterance
        What is in it.
    dropped : list of Dropped
        What is not.
    notes : list of str
        What the reader found worth telling.

    Examples
    --------
    >>> Prepared(Path("train.csv")).utterances
    []
    """

    manifest: Path
    utterances: list[Utterance] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _by_folder(path: Path, root: Path) -> str:
    """The first folder below the root, or the folder that the file is in."""
    inner = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    return inner.parts[0] if len(inner.parts) > 1 else path.absolute().parent.name


def _by_name(path: Path, _root: Path) -> str:
    return path.stem.replace("_", "-").partition("-")[0]


SPEAKERS = {"folder": _by_folder, "name": _by_name}
"""From an audio file and the folder where relative paths begin to a speaker."""


def form_of(path: Path) -> str:
    """Tell in which form a source is kept.

    Parameters
    ----------
    path : Path
        Folder or file.

    Returns
    -------
    str
        A key of `FORMS`.

    Raises
    ------
    InputError
        If it is not there or of no known form.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     form_of(Path(folder))
    'folder'
    >>> form_of(Path("no.csv"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'no.csv' does not exist: name a folder ...
    """
    if not path.exists():
        raise InputError(f"{str(path)!r} does not exist: name a folder of recordings, a table or a data set")
    if path.is_dir():
        saved = any((path / name).is_file() for name in _SAVED_DATA_SET)
        return "hugging_face" if saved else "folder"
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if ending not in _ENDINGS:
        raise InputError(
            f"{str(path)!r} is of no known form: give --form {', '.join(FORMS)}, or a file that ends in "
            f"{', '.join(_ENDINGS)}"
        )
    form = _ENDINGS[ending]
    if form == "jsonl":
        _, first = next(json_lines(path), ("", {}))
        return "lhotse" if "supervisions" in first else form
    return form


def prepare_custom(
    source: Source, output: Path, split: str, choices: Choices, *, progress: bool = True
) -> Prepared:
    """Check a source and write its manifest ``<output>/<split>.csv``; there is none if the source is faulty.

    Stretches of files and sounds inside data sets are written to ``<output>/<split>-audio`` as FLAC. What is
    left out, or would have to be, is listed in ``<output>/<split>-dropped.txt``.

    Parameters
    ----------
    source : Source
    output : Path
        Folder to write to.
    split : str
        Name of the split, for instance ``train``.
    choices : Choices
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    Prepared

    Raises
    ------
    InputError
        If the source is missing, faulty or empty; if an utterance cannot be read or has no words, unless
        ``drop_bad`` is chosen; if two have the same id; or if the output cannot be written.

    Examples
    --------
    >>> import tempfile, numpy, soundfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/a.flac", numpy.zeros(8_000), samplerate=16_000)
    ...     _ = Path(folder, "a.txt").write_text("Yes, indeed.")
    ...     choices = Choices(case="upper", strip_punctuation=True)
    ...     made = prepare_custom(Source(Path(folder)), Path(folder, "out"), "train", choices)
    >>> [utterance] = made.utterances
    >>> utterance.id, utterance.seconds, utterance.words
    ('a', 0.5, 'YES INDEED')
    """
    if not re.fullmatch(r"\w[\w.-]*", split):
        raise InputError(f"--split {split!r} is no name of a file: choose one such as train")
    prepared = Prepared(output / f"{split}.csv")
    if prepared.manifest.resolve() == source.path.resolve():
        raise InputError(f"{str(source.path)!r} would be overwritten: choose another --output or --split")
    entries = FORMS[source.form or form_of(source.path)](source)
    try:
        _sort(entries, source, output / f"{split}-audio", choices, prepared, split if progress else None)
        prepared.notes = source.notes
        output.mkdir(parents=True, exist_ok=True)
        _list_dropped(prepared)
        _refuse_bad(prepared, choices)
        write_manifest(prepared.manifest, prepared.utterances)
    except OSError as error:
        raise disk_error(output, error) from error
    return prepared


def _sort(
    entries: Iterator[Entry],
    source: Source,
    clips: Path,
    choices: Choices,
    prepared: Prepared,
    title: str | None,
) -> None:
    """Look at every entry and put it to the utterances or to what is dropped."""
    seen: dict[str, str] = {}

    def look(entry: Entry) -> Utterance | Dropped:
        return _judge(entry, source, clips, choices)

    # disable=None: no bar unless standard error is a terminal, so that logs stay clean.
    bar = tqdm(desc=title, unit="utterance", disable=True if title is None else None)
    with ThreadPoolExecutor(_THREADS) as pool, bar:
        while batch := list(islice(entries, _AT_ONCE)):
            for entry, result in zip(batch, pool.map(look, batch), strict=True):
                if isinstance(result, Dropped):
                    prepared.dropped.append(result)
                    continue
                if result.id in seen:
                    raise InputError(
                        f"{entry.where}: id {result.id!r} is used twice, first in {seen[result.id]}: "
                        "give every utterance its own"
                    )
                seen[result.id] = entry.where
                prepared.utterances.append(result)
            bar.update(len(batch))


def _judge(entry: Entry, source: Source, clips: Path, choices: Choices) -> Utterance | Dropped:
    """Turn an entry into an utterance whose audio is a file, or say why it cannot be one."""
    if entry.fault:
        return Dropped(entry.where, MISCUT, entry.fault)
    words = plain_words(entry.text, case=choices.case, strip_punctuation=choices.strip_punctuation)
    if not words:
        return Dropped(entry.where, NO_WORDS, f"its text is {entry.text!r}")
    identity, speaker = _names(entry, source, choices)
    try:
        path, seconds = settle(entry.clip, identity, clips, decode=choices.decode)
    except InputError as error:
        return Dropped(entry.where, UNREADABLE, str(error))
    if not choices.min_seconds <= seconds <= choices.max_seconds:
        reason = TOO_SHORT if seconds < choices.min_seconds else TOO_LONG
        return Dropped(entry.where, reason, f"{identity!r} lasts {seconds:.2f} s")
    return Utterance(identity, seconds, str(path.absolute()), speaker, words)


def _names(entry: Entry, source: Source, choices: Choices) -> tuple[str, str]:
    """Id and speaker, from the file's place where the source does not give them."""
    clip, root = entry.clip, source.root
    if isinstance(clip.source, Path):
        inner = clip.source.relative_to(root) if clip.source.is_relative_to(root) else Path(clip.source.name)
        identity = "-".join(inner.with_suffix("").parts)
        # Without ids of their own, utterances of one file are told apart by where they begin.
        identity += f"-{round(1000 * clip.start):07}" if clip.start else ""
        speaker = SPEAKERS[choices.speaker_from](clip.source, root)
    else:
        identity = f"{source.path.stem}-{entry.where.rpartition(' ')[2].zfill(7)}"
        speaker = source.path.stem
    return entry.id or identity, entry.speaker or speaker


def _refuse_bad(prepared: Prepared, choices: Choices) -> None:
    """Stop where utterances are bad and nobody said to leave them out, or where nothing is left."""
    bad = [one for one in prepared.dropped if one.reason in (UNREADABLE, NO_WORDS, MISCUT)]
    total = len(prepared.utterances) + len(prepared.dropped)
    if bad and not choices.drop_bad:
        counted = Counter(one.reason for one in bad)
        kinds = ", ".join(f"{count} with {reason}" for reason, count in sorted(counted.items()))
        named = "; ".join(str(one) for one in bad[:_NAMED])
        more = f"; all are in {str(_list_path(prepared))!r}" if len(bad) > _NAMED else ""
        raise InputError(
            f"{len(bad)} of {total} utterances cannot be used ({kinds}): mend them, or leave them out by "
            f"--drop_bad. {named}{more}"
        )
    if not prepared.utterances:
        raise InputError(f"none of {total} utterances is left for {str(prepared.manifest)!r}: see the source")


def _list_path(prepared: Prepared) -> Path:
    return prepared.manifest.with_name(f"{prepared.manifest.stem}-dropped.txt")


def _list_dropped(prepared: Prepared) -> None:
    """Name everything that is left out, and nothing of an earlier time."""
    path = _list_path(prepared)
    if prepared.dropped:
        # A file name may hold any bytes.
        lines = "".join(f"{one}\n" for one in prepared.dropped)
        path.write_text(lines, encoding="utf-8", errors="backslashreplace")
    else:
        path.unlink(missing_ok=True)
