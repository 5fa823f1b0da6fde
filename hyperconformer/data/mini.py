"""The embedded corpus: an hour of spoken English made on the spot, so that everything runs anywhere.

espeak-ng (inside the wheel ``espeakng-loader``) reads sentences of a small grammar with 46 voices. The
corpus has LibriSpeech's layout, and neither a voice nor a sentence is in two splits: a model is tested on
voices and on sentences that it never heard. The same seed gives the same bytes.
"""

import hashlib
import importlib
import json
import os
import random
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from hyperconformer.audio import SAMPLE_RATE
from hyperconformer.data.mini_grammar import draw_sentences, transcript
from hyperconformer.data.mini_voice import EspeakError, Voice, cast, read_aloud
from hyperconformer.errors import InputError

SPLITS = ("train-mini", "dev-mini", "test-mini")

_FORMAT = 1
"""To be raised when the same plan comes to sound different, so that older folders are made again."""

_RECORD = "corpus.json"
_OURS = re.compile(
    r"corpus\.json|(train|dev|test)-mini(/[123]0\d\d(/1(/[123]0\d\d-1(\.trans\.txt|-\d{4}\.flac))?)?)?"
)
"""Every path that a corpus can hold, below its folder."""

_ABANDONED_SECONDS = 120
"""A folder in the making is touched whenever a voice has finished, about twice a second."""

_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.5, 8.0
_LOUDNESS_DB, _SPREAD_DB, _PEAK = -25.0, 4.0, 0.95
"""Root mean square relative to full scale, what utterances differ from it, and the highest sample."""

_PROBE = ("the tired daughter walked around the park after coffee.",)
_REMEDY = 'pip install --upgrade "hyperconformer[mini]"'


@dataclass(frozen=True)
class MiniCorpus:
    """How large the corpus is; the default is an hour of speech.

    Attributes
    ----------
    voices : tuple of (int, int, int)
        Speakers of train-mini, dev-mini and test-mini.
    sentences : tuple of (int, int, int)
        Utterances of every speaker of train-mini, dev-mini and test-mini.

    Raises
    ------
    ValueError
        If there are not that many voices, or one of the numbers is not positive.

    Examples
    --------
    >>> MiniCorpus(voices=(2, 1, 1), sentences=(3, 2, 2)).utterances
    10
    """

    voices: tuple[int, int, int] = (36, 4, 6)
    sentences: tuple[int, int, int] = (32, 15, 18)

    def __post_init__(self) -> None:
        there = tuple(len(cast(split)) for split in SPLITS)
        if not all(1 <= asked <= most for asked, most in zip(self.voices, there, strict=True)):
            raise ValueError(f"voices {self.voices}: from 1 to {there}")
        if not all(1 <= asked <= 10_000 for asked in self.sentences):
            raise ValueError(f"sentences {self.sentences}: from 1 to 10000 each")

    @property
    def utterances(self) -> int:
        """Number of utterances in all."""
        return sum(voices * sentences for voices, sentences in zip(self.voices, self.sentences, strict=True))


HOUR = MiniCorpus()


@dataclass(frozen=True)
class Reader:
    """A speaker and what it reads.

    Attributes
    ----------
    split : str
        One of `SPLITS`.
    speaker : int
        Number of the speaker: from 1001 in train-mini, 2001 in dev-mini and 3001 in test-mini.
    voice : Voice
        How it speaks.
    sentences : tuple of str
        What it reads, in order.

    Examples
    --------
    >>> Reader("dev-mini", 2001, Voice("en-US", "f5"), ("my uncle was happy.",)).utterance_id(0)
    '2001-1-0000'
    """

    split: str
    speaker: int
    voice: Voice
    sentences: tuple[str, ...]

    def utterance_id(self, index: int) -> str:
        """Name an utterance; all of them are in chapter 1."""
        return f"{self.speaker}-1-{index:04d}"


def plan_mini(seed: int = 0, corpus: MiniCorpus = HOUR) -> tuple[Reader, ...]:
    """Who reads what.

    Parameters
    ----------
    seed : int
        Draws the sentences.
    corpus : MiniCorpus
        How large the corpus is.

    Returns
    -------
    tuple of Reader
        All speakers; no voice and no sentence comes twice.

    Examples
    --------
    >>> first, *others = plan_mini(seed=0)
    >>> first.split, first.speaker, first.voice.name, len(first.sentences), len(others)
    ('train-mini', 1001, 'en-US+Alex', 32, 45)
    """
    sentences = draw_sentences(seed)
    return tuple(
        Reader(split, 1000 * number + index, voice, tuple(islice(sentences, corpus.sentences[number - 1])))
        for number, split in enumerate(SPLITS, start=1)
        for index, voice in enumerate(cast(split)[: corpus.voices[number - 1]], start=1)
    )


