"""Launch every case in a fresh process, one at a time, round after round."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import hyperconformer
from hyperconformer.bench.cases import PARTS, Case, Outcome, max_frames
from hyperconformer.bench.checks import CheckFailed

CHILD = (sys.executable, "-m", "hyperconformer.bench.child")

Launch = Callable[[Case], Outcome]


def environment_of(threads: int) -> dict[str, str]:
    """Give a process of this very package so many threads.

    Parameters
    ----------
    threads : int

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> environment_of(3)["OMP_NUM_THREADS"]
    '3'
    """
    root = str(Path(hyperconformer.__file__).parents[1])
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }


def launch(case: Case, command: Sequence[str] = CHILD) -> Outcome:
    """Examine a case in a process of its own.

    Parameters
    ----------
    case : Case
    command : sequence of str
        The process; it reads the case's JSON.

    Returns
    -------
    Outcome
        A crash, and the end of the time limit, are outcomes like others.

    Examples
    --------
    >>> case = Case("mixer", "identity", "forward", seconds=1.0, batch_size=1)
    >>> launch(case, [sys.executable, "-c", "raise SystemExit('no luck')"]).note
    'the process ended with status 1: no luck'
    """
    try:
        done = subprocess.run(
            command,
            input=case.to_json(),
            capture_output=True,
            text=True,
            env=environment_of(case.threads),
            timeout=case.limit_seconds,
        )
    except subprocess.TimeoutExpired:
        return Outcome(case, "fails", f"over {case.limit_seconds:g} s")
    if done.returncode < 0:
        return Outcome(case, "fails", f"killed by signal {-done.returncode} (out of memory?)")
    if done.returncode > 0 or not done.stdout.strip():
        said = (done.stderr.strip() or "nothing said").splitlines()[-1]
        return Outcome(case, "fails", f"the process ended with status {done.returncode}: {said}")
    return Outcome.from_json(case, done.stdout.strip().splitlines()[-1])


def plan(template: Case, systems: Sequence[str], lengths: Iterable[tuple[float, int]]) -> list[Case]:
    """All cases of a benchmark in the order of a round.

    Parameters
    ----------
    template : Case
        Gives everything but the system, the part, the length and the batch size.
    systems : sequence of str
    lengths : iterable of (float, int)
        Seconds, and utterances in a batch.

    Returns
    -------
    list of Case

    Examples
    --------
    >>> template = Case("mixer", "identity", "forward", seconds=1.0, batch_size=1)
    >>> [case.name for case in plan(template, ["summary"], [(2.0, 1)])]
    ['mixer summary 2 s forward', 'mixer summary 2 s backward']
    """
    return [
        replace(template, system=system, part=part, seconds=seconds, batch_size=batch_size)
        for seconds, batch_size in lengths
        for system in systems
        for part in PARTS[template.kind]
    ]


def _too_long(case: Case) -> Outcome | None:
    longest = max_frames(case.system)
    # A batch of real speech has no such length, and a classifier is made for its own.
    if longest is None or case.frames <= longest or case.kind in ("train", "text"):
        return None
    return Outcome(case, "too long", f"{case.frames} frames are over its maximum length of {longest}")


def _tries_patience(outcome: Outcome) -> bool:
    decoding = outcome.case.decoding
    return decoding is not None and min(outcome.times_ms, default=0.0) > 1000 * decoding.patience


def _check_found(outcome: Outcome, others: Iterable[Outcome]) -> None:
    """See that a search found what the others did; each is right about its own score.

    Ours may find a better hypothesis than SpeechBrain's, which stops when it has as many as its beam is wide.
    """
    case = outcome.case
    for other in others:
        alike = (other.case.decoding, other.case.seconds) == (case.decoding, case.seconds)
        if not (alike and outcome.found and other.found):
            continue
        ahead = outcome.found.ahead_of(other.found)
        # Above zero where only ours may be ahead, of either.
        ours_first = int(other.case.is_upstream) - int(case.is_upstream)
        if ahead and ahead * ours_first <= 0:
            scores = f"{outcome.found.score:.6g}, {other.case.system} {other.found.score:.6g}"
            raise CheckFailed(f"{case.name}: another hypothesis: {case.system} scores {scores}")


def _check_texts(outcome: Outcome, others: Iterable[Outcome]) -> None:
    """See that every recording has the text that the systems before it gave.

    Weights in eight bits and one pass may say something else, but in every round the same.
    """
    this = outcome.case.transcribing
    for other in others:
        that = other.case.transcribing
        if not (this and that and outcome.heard and other.heard):
            continue
        if not (this.is_exact and that.is_exact) and outcome.case != other.case:
            continue
        if difference := outcome.heard.first_difference(other.heard):
            raise CheckFailed(f"{outcome.case.name}: another text than {other.case.system}: {difference}")


def run_rounds(
    cases: Sequence[Case], rounds: int, say: Callable[[str], object], launch: Launch = launch
) -> list[Outcome]:
    """Examine every case once a round; one that failed is not tried again.

    Parameters
    ----------
    cases : sequence of Case
    rounds : int
    say : callable
        Hears of the progress, line by line.
    launch : callable
        Examines one case.

    Returns
    -------
    list of Outcome
        Of all rounds.

    Raises
    ------
    CheckFailed
        If a system is not correct, or was given or found something else than its fellows.

    Examples
    --------
    >>> case = Case("mixer", "mlp", "forward", seconds=90.0, batch_size=1)
    >>> [outcome.note for outcome in run_rounds([case], 3, say=print)]
    [1/3] mixer mlp 90 s forward: too long
    ['2250 frames are over its maximum length of 1500']
    """
    outcomes: list[Outcome] = []
    given_up: set[Case] = set()
    total = rounds * len(cases)
    for number, case in enumerate((case for _ in range(rounds) for case in cases), start=1):
        if case in given_up:
            continue
        if case.kind in ("decode", "transcribe"):
            say(f"[{number}/{total}] {case.name}: begun")
        outcome = _too_long(case) or launch(case)
        outcomes.append(outcome)
        if outcome.status == "refused":
            raise CheckFailed(outcome.note)
        if outcome.status != "ok" or _tries_patience(outcome):
            given_up.add(case)
        _check_found(outcome, outcomes)
        _check_texts(outcome, outcomes)
        if len({outcome.batches for outcome in outcomes if outcome.status == "ok"}) > 1:
            raise CheckFailed(f"{case.name}: it was given other batches than the systems before it")
        fastest = f"{min(outcome.times_ms):.4g} ms" if outcome.times_ms else outcome.status
        say(f"[{number}/{total}] {case.name}: {fastest}")
    return outcomes
