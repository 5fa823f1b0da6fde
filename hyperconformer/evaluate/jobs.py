"""Several processes that share the batches of a task; if one dies all end, with an error."""

import multiprocessing
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from hyperconformer.errors import InputError
from hyperconformer.evaluate.task import Done, Task
from hyperconformer.evaluate.work import Worker

READY, FINISHED, FAULT, CRASH = "ready", "finished", "fault", "crash"
GRACE_SECONDS = 5.0
PATIENCE_SECONDS = 600.0
"""How long a job waits for the others to load their models, should nobody be left to end it."""

Message = tuple[str, str] | Done


def run_jobs(task: Task, jobs: int) -> Iterator[Done | None]:
    """Decode all batches of a task.

    One job works in this process. Of several each is a process of its own, with its share of the threads,
    that takes the next batch when it has room for it: a slow one holds up nobody.

    Parameters
    ----------
    task : Task
    jobs : int

    Yields
    ------
    Done or None
        None once, when all models are in memory; then every batch, as it gets done.

    Raises
    ------
    InputError
        If a model cannot be used, or a process dies.

    Examples
    --------
    >>> next(run_jobs(Task("no/such/model", (), [], ()), 1))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    if jobs == 1:
        worker = Worker(task)
        yield None
        yield from worker.work()
        return
    with _started(task, jobs) as processes:
        silent, busy = jobs, dict(processes)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                message = _received(pipe, busy[pipe])
                if isinstance(message, Done):
                    yield message
                elif message[0] == FINISHED:
                    del busy[pipe]
                elif message[0] == READY:
                    silent -= 1
                    if silent == 0:
                        yield None


@contextmanager
def _started(task: Task, jobs: int) -> Iterator[dict[Connection, BaseProcess]]:
    """Processes at work, by the pipe that they speak through; none outlives the block."""
    context = multiprocessing.get_context("spawn")
    counter, threads = context.Value("q", 0), max(1, torch.get_num_threads() // jobs)
    # They begin together, so that the time of decoding can be told from that of loading.
    loaded = context.Barrier(jobs, timeout=PATIENCE_SECONDS)
    processes: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(jobs):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(
                target=_child, args=(task, threads, counter, loaded, sender), daemon=True
            )
            with _keyboard_unheard():
                process.start()
            # Only the child's end is left, so that its death is heard.
            sender.close()
            processes[receiver] = process
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


def _received(pipe: Connection, process: BaseProcess) -> Message:
    """What a process says, if that is no fault."""
    try:
        message: Message = pipe.recv()
    except EOFError:
        process.join()
        status = process.exitcode or 0
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise InputError(
            f"a job {how} (out of memory?): try fewer --jobs or a smaller --batch_seconds"
        ) from None
    if isinstance(message, tuple) and message[0] == FAULT:
        raise InputError(message[1])
    if isinstance(message, tuple) and message[0] == CRASH:
        raise RuntimeError(f"in a job:\n{message[1]}")
    return message


def _child(task: Task, threads: int, counter: Any, loaded: Any, pipe: Connection) -> None:
    """A process: takes batches by their number until there are none."""
    try:
        torch.set_num_threads(threads)
        worker = Worker(task)
        pipe.send((READY, ""))
        loaded.wait()
        for done in worker.work(_numbers(counter, len(task.plan))):
            pipe.send(done)
        pipe.send((FINISHED, ""))
    except BrokenPipeError:
        # Nobody listens any more.
        return
    except InputError as error:
        pipe.send((FAULT, str(error)))
    except Exception:
        pipe.send((CRASH, traceback.format_exc()))


def _numbers(counter: Any, count: int) -> Iterator[int]:
    """The next batch that nobody has taken."""
    while True:
        with counter.get_lock():
            number = int(counter.value)
            counter.value = number + 1
        if number >= count:
            return
        yield number
