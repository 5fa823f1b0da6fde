"""Trainings side by side, each in a process of its own; what is done is remembered at once."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from hyperconformer.bench.runner import environment_of
from hyperconformer.bench.text_runs import RunStore, TextFound, TextRun

CHILD = (sys.executable, "-m", "hyperconformer.bench.text_child")
LONGEST_NOTE = 300

Launch = Callable[[TextRun], TextFound]


class Launcher:
    """Trains one run in a process; a crash is an answer like others.

    Parameters
    ----------
    folder : Path
        Takes the folders of runs that are not over: a run that was stopped goes on there. One that is over
        leaves nothing.
    threads : int
        Of each process.
    command : sequence of str
        The process; it reads the run's JSON.

    Examples
    --------
    >>> launch = Launcher(getfixture("tmp_path"), 1, [sys.executable, "-c", "raise SystemExit('no luck')"])
    >>> launch(TextRun("a", "x.yaml", {}, "cpu", "fp32", {})).note
    'no luck'
    """

    def __init__(self, folder: Path, threads: int, command: Sequence[str] = CHILD) -> None:
        self.folder, self.command, self.environment = folder, command, environment_of(threads)
        self._stopped = False
        self._running: list[subprocess.Popen[str]] = []
        # Of a thread that begins a process, and of the main one that a signal interrupts.
        self._lock = threading.RLock()

    def __call__(self, run: TextRun) -> TextFound:
        """Train a run to its end."""
        where = self.folder / run.key
        asked = {
            "key": run.key,
            "recipe": run.recipe,
            "overrides": {**run.overrides, "name": run.key, "output_folder": str(where)},
            "run_options": {"device": run.device, "precision": run.precision, "noprogressbar": True},
        }
        status, answer, said = self._finished(json.dumps(asked))
        if status or not answer.strip():
            killed = f"killed by signal {-status}" if status < 0 else "nothing said"
            said = (said.strip() or killed).splitlines()[-1]
            return TextFound(run.key, "fails", said.removeprefix("error: ")[:LONGEST_NOTE])
        shutil.rmtree(where, ignore_errors=True)
        return TextFound.from_dict(json.loads(answer.strip().splitlines()[-1]))

    def _finished(self, asked: str) -> tuple[int, str, str]:
        """Status, standard output and standard error of a process."""
        pipe = subprocess.PIPE
        with self._lock:
            if self._stopped:
                return -signal.SIGTERM, "", ""
            process = subprocess.Popen(
                self.command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=self.environment
            )
            self._running.append(process)
        try:
            answer, said = process.communicate(asked)
        finally:
            self._running.remove(process)
        return process.returncode, answer, said

    def stop(self) -> None:
        """Ask every process to stop, which saves where it is; none is begun any more."""
        with self._lock:
            self._stopped = True
            for process in list(self._running):
                process.terminate()


@contextmanager
def ending(stop: Callable[[], object]) -> Iterator[None]:
    """Pass a request to end (SIGTERM) on to the trainings, and end when they have.

    Parameters
    ----------
    stop : callable
        Asks them.

    Raises
    ------
    SystemExit
        With the status of a program that the signal ended, where it comes.

    Examples
    --------
    >>> with ending(lambda: print("stop")):
    ...     signal.raise_signal(signal.SIGTERM)
    Traceback (most recent call last):
        ...
    SystemExit: 143
    """

    def end(number: int, frame: FrameType | None) -> None:
        stop()
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def train_all(
    runs: Sequence[TextRun], store: RunStore, jobs: int, say: Callable[[str], object], launch: Launch
) -> dict[str, TextFound]:
    """Train what is not in the store yet.

    Parameters
    ----------
    runs : sequence of TextRun
        Several may be the same.
    store : RunStore
    jobs : int
        Processes at a time.
    say : callable
        Hears of the progress, line by line.
    launch : callable
        Trains one run.

    Returns
    -------
    dict of str to TextFound
        By the run's key.

    Examples
    --------
    >>> run = TextRun("fourier, seed 1", "x.yaml", {}, "cpu", "fp32", {"seed": 1})
    >>> store = RunStore(getfixture("tmp_path") / "runs.jsonl")
    >>> once = lambda run: TextFound(run.key, "ok", accuracy={"valid": 0.5}, train_seconds=60.0)
    >>> found = train_all([run, run], store, 2, say=print, launch=once)
    [1/1] fourier, seed 1: valid 50.00 %, 60 s
    >>> found = train_all([run], store, 2, say=print, launch=once)
    [1/1] fourier, seed 1: done before: valid 50.00 %, 60 s
    """
    wanted = {run.key: run for run in runs}
    found = {key: store.found[key] for key in wanted if key in store.found}
    for number, (key, one) in enumerate(found.items(), start=1):
        say(f"[{number}/{len(wanted)}] {wanted[key].name}: done before: {_said(one)}")
    began, before = time.monotonic(), len(found)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            asked = {pool.submit(launch, run): run for key, run in wanted.items() if key not in found}
            for future in as_completed(asked):
                run, one = asked[future], replace(future.result(), jobs=jobs)
                store.add(run, one)
                found[run.key] = one
                each = (time.monotonic() - began) / (len(found) - before)
                left = each * (len(wanted) - len(found))
                more = f"; about {left / 60:.0f} min left" if left else ""
                say(f"[{len(found)}/{len(wanted)}] {run.name}: {_said(one)}{more}")
        except BaseException:
            # What runs is left to end; nothing more is begun.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _said(found: TextFound) -> str:
    if found.status != "ok":
        return f"{found.status}: {found.note}"
    scores = ", ".join(f"{split} {100 * accuracy:.2f} %" for split, accuracy in found.accuracy.items())
    return f"{scores}, {found.train_seconds:.0f} s"
