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
from typing import Generic

from hyperconformer.bench.runner import environment_of
from hyperconformer.bench.trainings.planned import Planned
from hyperconformer.bench.trainings.runs import F, Run, RunStore

LONGEST_NOTE = 300
RUNS, HALF_DONE = "runs.jsonl", "runs"
"""Beneath the folder that the results go to: what is over, and the folders of what is not."""

Launch = Callable[[Run], F]


def child(module: str) -> tuple[str, ...]:
    """The command of a process that answers a run.

    Parameters
    ----------
    module : str
        It reads the run's JSON from standard input.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> child("hyperconformer.bench.text.child")[1:]
    ('-m', 'hyperconformer.bench.text.child')
    """
    return sys.executable, "-m", module


class Launcher(Generic[F]):
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
    kind : type
        What it answers.

    Examples
    --------
    >>> from hyperconformer.bench.trainings.runs import Found
    >>> no_luck = [sys.executable, "-c", "raise SystemExit('no luck')"]
    >>> launch = Launcher(getfixture("tmp_path"), 1, no_luck, Found)
    >>> launch(Run("a", "x.yaml", {}, "cpu", "fp32", {})).note
    'no luck'
    """

    def __init__(self, folder: Path, threads: int, command: Sequence[str], kind: type[F]) -> None:
        self.folder, self.command, self.kind = folder, command, kind
        self.environment = environment_of(threads)
        self._stopped = False
        self._running: list[subprocess.Popen[str]] = []
        # Of a thread that begins a process, and of the main one that a signal interrupts.
        self._lock = threading.RLock()

    def __call__(self, run: Run) -> F:
        """Train a run to its end."""
        where = self.folder / run.key
        asked = {
            "key": run.key,
            "recipe": run.recipe,
            "overrides": {**run.overrides, "name": run.key, "output_folder": str(where)},
            "run_options": {"device": run.device, "precision": run.precision, "noprogressbar": True},
            "further": dict(run.further),
        }
        status, answer, said = self._finished(json.dumps(asked))
        if status or not answer.strip():
            killed = f"killed by signal {-status}" if status < 0 else "nothing said"
            said = (said.strip() or killed).splitlines()[-1]
            return self.kind(run.key, "fails", said.removeprefix("error: ")[:LONGEST_NOTE])
        shutil.rmtree(where, ignore_errors=True)
        return self.kind.from_dict(json.loads(answer.strip().splitlines()[-1]))

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
    runs: Sequence[Run], store: RunStore[F], jobs: int, say: Callable[[str], object], launch: Launch[F]
) -> dict[str, F]:
    """Train what is not in the store yet.

    Parameters
    ----------
    runs : sequence of Run
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
    dict of str to Found
        By the run's key.

    Examples
    --------
    >>> from hyperconformer.bench.trainings.runs import Found
    >>> run = Run("fourier, seed 1", "x.yaml", {}, "cpu", "fp32", {"seed": 1})
    >>> store = RunStore(getfixture("tmp_path") / "runs.jsonl", Found)
    >>> once = lambda run: Found(run.key, "ok", train_seconds=60.0)
    >>> found = train_all([run, run], store, 2, say=print, launch=once)
    [1/1] fourier, seed 1: 60 s
    >>> found = train_all([run], store, 2, say=print, launch=once)
    [1/1] fourier, seed 1: done before: 60 s
    """
    wanted = {run.key: run for run in runs}
    found = {key: store.found[key] for key in wanted if key in store.found}
    for number, (key, one) in enumerate(found.items(), start=1):
        say(f"[{number}/{len(wanted)}] {wanted[key].name}: done before: {one}")
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
                say(f"[{len(found)}/{len(wanted)}] {run.name}: {one}{more}")
        except BaseException:
            # What runs is left to end; nothing more is begun.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def train_part(
    part: str,
    planned: Sequence[Planned],
    store: RunStore[F],
    jobs: int,
    say: Callable[[str], object],
    launch: Launch[F],
) -> tuple[dict[str, F], bool]:
    """Train a part of a report: all that fits.

    Parameters
    ----------
    part : str
        Its name.
    planned : sequence of Planned
    store, jobs, say, launch
        As of :func:`train_all`.

    Returns
    -------
    dict of str to Found
        By the run's key; of what does not fit, why.
    bool
        Whether a training failed, or there was none to make.

    Examples
    --------
    >>> from hyperconformer.bench.trainings.runs import Found
    >>> store = RunStore(getfixture("tmp_path") / "runs.jsonl", Found)
    >>> large = Planned("gmlp", "", 1, Run("gmlp", "x.yaml", {}, "cpu", "fp32", {}), "gmlp is too large")
    >>> found, failed = train_part("accuracy", [large], store, 1, print, None)
    accuracy: 0 trainings, 1 at a time
    >>> [one.status for one in found.values()], failed
    (['unfit'], True)
    """
    runs = [one.run for one in planned if not one.unfit]
    say(f"{part}: {len(runs)} trainings, {jobs} at a time")
    found = train_all(runs, store, jobs, say, launch)
    failed = not found or any(one.status == "fails" for one in found.values())
    unfit = {one.run.key: store.kind(one.run.key, "unfit", one.unfit) for one in planned if one.unfit}
    return found | unfit, failed
