"""The stopwatch and the scales: time and memory of one case in this process."""

import time
import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hyperconformer.bench.cases import Case, Outcome, Part
from hyperconformer.bench.checks import autocast, check_compiled, check_runtime
from hyperconformer.bench.gauges import peak_memory, start_memory, synchronise
from hyperconformer.bench.systems import build
from hyperconformer.bench.workload import Workload

WARM_UPS = 2
# A slow case stops repeating after this share of its time limit, but not before so many runs.
PATIENCE, FEWEST_REPEATS = 0.4, 3
# SpeechBrain's default.
MAX_GRAD_NORM = 5.0

# Time of the processor, of all threads together, hardly knows what neighbours do.
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

Run = Callable[[], Tensor]


def _prepared(case: Case, load: Workload) -> Run:
    """The forward pass in the case's mode."""
    return load.forward if case.mode == "eager" else torch.compile(load.forward)


def _forward(case: Case, load: Workload) -> Callable[[], None]:
    load.module.eval()
    run = _prepared(case, load)
    if case.mode != "eager":
        check_compiled(case, load, run)
    if case.is_onnx:
        check_runtime(case, load)

    def once() -> None:
        # Not inference_mode: in bf16 on a CPU it slows SpeechBrain's einsum eightfold, and ours not at all.
        with torch.no_grad(), autocast(case):
            run()

    return once


def _backward(case: Case, load: Workload) -> Callable[[], None]:
    """Forward and backward from noise as the output's gradient: the mean square of a layer norm has none."""
    run = _prepared(case, load.train())
    gradient: list[Tensor] = []

    def once() -> None:
        with autocast(case):
            out = run()
        if not gradient:
            gradient.append(torch.randn_like(out))
        out.backward(gradient[0])

    return once


def _step(case: Case, load: Workload) -> Callable[[], None]:
    run = _prepared(case, load.train())
    weights: list[nn.Parameter] = list(load.module.parameters())
    optimizer = load.optimizer(weights)
    scaler = torch.GradScaler(case.device_type, enabled=case.precision == "fp16")

    def once() -> None:
        with autocast(case):
            loss = run()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(weights, MAX_GRAD_NORM)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    return once


PARTS: dict[Part, Callable[[Case, Workload], Callable[[], None]]] = {
    "forward": _forward,
    "backward": _backward,
    "step": _step,
}


def saved_bytes(forward: Run, known: list[Tensor]) -> int:
    """Count what a forward pass keeps for the backward pass, each storage once.

    Parameters
    ----------
    forward : callable
    known : list of Tensor
        Weights and inputs: they are there anyway and not counted.

    Returns
    -------
    int
        Bytes.

    Examples
    --------
    >>> x, weight = torch.ones(10, requires_grad=True), torch.ones(10, requires_grad=True)
    >>> saved_bytes(lambda: (x * weight).exp(), [x, weight])  # float32 x 10: the result of exp
    40
    """
    skipped = {tensor.untyped_storage().data_ptr() for tensor in known}
    # What a graph within the forward pass kept is gone with it.
    alive: weakref.WeakSet[_Kept] = weakref.WeakSet()

    def keep(tensor: Tensor) -> _Kept:
        kept = _Kept(tensor)
        alive.add(kept)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        out = forward()
    storages = {kept.storage.data_ptr(): kept.storage.nbytes() for kept in alive}
    del out
    return sum(size for address, size in storages.items() if address not in skipped)


class _Kept:
    """A tensor that a graph holds on to."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    @property
    def storage(self) -> torch.UntypedStorage:
        return self.tensor.untyped_storage()


def _timed(case: Case, load: Workload, once: Callable[[], None], deadline: float) -> list[float]:
    """Milliseconds of every run."""
    times: list[float] = []
    clock = CLOCKS[case.clock]
    while len(times) < case.repeats and (len(times) < FEWEST_REPEATS or time.perf_counter() < deadline):
        synchronise(case)
        start = clock()
        once()
        synchronise(case)
        times.append(1000 * (clock() - start))
        load.clear_gradients()
    return times


def measure(case: Case) -> Outcome:
    """Build a case's system and measure it.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Outcome

    Examples
    --------
    >>> found = measure(Case("mixer", "identity", "forward", seconds=1.0, batch_size=1, repeats=5))
    >>> found.status, len(found.times_ms), found.parameters
    ('ok', 5, 0)
    """
    deadline = time.perf_counter() + PATIENCE * case.limit_seconds
    load = build(case)
    once = PARTS[case.part](case, load)
    for _ in range(WARM_UPS):
        once()
        load.clear_gradients()
    times_ms = _timed(case, load, once, deadline)
    # Apart from the timing: memory that was just given back is slow to get again.
    start = start_memory(case)
    once()
    peak = peak_memory(case, start)
    load.clear_gradients()
    kept = None
    if case.part != "forward":
        known = [*load.module.parameters(), *load.module.buffers(), *load.inputs]
        with autocast(case):
            kept = saved_bytes(_prepared(case, load), known)
    return Outcome(case, "ok", "", tuple(times_ms), peak, kept, load.parameters)