def prepare_mini(
    folder: Path, *, seed: int = 0, workers: int = 2, progress: bool = True, corpus: MiniCorpus = HOUR
) -> Path:
    """Make the embedded corpus, unless it is there already.

    It is made beside `folder` and renamed when it is whole. A corpus that is broken, or of another seed or
    size, is made again; a folder that holds anything else is left alone.

    Parameters
    ----------
    folder : Path
        Where the corpus is to be: ``<folder>/train-mini/<speaker>/<chapter>/*.flac`` and so on.
    seed : int
        Draws the sentences and how loud they are; the voices are always the same.
    workers : int
        Number of voices that read at the same time; the bytes do not depend on it.
    progress : bool
        Show a progress bar on a terminal.
    corpus : MiniCorpus
        How large the corpus is.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If espeak-ng or one of its voices is missing, or the folder holds something else or cannot be written.
    ValueError
        If `workers` is not positive.

    Examples
    --------
    >>> import tempfile
    >>> tiny = MiniCorpus(voices=(1, 1, 1), sentences=(2, 1, 1))
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = prepare_mini(Path(parent, "mini"), progress=False, corpus=tiny)
    ...     print(*sorted(path.name for path in folder.rglob("*.flac")))
    1001-1-0000.flac 1001-1-0001.flac 2001-1-0000.flac 3001-1-0000.flac
    """
    if workers < 1:
        raise ValueError(f"workers {workers}: 1 or more")
    readers = plan_mini(seed, corpus)
    # Resolved, so that behind a link the corpus is made on the disk where it is to stay.
    target = Path(folder).resolve()
    plan = hashlib.sha256(repr((_FORMAT, seed, readers)).encode()).hexdigest()
    try:
        _sweep(target)
        if not _is_whole(target, plan):
            _refuse_strangers(target)
            with _workshop(target) as making:
                samples = _speak_all(making, readers, seed, workers, progress)
                _write_record(making, readers, samples, seed, plan)
                _put(making, target, plan)
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"cannot make {str(folder)!r} ({error}): choose another folder") from error
    return Path(folder)


def espeak_wheel(voices: Sequence[Voice]) -> tuple[str, str]:
    """Find espeak-ng's library and its data folder, and make sure that it has these voices.

    Parameters
    ----------
    voices : sequence of Voice

    Returns
    -------
    tuple of (str, str)
        What :func:`~hyperconformer.data.mini_voice.read_aloud` asks for.

    Raises
    ------
    InputError
        If espeak-ng or one of the voices is missing.

    Examples
    --------
    >>> espeak_wheel([Voice("en-US", "nobody")])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: espeak-ng lacks its file 'voices/!v/nobody': pip install ...
    """
    try:
        loader = importlib.import_module("espeakng_loader")
        library, data_folder = str(loader.get_library_path()), str(loader.get_data_path())
    except (ImportError, RuntimeError) as error:
        raise InputError(f"espeak-ng, which speaks the embedded corpus, is missing: {_REMEDY}") from error
    for voice in voices:
        for file in (f"lang/gmw/{voice.accent}", f"voices/!v/{voice.variant}"):
            # espeak-ng itself would speak with its default voice and not say a word about it.
            if not Path(data_folder, file).is_file():
                raise InputError(f"espeak-ng lacks its file {file!r}: {_REMEDY}")
    return library, data_folder


def _refuse_twins(pool: ThreadPoolExecutor, voices: Sequence[Voice], wheel: tuple[str, str]) -> None:
    """Make sure that no two voices, nor a voice and its plain accent, are one and the same."""
    bare = {Voice(voice.accent, variant) for voice in voices for variant in ("", voice.variant)}
    ordered = sorted(bare, key=lambda voice: voice.name)
    spoken = pool.map(lambda voice: read_aloud(voice, _PROBE, *wheel), ordered)
    heard: dict[bytes, Voice] = {}
    for voice, (_, (probe,)) in zip(ordered, spoken, strict=True):
        twin = heard.setdefault(probe.samples, voice)
        if twin != voice:
            raise InputError(f"espeak-ng speaks {voice.name!r} exactly like {twin.name!r}: {_REMEDY}")


