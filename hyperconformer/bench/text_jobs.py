"""Trainings side by side, each in a process of its own; what is done is remembered at once."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from hyperconformer.bench.runner import environment_of
from hyperconformer.bench.text_runs import RunStore, TextFound, TextRun

CHILD = (sys.executable, "-m", "hyperconformer.bench.text_child")
LONGEST_NOTE = 300

Launch = Callable[[TextRun], TextFound]


def launcher(folder: Path, threads: int, command: Sequence[str] = CHILD) -> Launch:
    """Make what trains one run in a process.

    Parameters
    ----------
    folder : Path
        Takes the folders of runs that are not over: a run that was stopped goes on there. One that is over
        leaves nothing.
    threads : int
        Of each process.
    command : sequence of str
        The process; it reads the run's JSON.

    Returns
    -------
    callable
        A crash is an answer like others.

    Examples
    --------
    >>> launch = launcher(getfixture("tmp_path"), 1, [sys.executable, "-c", "raise SystemExit('no luck')"])
    >>> launch(TextRun("a", "x.yaml", {}, "cpu", "fp32", {})).note
    'no luck'
    """

    def launch(run: TextRun) -> TextFound:
        where = folder / run.key
        asked = {
            "key": run.key,
            "recipe": run.recipe,
            "overrides": {**run.overrides, "name": run.key, "output_folder": str(where)},
            "run_options": {"device": run.device, "precision": run.precision, "noprogressbar": True},
        }
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, env=environment_of(threads)
        )
        if done.returncode or not done.stdout.strip():
            killed = f"killed by signal {-done.returncode}" if done.returncode < 0 else "nothing said"
            said = (done.stderr.strip() or killed).splitlines()[-1]
            return TextFound(run.key, "fails", said.removeprefix("error: ")[:LONGEST_NOTE])
        shutil.rmtree(where, ignore_errors=True)
        return TextFound.from_dict(json.loads(done.stdout.strip().splitlines()[-1]))

    return launch


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
    with ThreadPoolExecutor(jobs) as pool:
        try:
            asked = {pool.submit(launch, run): run for key, run in wanted.items() if key not in found}
            for future in as_completed(asked):
                run, one = asked[future], future.result()
                store.add(run, one)
                found[run.key] = one
                say(f"[{len(found)}/{len(wanted)}] {run.name}: {_said(one)}")
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
