"""Several processes that share what a work is made of; if one dies all end, with an error."""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from hyperconformer.errors import InputError

MORE, FOUND, FINISHED, FAULT, CRASH = "more", "found", "finished", "fault", "crash"
GRACE_SECONDS = 5.0

P = TypeVar("P")
F = TypeVar("F")
Message = tuple[str, Any]


def share_work(
    opened: Callable[[], Callable[[Iterable[P]], Iterator[F]]], portions: Iterable[P], jobs: int
) -> Iterator[F | None]:
    """Have portions of a work done.

    One job works in this process. Of several each is a process of its own, with its share of the threads,
    that is given the next portion when it has room for it: a slow one holds up nobody.

    Parameters
    ----------
    opened : callable
        Opens the models and gives what works: portions, which it takes as it has room for them, to what it
        finds. All of it travels to the processes, and what they find back.
    portions : iterable
    jobs : int

    Yields
    ------
    found or None
        None once, when all models are in memory; then whatever is found, as it comes.

    Raises
    ------
    InputError
        If a model cannot be used, or a process dies.

    Examples
    --------
    >>> from functools import partial
    >>> list(share_work(lambda: partial(map, abs), [-1, 2, -3], 1))
    [None, 1, 2, 3]
    """
    if jobs == 1:
        work = opened()
        yield None
        yield from work(portions)
        return
    given = iter(portions)
    with _started(opened, jobs) as processes:
        busy, asking = dict(processes), list[Connection]()
        loading = True
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                kind, found = _received(pipe, busy[pipe])
                if kind == FOUND:
                    yield found
                elif kind == FINISHED:
                    del busy[pipe]
                else:
                    asking.append(pipe)
            # All begin together, so that the time of the work can be told from that of loading.
            if loading and len(asking) == jobs:
                loading = False
                yield None
            if not loading:
                for pipe in asking:
                    _send(pipe, list(islice(given, 1)))
                asking.clear()


@contextmanager
def _started(opened: Callable[[], Any], jobs: int) -> Iterator[dict[Connection, BaseProcess]]:
    """Processes at work, by the pipe that they speak through; none outlives the block."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    processes: dict[Connection, BaseProcess] = {}
    # The first process would start it, and it unblocks Ctrl-C when it starts.
    resource_tracker.ensure_running()
    try:
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_child, args=(opened, threads, theirs), daemon=True)
            with _keyboard_unheard():
                process.start()
            # Only the child has its end, and only this process the other: each hears of the other's death.
            theirs.close()
            processes[ours] = process
        yield processes
    finally:
        for started in processes.values():
            started.terminate()
        for started in processes.values():
            started.join(GRACE_SECONDS)
            started.kill()
            started.join()


@contextmanager
def _keyboard_unheard() -> Iterator[None]:
    """A process that starts here never hears Ctrl-C: it reaches everyone, and one answer to it is enough."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(pipe: Connection, portion: list[Any]) -> None:
    """Answer a process that asks for more."""
    # Of one that has died meanwhile its silence tells.
    with suppress(ConnectionError):
        pipe.send(portion)


def _received(pipe: Connection, process: BaseProcess) -> Message:
    """What a process says, if that is no fault."""
    try:
        message: Message = pipe.recv()
    except (EOFError, OSError):
        # OSError: it died in the middle of what it said.
        process.join()
        status = process.exitcode or 0
        how = (
            f"was killed by signal {-status} (out of memory?): try fewer --jobs or a smaller --batch_seconds"
            if status < 0
            else f"ended with status {status}: what it said stands above; a script that starts jobs does so "
            "below if __name__ == '__main__'"
        )
        raise InputError(f"a job {how}") from None
    kind, said = message
    if kind == FAULT:
        raise InputError(said)
    if kind == CRASH:
        raise RuntimeError(f"in a job:\n{said}")
    return message


def _child(
    opened: Callable[[], Callable[[Iterable[Any]], Iterator[Any]]], threads: int, pipe: Connection
) -> None:
    """A process: works until there is no more to do, or nobody listens any more."""
    line = _Line(pipe)
    with suppress(_NobodyThere):
        try:
            torch.set_num_threads(threads)
            work, portions = opened(), line.portions()
            # Time is counted from the first portion on.
            first = list(islice(portions, 1))
            for found in work(chain(first, portions)):
                line.say(FOUND, found)
            line.say(FINISHED)
        except InputError as error:
            line.say(FAULT, str(error))
        except _NobodyThere:
            raise
        except Exception:
            line.say(CRASH, traceback.format_exc())


class _NobodyThere(Exception):
    """Whoever started this process is dead."""


class _Line:
    """A process's end of its pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def say(self, kind: str, found: Any = "") -> None:
        try:
            self._pipe.send((kind, found))
        except ConnectionError:
            raise _NobodyThere from None

    def portions(self) -> Iterator[Any]:
        """Each of them asked for when it is wanted."""
        while True:
            self.say(MORE)
            try:
                portion = self._pipe.recv()
            except (EOFError, ConnectionError):
                raise _NobodyThere from None
            if not portion:
                return
            yield from portion
