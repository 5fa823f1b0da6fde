"""Several processes as one: who is who, who goes first, and gradients summed over all.

Everything works alike with one process, where nothing is sent.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hyperconformer.errors import InputError

PATIENCE = timedelta(hours=1)
"""Longest wait for another process; the first prepares the data meanwhile."""

T = TypeVar("T")


def launched() -> bool:
    """Whether torchrun started this process.

    Examples
    --------
    >>> launched()
    False
    """
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def join(kind: str) -> str | None:
    """Join the other processes that torchrun started, each with a GPU of its own.

    Parameters
    ----------
    kind : {"cpu", "cuda"}

    Returns
    -------
    str or None
        The device of this process; None if it was started alone.

    Raises
    ------
    InputError
        If there are fewer GPUs than processes on this machine.

    Examples
    --------
    >>> join("cpu") is None
    True
    """
    if not launched():
        return None
    if "MASTER_ADDR" not in os.environ:
        raise InputError(
            "RANK and WORLD_SIZE are set, but not MASTER_ADDR: start processes by torchrun, or unset the two"
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if kind == "cuda" and local >= torch.cuda.device_count():
        raise InputError(
            f"process {local} has no GPU, this machine has {torch.cuda.device_count()}: "
            "give torchrun --nproc_per_node as many as there are GPUs"
        )
    device = f"cuda:{local}" if kind == "cuda" else "cpu"
    if kind == "cuda":
        torch.cuda.set_device(local)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    return device


def leave() -> None:
    """Leave the group, if there is one.

    Examples
    --------
    >>> leave()
    """
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, 0 for the main one.

    Examples
    --------
    >>> rank()
    0
    """
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are.

    Examples
    --------
    >>> world()
    1
    """
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process writes files and speaks.

    Examples
    --------
    >>> is_main()
    True
    """
    return rank() == 0


@contextmanager
def main_first() -> Iterator[bool]:
    """The main process goes through the block before the others do; yields whether this is the main one.

    Examples
    --------
    >>> with main_first() as main:
    ...     main
    True
    """
    if world() > 1 and not is_main():
        dist.barrier()
    yield is_main()
    if world() > 1 and is_main():
        dist.barrier()


def from_main(value: T) -> T:
    """Give every process what the main one has.

    Parameters
    ----------
    value : object
        Anything that pickles.

    Returns
    -------
    object

    Examples
    --------
    >>> from_main([1])
    [1]
    """
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gathered(values: list[T]) -> list[T]:
    """Join the lists of all processes, the main one's first.

    Parameters
    ----------
    values : list

    Returns
    -------
    list

    Examples
    --------
    >>> gathered([1, 2])
    [1, 2]
    """
    if world() == 1:
        return values
    lists: list[list[T]] = [[] for _ in range(world())]
    dist.all_gather_object(lists, values)
    return [value for part in lists for value in part]


@torch.no_grad()
def share_weights(module: nn.Module) -> None:
    """Give every process the weights and buffers of the main one.

    Parameters
    ----------
    module : Module

    Examples
    --------
    >>> share_weights(nn.Linear(2, 2))
    """
    if world() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter], further: Tensor) -> Tensor:
    """Sum the gradients of all processes in place, in one message.

    A process whose step failed takes part all the same, with gradients that are not numbers: then no process
    steps, and none waits in vain.

    Parameters
    ----------
    parameters : iterable of Parameter
        The same in every process; one without a gradient counts as zero.
    further : Tensor, shape (N,), float32
        More to be summed.

    Returns
    -------
    Tensor, shape (N,)
        The sums of ``further``.

    Examples
    --------
    >>> sum_gradients([], torch.ones(2))
    tensor([1., 1.])
    """
    if world() == 1:
        return further
    learnt = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in learnt:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    grads = [parameter.grad for parameter in learnt if parameter.grad is not None]
    flat = torch.cat([*(grad.flatten().float() for grad in grads), further])
    dist.all_reduce(flat)
    sizes = [grad.numel() for grad in grads]
    *summed, further = flat.split([*sizes, len(further)])
    for grad, total in zip(grads, summed, strict=True):
        # In place: a fused optimizer takes it for granted that weight and gradient lie alike in memory.
        grad.copy_(total.view(grad.shape))
    return further
