"""A folder of recordings with their text beside them, or in one transcript file."""

from collections.abc import Iterator
from pathlib import Path

from hyperconformer.data.clips import Clip
from hyperconformer.data.librispeech import AUDIO_EXTENSIONS, parse_transcript_line
from hyperconformer.data.sources import Entry, Source
from hyperconformer.errors import InputError, one_line

TRANSCRIPTS = ("transcripts.txt", "transcript.txt", "text")
"""One file for a whole folder: a line has the name of an audio file and its words."""


def read_folder(source: Source) -> Iterator[Entry]:
    """List the audio files of a folder and of all below it, with their text.

    The text is in a file of the same name that ends in ``.txt``, or all of it in one transcript file: a line
    for each, the name of the audio file (with or without its folders and ending) and its words.

    Parameters
    ----------
    source : Source

    Yields
    ------
    Entry
        In the order of the paths.

    Raises
    ------
    InputError
        If there is no audio, or audio without text, or a line of the transcript without audio.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, content in (("b.wav", ""), ("b.txt", "Yes,"), ("a.wav", ""), ("a.txt", "No.")):
    ...         _ = Path(folder, name).write_text(content)
    ...     [entry.text for entry in read_folder(Source(Path(folder)))]
    ['No.', 'Yes,']
    """
    folder = source.path
    files = sorted(path for path in folder.rglob("*") if not _is_hidden(path.relative_to(folder)))
    audio = [path for path in files if path.suffix.lower() in AUDIO_EXTENSIONS and path.is_file()]
    if not audio:
        raise InputError(f"{str(folder)!r} holds no {', '.join(AUDIO_EXTENSIONS)} file: name another folder")
    transcript = source.transcript or next((folder / t for t in TRANSCRIPTS if (folder / t).is_file()), None)
    if transcript is not None:
        yield from _by_transcript(folder, audio, transcript)
        return
    if any(path.name.endswith(".trans.txt") for path in files):
        raise InputError(
            f"{str(folder)!r} is laid out like LibriSpeech: use 'hyperconformer prepare librispeech' for it"
        )
    texts = {path for path in files if path.suffix == ".txt"}
    if spare := sorted(texts - {path.with_suffix(".txt") for path in audio}):
        source.notes.append(f"{len(spare)} text files belong to no audio file, e.g. {str(spare[0])!r}")
    for path in audio:
        text = path.with_suffix(".txt")
        if text not in texts:
            raise InputError(
                f"audio {str(path)!r} has no {text.name!r} beside it: add it, remove the audio, or name a "
                "file with all transcripts by --transcript"
            )
        yield Entry(f"{str(text)!r}", Clip(path), _read_text(text))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{str(path)!r} is not readable UTF-8 ({one_line(error, 100)}): save it again"
        ) from error


def _by_transcript(folder: Path, audio: list[Path], transcript: Path) -> Iterator[Entry]:
    """Join audio files and the lines of one transcript file."""
    names: dict[str, Path | None] = {}
    for file in audio:
        short = file.relative_to(folder)
        for name in {str(short), str(short.with_suffix("")), file.name, file.stem}:
            names[name] = None if name in names else file  # None: more than one file may be meant
    unread = set(audio)
    for number, line in enumerate(_read_text(transcript).split("\n"), start=1):
        if not line.strip():
            continue
        name, words = line.split("\t", 1) if "\t" in line else parse_transcript_line(line)
        where = f"{str(transcript)!r}, line {number}"
        if (path := names.get(name.strip())) is None:
            more = "several audio files are called" if name.strip() in names else "there is no audio file"
            raise InputError(f"{where}: {more} {name.strip()!r} in {str(folder)!r}: correct the name")
        if path not in unread:
            raise InputError(f"{where}: a second line for {str(path)!r}: remove one of them")
        unread.remove(path)
        yield Entry(where, Clip(path), words)
    if unread:
        raise InputError(
            f"{len(unread)} audio files have no line in {str(transcript)!r}, e.g. {str(min(unread))!r}: "
            "add their text, or remove them"
        )
