"""Files, a long recording, or the whole program from its start: time, memory and text."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from hyperconformer.bench.cases import Case, Outcome, Part
from hyperconformer.bench.checks import CheckFailed
from hyperconformer.bench.gauges import peak_memory, process_peak, start_memory
from hyperconformer.bench.transcribing import (
    BATCHED,
    FIRST_TRANSCRIPT,
    HELP,
    ONE_BY_ONE,
    ONE_PASS,
    SEGMENTED,
    SHARED,
    Heard,
    Transcribing,
    audio_files,
    in_turns,
    references,
    word_errors,
)
from hyperconformer.errors import InputError
from hyperconformer.inference.jobs import share_work
from hyperconformer.inference.longform_options import DEFAULT
from hyperconformer.inference.reading import Portion, plan_files
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.types import Transcript

# Of the audio that may be missing: headers of compressed files are not exact.
UNHEARD_SHARE = 0.01

Said = Iterator[tuple[str, Transcript]]


def _what(case: Case) -> Transcribing:
    assert case.transcribing is not None, "nothing to transcribe"
    return case.transcribing


def _one_by_one(transcriber: Transcriber, paths: Sequence[str]) -> Said:
    for path in paths:
        yield path, transcriber.transcribe(path)


def _batched(transcriber: Transcriber, paths: Sequence[str]) -> Said:
    for file, found in transcriber.transcribe_files(paths):
        yield paths[file], _or_raise(found)


def _or_raise(found: Transcript | InputError) -> Transcript:
    """Give a transcript, or raise what was found in its place."""
    if isinstance(found, InputError):
        raise found
    return found


WAYS: dict[str, Callable[[Transcriber, Sequence[str]], Said]] = {
    ONE_BY_ONE: _one_by_one,
    BATCHED: _batched,
    SEGMENTED: _one_by_one,
    ONE_PASS: _one_by_one,
}


def _transcribed(case: Case) -> Outcome:
    """Transcribe all recordings of a case once."""
    what = _what(case)
    files = in_turns(audio_files(what.files), what.number)
    paths = files if case.part == "files" else [what.recording]
    if what.way == SHARED:
        return _shared(case, files)
    begun = time.perf_counter()
    one_pass = what.way == ONE_PASS
    transcriber = Transcriber.load(what.model, case.device, backend=what.backend, one_pass=one_pass)
    load_seconds = time.perf_counter() - begun
    # The first one pays for what is set up once.
    transcriber.transcribe(files[0])
    before, start = process_peak() or 0, start_memory(case)
    begun = time.perf_counter()
    said = list(WAYS[what.way](transcriber, paths))
    took = time.perf_counter() - begun
    peak_bytes, process_bytes = peak_memory(case, start), process_peak()
    process_bytes = None if process_bytes is None else max(before, process_bytes)
    heard = _heard(case, files, said, load_seconds, process_bytes)
    return Outcome(case, "ok", times_ms=(1000 * took,), peak_bytes=peak_bytes, heard=heard)


def _shared(case: Case, files: Sequence[str]) -> Outcome:
    """Have processes share the files, once all of them are ready; of their memory nothing is said."""
    what, said = _what(case), list[tuple[str, Transcript]]()
    opened = partial(_ready, what.model, case.device, what.backend, files[0])
    portions = plan_files(enumerate(files), DEFAULT)
    begun = started = time.perf_counter()
    for found in share_work(opened, portions, what.jobs):
        if found is None:
            begun = time.perf_counter()
        elif not isinstance(found, float):
            said.append((files[found[0]], _or_raise(found[1])))
    took = time.perf_counter() - begun
    return Outcome(
        case, "ok", times_ms=(1000 * took,), heard=_heard(case, files, said, begun - started, None)
    )


def _ready(model: str, device: str, backend: str, first: str) -> Callable[[Iterable[Portion]], Iterator[Any]]:
    """What hears, with all that is set up once."""
    transcriber = Transcriber.load(model, device, backend=backend)
    transcriber.transcribe(first)
    return transcriber.hear


def _heard(
    case: Case,
    files: Sequence[str],
    said: Sequence[tuple[str, Transcript]],
    load_seconds: float,
    process_bytes: int | None,
) -> Heard:
    texts = _texts(case, said)
    return Heard(texts, load_seconds, process_bytes, *_errors(files, texts, _what(case)))


def _texts(case: Case, said: Sequence[tuple[str, Transcript]]) -> dict[str, str]:
    """The text of each recording, all of which was heard, and the same each time that its turn came."""
    seconds = sum(transcript.seconds for _, transcript in said)
    if abs(seconds - case.seconds) > UNHEARD_SHARE * case.seconds:
        raise CheckFailed(f"{case.name}: {seconds:.1f} s of {case.seconds:.1f} s were heard")
    texts: dict[str, str] = {}
    for path, transcript in said:
        first = texts.setdefault(path, transcript.text)
        if first != transcript.text and _what(case).is_exact:
            raise CheckFailed(f"{case.name}: {path}: once {first!r}, then {transcript.text!r}")
    return texts


def _errors(
    files: Sequence[str], texts: dict[str, str], what: Transcribing
) -> tuple[int, int] | tuple[None, None]:
    """Wrong words and all words, where every recording has a reference."""
    said = references(dict.fromkeys(files))
    if any(path not in said for path in files):
        return None, None
    if what.recording:
        return word_errors([" ".join(said[path] for path in files)], list(texts.values()))
    return word_errors([said[path] for path in texts], list(texts.values()))


def _started(case: Case) -> Outcome:
    """Start the program again and again, and wait for its end."""
    what, texts, times_ms = _what(case), dict[str, str](), list[float]()
    command = [sys.executable, "-m", "hyperconformer.cli", *STARTS[what.way](case)]
    # The first time does not count: the program's files may not be in the machine's memory.
    for turn in range(1 + case.repeats):
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        took = time.perf_counter() - begun
        if done.returncode:
            said = (done.stderr.strip() or "nothing said").splitlines()[-1]
            raise InputError(f"the program ended with status {done.returncode}: {said}")
        if turn:
            times_ms.append(1000 * took)
        if what.recording:
            texts[what.recording] = done.stdout.strip()
        elif "transcribe" not in done.stdout:
            raise CheckFailed(f"{case.name}: it does not speak of transcribe")
    return Outcome(case, "ok", times_ms=tuple(times_ms), heard=Heard(texts))


def _first_transcript(case: Case) -> list[str]:
    what = _what(case)
    options = {"--model": what.model, "--device": case.device, "--threads": str(case.threads)}
    return ["transcribe", what.recording, *(word for option in options.items() for word in option)]


STARTS: dict[str, Callable[[Case], list[str]]] = {
    FIRST_TRANSCRIPT: _first_transcript,
    HELP: lambda case: ["--help"],
}
MEASURES: dict[Part, Callable[[Case], Outcome]] = {
    "files": _transcribed,
    "long": _transcribed,
    "start": _started,
}


def measure_transcribing(case: Case) -> Outcome:
    """Transcribe what a case names: all of it once, or as often as the program is started.

    Where fewer files are there than the case wants, their list is taken from its beginning again: the machine
    then has them in memory, as it has after the first round anyway. Memory is what the process takes beyond
    the loaded model that has heard one file, and what it took at most since it began.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        If a model or a recording cannot be read.
    CheckFailed
        If not all audio was heard, or a recording has not the same text each time.

    Examples
    --------
    >>> case = Case("transcribe", "--help", "start", seconds=0.0, batch_size=1, repeats=2,
    ...             transcribing=Transcribing("--help", "no/model", "no/files", 0))
    >>> len(measure_transcribing(case).times_ms)
    2
    """
    return MEASURES[case.part](case)
