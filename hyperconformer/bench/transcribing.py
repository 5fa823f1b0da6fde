"""What ``bench transcribe`` transcribes, and what a system must agree in with its fellows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import jiwer

from hyperconformer.data.librispeech import parse_transcript_line
from hyperconformer.errors import InputError
from hyperconformer.transcribe.inputs import find_inputs

ONE_BY_ONE, BATCHED, SHARED = "one by one", "batched", "shared"
SEGMENTED, ONE_PASS = "segmented", "one pass"
FIRST_TRANSCRIPT, HELP = "first transcript", "--help"
SHOWN_WORDS = 4


@dataclass(frozen=True)
class Transcribing:
    """What is transcribed, and how.

    Attributes
    ----------
    way : str
        How the files are given to the transcriber, or what is started.
    model : str
        The folder that the system opens.
    files : str
        Folder of recordings.
    number : int
        How many of them, taken in turns if there are fewer; of ``long`` those that were joined.
    recording : str
        Of ``long`` the file that holds them, of ``start`` the clip.
    backend : {"torch", "onnxruntime"}
    int8 : bool
        Whether weights have eight bits.
    jobs : int
        Processes that share the files.

    Examples
    --------
    >>> [Transcribing(way, "model", "recordings", 9).is_exact for way in ("batched", "one pass")]
    [True, False]
    """

    way: str
    model: str
    files: str
    number: int
    recording: str = ""
    backend: str = "torch"
    int8: bool = False
    jobs: int = 1

    @property
    def is_exact(self) -> bool:
        """Whether it must give the same text as other systems."""
        return not self.int8 and self.way != ONE_PASS


@dataclass(frozen=True)
class Heard:
    """What the process of a case made of its recordings.

    Attributes
    ----------
    texts : mapping of str to str
        Of every file.
    load_seconds : float or None
        For which the model was opened, imports not counted.
    process_bytes : int or None
        Most memory that the process had at once, imports and model included.
    edits, words : int or None
        Wrong words, and those of the references, where these stand beside the files.

    Examples
    --------
    >>> Heard({"a.flac": "ONE TOO"}, edits=1, words=2).wer
    0.5
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    load_seconds: float | None = None
    process_bytes: int | None = None
    edits: int | None = None
    words: int | None = None

    @property
    def wer(self) -> float | None:
        """Word error rate, a fraction; of recordings that come more than once, once."""
        return None if self.edits is None or not self.words else self.edits / self.words

    def other_texts(self, other: "Heard") -> int | None:
        """How many files have another text there; None where no file is in both."""
        both = self.texts.keys() & other.texts.keys()
        return sum(self.texts[path] != other.texts[path] for path in both) if both else None

    def first_difference(self, other: "Heard") -> str:
        """The first file with another text there, and the words where they part; empty if there is none."""
        for path, text in self.texts.items():
            if text != other.texts.get(path, text):
                here, there = text.split(), other.texts[path].split()
                same = next((n for n, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
                at = min(len(here), len(there)) if same is None else same
                shown = (" ".join(words[at : at + SHOWN_WORDS]) for words in (here, there))
                return "{}: {!r} and {!r} after {} words".format(path, *shown, at)
        return ""


@dataclass(frozen=True)
class Summary:
    """What a report says of a system's :class:`Heard`.

    Attributes
    ----------
    load_seconds : float or None
        Median over the rounds.
    process_bytes : int or None
        Largest of the rounds.
    wer, more_wer : float or None
        Word error rate, and what it is above that of one by one; fractions.
    other_texts : int or None
        Files with another text than one by one.

    Examples
    --------
    >>> Summary(wer=0.125).more_wer is None
    True
    """

    load_seconds: float | None = None
    process_bytes: int | None = None
    wer: float | None = None
    more_wer: float | None = None
    other_texts: int | None = None


def summary(heards: Sequence[Heard], truth: Heard | None) -> Summary:
    """Sum up the rounds of a system.

    Parameters
    ----------
    heards : sequence of Heard
        Of every round, at least one.
    truth : Heard or None
        Of one by one, if that was measured.

    Returns
    -------
    Summary

    Examples
    --------
    >>> truth = Heard({"a": "ONE", "b": "TWO"}, edits=0, words=2)
    >>> rounds = [Heard({"a": "ONE", "b": "TOO"}, load_seconds=s, edits=1, words=2) for s in (3.0, 1.0, 2.0)]
    >>> summary(rounds, truth)
    Summary(load_seconds=2.0, process_bytes=None, wer=0.5, more_wer=0.5, other_texts=1)
    """
    heard = heards[0]
    loads = sorted(each.load_seconds for each in heards if each.load_seconds is not None)
    peaks = [each.process_bytes for each in heards if each.process_bytes is not None]
    others = None if truth is None else heard.other_texts(truth)
    more = None
    # Of other recordings, or of a clip, the rate is another one anyway.
    if others is not None and truth is not None and heard.texts.keys() == truth.texts.keys():
        more = None if heard.wer is None or truth.wer is None else heard.wer - truth.wer
    return Summary(
        loads[len(loads) // 2] if loads else None, max(peaks, default=None), heard.wer, more, others
    )


def audio_files(folder: str) -> list[str]:
    """List the recordings of a folder, at any depth, as ``hyperconformer transcribe`` finds them.

    Parameters
    ----------
    folder : str

    Returns
    -------
    list of str
        Sorted.

    Raises
    ------
    InputError
        If it holds none, or is no folder.

    Examples
    --------
    >>> audio_files("no/such/folder")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --files no/such/folder is no folder: give one with recordings
    """
    if not Path(folder).is_dir():
        raise InputError(f"--files {folder} is no folder: give one with recordings")
    inputs, faults = find_inputs([folder])
    if faults:
        raise InputError(f"--files: {faults[0]}")
    return [one.path for one in inputs]


def in_turns(paths: Sequence[str], number: int) -> list[str]:
    """Take so many files: from the beginning again where there are fewer.

    Parameters
    ----------
    paths : sequence of str
    number : int

    Returns
    -------
    list of str

    Examples
    --------
    >>> in_turns(["a", "b"], 5), in_turns(["a", "b"], 1)
    (['a', 'b', 'a', 'b', 'a'], ['a'])
    """
    return list(islice(cycle(paths), number))


def references(paths: Iterable[str]) -> dict[str, str]:
    """Look up what was said, in the ``.trans.txt`` files beside recordings.

    Parameters
    ----------
    paths : iterable of str

    Returns
    -------
    dict of str to str
        Of every recording that has words there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "7-1.trans.txt").write_text("7-1-0000 YES INDEED")
    ...     [*references([f"{folder}/7-1-0000.flac", f"{folder}/other.flac"]).values()]
    ['YES INDEED']
    """
    said: dict[Path, dict[str, str]] = {}
    found = {}
    for path in paths:
        folder = Path(path).parent
        if folder not in said:
            transcripts = sorted(folder.glob("*.trans.txt"))
            lines = [line for file in transcripts for line in file.read_text("utf-8").splitlines()]
            said[folder] = dict(map(parse_transcript_line, filter(str.strip, lines)))
        if words := said[folder].get(Path(path).stem):
            found[path] = words
    return found


def word_errors(said: Sequence[str], heard: Sequence[str]) -> tuple[int, int]:
    """Count the words that are wrong.

    Parameters
    ----------
    said, heard : sequence of str
        References, none of them empty, and what was recognised, of the same length.

    Returns
    -------
    edits, words : int
        Substitutions, deletions and insertions; words of the references.

    Examples
    --------
    >>> word_errors(["ONE TWO", "THREE"], ["ONE TOO", "THREE FOUR"])
    (2, 3)
    """
    aligned = jiwer.process_words(list(said), list(heard))
    wrong = aligned.substitutions + aligned.deletions
    return wrong + aligned.insertions, wrong + aligned.hits