def _speak_all(
    folder: Path, readers: Sequence[Reader], seed: int, workers: int, progress: bool
) -> dict[str, int]:
    """Let all voices read into a folder; returns the number of samples of each split."""
    voices = [reader.voice for reader in readers]
    wheel = espeak_wheel(voices)
    samples = dict.fromkeys(SPLITS, 0)
    utterances = sum(len(reader.sentences) for reader in readers)
    # disable=None: no bar unless standard error is a terminal, so that logs stay clean.
    bar = tqdm(desc="speaking the embedded corpus", total=utterances, disable=None if progress else True)
    pool = ThreadPoolExecutor(workers)
    try:
        _refuse_twins(pool, voices, wheel)
        jobs = {pool.submit(_speak, folder, reader, wheel, seed): reader for reader in readers}
        for job in as_completed(jobs):
            samples[jobs[job].split] += job.result()
            bar.update(len(jobs[job].sentences))
            os.utime(folder)
    except EspeakError as error:
        raise InputError(f"{error}: {_REMEDY}") from error
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    return samples


def _speak(folder: Path, reader: Reader, wheel: tuple[str, str], seed: int) -> int:
    """Write the chapter of one reader; returns its number of samples."""
    chapter = folder / reader.split / str(reader.speaker) / "1"
    chapter.mkdir(parents=True)
    sample_rate_hz, spoken = read_aloud(reader.voice, reader.sentences, *wheel, seed=seed)
    lines, total = [], 0
    for index, (sentence, (raw, _)) in enumerate(zip(reader.sentences, spoken, strict=True)):
        identity = reader.utterance_id(index)
        samples = soxr.resample(np.frombuffer(raw, np.int16) / np.float32(2**15), sample_rate_hz, SAMPLE_RATE)
        rms = float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0
        seconds = len(samples) / SAMPLE_RATE
        if not (_SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS and rms > 0):
            raise EspeakError(f"espeak-ng spoke {seconds:.1f} s at RMS {rms:.4f} for {sentence!r}")
        loudness_db = _LOUDNESS_DB + random.Random(f"{seed} {identity}").uniform(-_SPREAD_DB, _SPREAD_DB)
        gain = min(10 ** (loudness_db / 20) / rms, _PEAK / float(np.abs(samples).max()))
        pcm = np.round(samples * (gain * (2**15 - 1))).astype(np.int16)
        soundfile.write(chapter / f"{identity}.flac", pcm, SAMPLE_RATE, subtype="PCM_16")
        lines.append(f"{identity} {transcript(sentence)}\n")
        total += len(samples)
    (chapter / f"{reader.speaker}-1.trans.txt").write_bytes("".join(lines).encode())
    return total


def _write_record(
    folder: Path, readers: Sequence[Reader], samples: dict[str, int], seed: int, plan: str
) -> None:
    """Say what the folder holds; written last, so that it vouches for everything else."""
    splits = {
        split: {
            "speakers": sum(reader.split == split for reader in readers),
            "utterances": sum(len(reader.sentences) for reader in readers if reader.split == split),
            "seconds": samples[split] / SAMPLE_RATE,
        }
        for split in SPLITS
    }
    record = {"format": _FORMAT, "seed": seed, "splits": splits, "plan": plan, "files": _digest(folder)}
    (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _digest(folder: Path) -> str:
    """Digest of the names and sizes of all files of ours but the record: fast, and a cut file shows."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    ours = sorted(name for name in names if _OURS.fullmatch(name) and name != _RECORD)
    listing = "".join(f"{name} {names[name].stat().st_size}\n" for name in ours)
    return hashlib.sha256(listing.encode()).hexdigest()


def _is_whole(folder: Path, plan: str) -> bool:
    """Whether the folder holds this very corpus and nothing of it is missing or cut."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(record, dict) or record.get("plan") != plan:
        return False
    return bool(record.get("files") == _digest(folder))


def _refuse_strangers(folder: Path) -> None:
    """Stop before anything is deleted that we did not make."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{str(folder)!r} is a file: choose a folder for the embedded corpus")
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not _OURS.fullmatch(name):
            raise InputError(
                f"{str(folder)!r} holds {name!r}, which is not of the embedded corpus: "
                "choose another folder, or move that away"
            )


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A new folder beside the target, on the same disk; it is gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    making = target.parent / f".{target.name}.making-{secrets.token_hex(4)}"
    making.mkdir()
    try:
        yield making
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _sweep(target: Path) -> None:
    """Remove what a killed process left half made; a living one touches its folder all the time."""
    # Neither a parent that may not be listed nor a stranger's folder stands in the way of a whole corpus.
    with suppress(OSError):
        for path in list(target.parent.iterdir()):
            abandoned = path.name.startswith(f".{target.name}.making-")
            if abandoned and time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                with suppress(InputError):
                    _refuse_strangers(path)
                    shutil.rmtree(path)


def _put(making: Path, target: Path, plan: str) -> None:
    """Move a whole corpus to its place, unless another process has just done the same."""
    if _is_whole(target, plan):
        return
    _refuse_strangers(target)
    if target.exists():
        shutil.rmtree(target)
    try:
        making.rename(target)
    except OSError:
        if not _is_whole(target, plan):
            raise
