"""LibriSpeech and any corpus laid out like it: check a split, list its utterances, write its manifest.

The layout is ``<split>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.<ext>`` with the transcripts of
a chapter beside its audio in ``<speaker>-<chapter>.trans.txt``, one line an utterance.

References
----------
V. Panayotov et al., "Librispeech: an ASR corpus based on public domain audio books", ICASSP 2015;
https://www.openslr.org/12
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from hyperconformer.audio import audio_seconds
from hyperconformer.data.clips import decoded_seconds
from hyperconformer.data.lists import lists_in, scan_list
from hyperconformer.data.manifest import write_manifest
from hyperconformer.data.missing import no_split
from hyperconformer.errors import InputError
from hyperconformer.types import Utterance

Measure = Callable[[Path], float]
AUDIO_EXTENSIONS = (".flac", ".wav", ".opus", ".ogg", ".mp3")

_HEADER_THREADS = 16
"""Headers are small, so on a network disk the wait is for the answer, not for the bytes."""


def prepare_librispeech(
    data_folder: Path | None,
    splits: Sequence[str],
    manifest_folder: Path,
    *,
    decode: bool = False,
    progress: bool = True,
) -> dict[str, Path]:
    """Check splits of LibriSpeech and write a CSV manifest for each; nothing is written if one is faulty.

    Running it again on the same corpus writes the same bytes.

    Parameters
    ----------
    data_folder : Path or None
        The corpus: the folder that holds the splits, or its parent if they lie in ``LibriSpeech/``.
    splits : sequence of str
        Names of splits, for instance ``["train-clean-100", "dev-clean"]``.
    manifest_folder : Path
        Where ``<split>.csv`` is written.
    decode : bool
        Decode all audio; otherwise only headers are looked at.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    dict of str to Path
        The manifest of each split.

    Raises
    ------
    InputError
        If `scan_split` rejects a split, or no split or the same split twice is named.

    Examples
    --------
    >>> prepare_librispeech(Path("/nowhere"), ["dev-clean"], Path("manifests"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder '/nowhere' does not exist or is no folder: point ...
    """
    if isinstance(splits, str) or not splits:
        raise InputError(f"splits is {splits!r}: give a list of split names, for instance [dev-clean]")
    corpus, measure = existing_folder(data_folder), decoded_seconds if decode else audio_seconds
    utterances_by_split: dict[str, list[Utterance]] = {}
    for split in splits:
        if split in utterances_by_split:
            raise InputError(f"split {split!r} is named twice: name it once")
        utterances_by_split[split] = scan_split(corpus, split, measure=measure, progress=progress)
    manifests = {split: manifest_folder / f"{split}.csv" for split in utterances_by_split}
    for split, utterances in utterances_by_split.items():
        write_manifest(manifests[split], utterances)
    return manifests


def scan_split(
    data_folder: Path,
    split: str,
    *,
    measure: Measure = audio_seconds,
    progress: bool = False,
) -> list[Utterance]:
    r"""List the utterances of one split, having checked that audio and transcripts match one to one.

    Parameters
    ----------
    data_folder : Path
        The folder that holds the splits, or its parent if they lie in ``LibriSpeech/``.
    split : str
        Name of the split, for instance ``dev-clean``, or of a list (see :mod:`hyperconformer.data.lists`).
    measure : callable
        An audio file to its seconds; what it raises ends the scan.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    list of Utterance
        Sorted by id, with absolute paths, and words in the case of the transcript (LibriSpeech: upper).

    Raises
    ------
    InputError
        If the folder or the split is missing or empty, a transcript line has no audio or no words, audio
        has no transcript line, an id occurs twice, or an audio file cannot be read.

    Examples
    --------
    >>> import tempfile, numpy, soundfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     chapter = Path(folder, "dev-tiny", "7", "1")
    ...     chapter.mkdir(parents=True)
    ...     _ = (chapter / "7-1.trans.txt").write_text("7-1-0000 YES INDEED\n")
    ...     soundfile.write(chapter / "7-1-0000.flac", numpy.zeros(8_000), samplerate=16_000)
    ...     [utterance] = scan_split(Path(folder), "dev-tiny")
    >>> utterance.id, utterance.seconds, utterance.speaker, utterance.words
    ('7-1-0000', 0.5, '7', 'YES INDEED')
    """
    corpus = existing_folder(data_folder)
    folder = _split_folder(corpus, split, lists=True)
    if folder.is_dir():
        return _scan_folder(folder, split, measure, progress)

    def scan(name: str, ids: Collection[str]) -> list[Utterance]:
        # A list names folders, no lists.
        return _scan_folder(_split_folder(corpus, name, lists=False), name, measure, progress, ids)

    return scan_list(folder, scan)


def _scan_folder(
    folder: Path, split: str, measure: Measure, progress: bool, only: Collection[str] | None = None
) -> list[Utterance]:
    """The utterances of a split's folder, or those of these ids that are there."""
    found: dict[str, tuple[Path, str]] = {}
    for chapter in _chapters(folder):
        for identity, audio, words in _chapter_rows(chapter):
            if identity in found:
                raise InputError(
                    f"duplicate id {identity!r}, audio {str(found[identity][0])!r} and {str(audio)!r}: "
                    "rename or remove one of them"
                )
            found[identity] = audio, words
    if not found:
        raise InputError(
            f"split {split!r} is empty, no <speaker>/<chapter>/*.trans.txt in {str(folder)!r}: "
            "copy or unpack it again"
        )
    wanted = sorted(found if only is None else found.keys() & set(only))
    rows = [(identity, *found[identity]) for identity in wanted]
    durations = _durations([audio for _, audio, _ in rows], split if progress else None, measure)
    return [
        Utterance(identity, seconds, str(audio), speaker=audio.parent.parent.name, words=words)
        for (identity, audio, words), seconds in zip(rows, durations, strict=True)
    ]


def parse_transcript_line(line: str) -> tuple[str, str]:
    r"""Take one line of a ``.trans.txt`` file apart.

    Parameters
    ----------
    line : str
        An utterance id and, after white space, its words.

    Returns
    -------
    id : str
        Utterance id.
    words : str
        Words separated by single spaces, in the case of the line; empty where the line has none.

    Examples
    --------
    >>> parse_transcript_line("1272-128104-0000 MISTER  QUILTER\n")
    ('1272-128104-0000', 'MISTER QUILTER')
    """
    identity, *words = line.split()
    return identity, " ".join(words)


def existing_folder(data_folder: Path | None) -> Path:
    """Make sure that there is a corpus.

    Parameters
    ----------
    data_folder : Path or None
        What the user gave; None if nothing.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    InputError
        If it is None or no folder.

    Examples
    --------
    >>> existing_folder(None)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder is not set: point --data_folder at ...
    """
    remedy = "point --data_folder at the folder that holds the splits"
    if data_folder is None:
        raise InputError(f"data_folder is not set: {remedy}")
    if not data_folder.is_dir():
        raise InputError(f"data_folder {str(data_folder)!r} does not exist or is no folder: {remedy}")
    return data_folder


def splits_in(data_folder: Path) -> list[str]:
    r"""List the splits that a folder holds.

    Parameters
    ----------
    data_folder : Path
        The folder that holds the splits, or its parent if they lie in ``LibriSpeech/``.

    Returns
    -------
    list of str
        Sorted names.

    Raises
    ------
    InputError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     chapter = Path(folder, "dev-tiny", "7", "1")
    ...     chapter.mkdir(parents=True)
    ...     _ = (chapter / "7-1.trans.txt").write_text("7-1-0000 YES\n")
    ...     splits_in(Path(folder))
    ['dev-tiny']
    """
    folders = _candidates(existing_folder(data_folder))
    return sorted({folder.name for folder in folders if any(folder.glob("*/*/*.trans.txt"))})


def _roots(data_folder: Path) -> list[Path]:
    # Absolute, so that a manifest can be used from another working directory.
    return [data_folder.absolute(), data_folder.absolute() / "LibriSpeech"]


def _candidates(data_folder: Path) -> list[Path]:
    return [folder for root in _roots(data_folder) for folder in _subfolders(root)]


def _split_folder(data_folder: Path, split: str, *, lists: bool) -> Path:
    """Find the folder or the list of a split, or say which splits there are."""
    for folder in _candidates(data_folder):
        if folder.name == split:
            return folder
    listed = lists_in(_roots(data_folder)) if lists else {}
    if split in listed:
        return listed[split]
    raise no_split(data_folder, split, [*splits_in(data_folder), *listed])


def _durations(paths: Sequence[Path], title: str | None, measure: Measure) -> list[float]:
    """Read the durations of many files, in seconds, showing a progress bar with a title unless it is None."""
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        durations = pool.map(measure, paths)
        # disable=None: no bar unless standard error is a terminal, so that logs stay clean.
        hidden = True if title is None else None
        return list(tqdm(durations, desc=title, total=len(paths), unit="file", disable=hidden))


def _chapters(split_folder: Path) -> Iterator[Path]:
    for speaker in _subfolders(split_folder):
        yield from _subfolders(speaker)


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _chapter_rows(chapter: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield id, audio file and words of each utterance of a chapter, or name the first that lacks one."""
    transcript = chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"
    audio_by_id = _chapter_audio(chapter)
    words_by_id = _chapter_words(transcript) if transcript.exists() else {}
    for identity, audio in audio_by_id.items():
        if identity not in words_by_id:
            raise InputError(
                f"audio {str(audio)!r} has no line in {transcript.name!r}: "
                "add its transcript there, or remove the audio"
            )
    for identity, words in words_by_id.items():
        if identity not in audio_by_id:
            raise InputError(
                f"no audio file for line {identity!r} of {str(transcript)!r}: add {identity}.flac beside it "
                f"(or {', '.join(AUDIO_EXTENSIONS[1:])}) or remove the line"
            )
        yield identity, audio_by_id[identity], words


def _chapter_audio(chapter: Path) -> dict[str, Path]:
    """Map utterance ids to the audio files of a chapter."""
    audio_by_id: dict[str, Path] = {}
    for path in sorted(chapter.iterdir()):
        if path.suffix.lower() not in AUDIO_EXTENSIONS or path.name.startswith("."):
            continue
        if path.stem in audio_by_id:
            raise InputError(
                f"duplicate id {path.stem!r}, audio {audio_by_id[path.stem].name!r} and {path.name!r} in "
                f"{str(chapter)!r}: remove one of them"
            )
        audio_by_id[path.stem] = path
    return audio_by_id


def _chapter_words(transcript: Path) -> dict[str, str]:
    """Map utterance ids to the words of a ``.trans.txt`` file."""
    words_by_id: dict[str, str] = {}
    try:
        lines = transcript.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"transcript {str(transcript)!r} is not readable UTF-8: copy it again") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        identity, words = parse_transcript_line(line)
        where = f"{str(transcript)!r}, line {number}"
        if not words:
            raise InputError(f"{where}: {identity!r} has no words: transcribe it, or remove line and audio")
        if identity in words_by_id:
            raise InputError(f"{where}: duplicate id {identity!r}: remove one of its lines")
        words_by_id[identity] = words
    return words_by_id
