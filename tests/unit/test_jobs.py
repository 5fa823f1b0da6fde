"""Processes that share a work: all of it is done, once, and none is left when something goes wrong."""

import multiprocessing
import os
import signal
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from types import SimpleNamespace

import pytest
import torch

from hyperconformer.errors import InputError
from hyperconformer.inference import jobs
from hyperconformer.inference.jobs import share_work

Work = Callable[[Iterable[int]], Iterator[tuple[int, int]]]


def squares() -> Work:
    """Work that says who did it."""
    return _squares


def _squares(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    for number in numbers:
        # The others come to their turn.
        time.sleep(0.01)
        yield number**2, os.getpid()


def threads() -> Callable[[Iterable[int]], Iterator[int]]:
    return lambda numbers: (torch.get_num_threads() for _ in numbers)


def blocked() -> Callable[[Iterable[int]], Iterator[bool]]:
    return lambda numbers: (signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []) for _ in numbers)


def no_model() -> Work:
    raise InputError("model 'none' is not a folder")


def faulty() -> Work:
    return lambda numbers: (1 // number for number in numbers)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_portion_is_done_once(count: int) -> None:
    first, *found = share_work(squares, iter(range(40)), count)
    assert first is None
    assert sorted(square for square, _ in found) == [number**2 for number in range(40)]
    assert len({process for _, process in found}) == count


def test_portions_are_taken_as_there_is_room() -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    working = share_work(squares, numbers(), 2)
    assert next(working) is None and not taken
    next(working)
    assert len(taken) <= 5
    working.close()
    assert not multiprocessing.active_children()


def test_no_work_is_done_at_once() -> None:
    assert list(share_work(squares, [], 2)) == [None]


def test_jobs_share_the_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        _, *found = share_work(threads, range(4), 2)
    finally:
        torch.set_num_threads(before)
    assert found == [2, 2, 2, 2]


def test_a_killed_job_is_an_error() -> None:
    running = share_work(squares, range(10_000), 2)
    assert next(running) is None
    children = multiprocessing.active_children()
    assert len(children) == 2
    assert children[0].pid is not None
    os.kill(children[0].pid, signal.SIGKILL)
    with pytest.raises(InputError, match=r"a job was killed by signal 9 \(out of memory\?\)"):
        list(running)
    assert not any(child.is_alive() for child in children)


def test_faults_end_all() -> None:
    with pytest.raises(InputError, match="^model 'none' is not a folder$"):
        list(share_work(no_model, [1], 2))
    with pytest.raises(RuntimeError, match=r"(?s)in a job:.*ZeroDivisionError"):
        list(share_work(faulty, [1, 1, 0, 1], 2))
    assert not multiprocessing.active_children()


def test_a_job_whose_parent_is_dead_leaves() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=jobs._child, args=(squares, 1, theirs), daemon=True)
    process.start()
    theirs.close()
    assert ours.recv() == (jobs.MORE, "")
    # What the system does for a process that is killed.
    ours.close()
    process.join(30)
    assert process.exitcode == 0


def test_no_job_hears_the_keyboard() -> None:
    # As in a program that starts its first processes.
    resource_tracker._resource_tracker._stop()
    assert list(share_work(blocked, range(4), 2)) == [None, True, True, True, True]


@pytest.mark.parametrize(
    ("status", "said"),
    [(-9, "was killed by signal 9 .out of memory"), (1, "ended with status 1: what it said stands above")],
)
def test_a_job_that_dies_while_it_speaks_is_an_error(status: int, said: str) -> None:
    ours, theirs = multiprocessing.Pipe()
    os.write(theirs.fileno(), struct.pack("!i", 100) + b"half of it")
    theirs.close()
    with pytest.raises(InputError, match=said):
        jobs._received(ours, SimpleNamespace(join=lambda: None, exitcode=status))
