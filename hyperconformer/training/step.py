"""One step of learning: the pieces of a batch to gradients, summed over processes, to new weights or none."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hyperconformer.data.augment import keyed_rng
from hyperconformer.training import distributed

NAMED = 8
"""Utterances that a warning names."""


class Losses(Protocol):
    """What an objective says of a batch: the total and its parts, each of shape (B,).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> losses: Losses = SimpleNamespace(total_b=torch.ones(2), parts={"ctc": torch.ones(2)})
    >>> losses.total_b.sum()
    tensor(2.)
    """

    @property
    def total_b(self) -> Tensor:
        """What is learnt from."""
        ...

    @property
    def parts(self) -> Mapping[str, Tensor]:
        """What it is made of, by name."""
        ...


@dataclass(frozen=True)
class WholeLosses:
    """Losses that are not made of parts, in nats.

    Attributes
    ----------
    total_b : Tensor, shape (B,)
        Of a sentence the sum over its tokens and its end.

    Examples
    --------
    >>> WholeLosses(torch.tensor([2.0])).parts
    {}
    """

    total_b: Tensor

    @property
    def parts(self) -> Mapping[str, Tensor]:
        """It has none."""
        return {}


class Piece(Protocol):
    """What a step asks of a batch, or of a piece of one.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> piece: Piece = SimpleNamespace(names=("7-1-0000", "7-1-0001"), audio_seconds=9.5)
    >>> len(piece.names)
    2
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Of its utterances."""
        ...

    @property
    def audio_seconds(self) -> float:
        """Their audio, without padding."""
        ...


class StepSampler(Protocol):
    """Plans the batches of every epoch; a batch is one step of training for all processes.

    Examples
    --------
    >>> from hyperconformer.data.sampler import BatchSampler
    >>> sampler: StepSampler = BatchSampler([1.0, 2.0], max_batch_seconds=2)
    >>> sampler.steps
    2
    """

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Plan an epoch, and begin with batch ``start`` of it."""
        ...

    @property
    def steps(self) -> int:
        """Batches of the planned epoch."""
        ...

    def size(self, step: int) -> int:
        """What a batch holds, of all processes together."""
        ...

    def pieces(self, step: int) -> Sequence[Any]:
        """What this process does of a batch."""
        ...


class StepLoader(Protocol):
    """Batches in the order of a sampler that knows its steps; each has ``names`` and ``faults``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from hyperconformer.data.sampler import BatchSampler
    >>> loader: StepLoader = SimpleNamespace(steps=BatchSampler([1.0, 2.0], max_batch_seconds=2))
    >>> loader.steps.steps
    2
    """

    @property
    def steps(self) -> StepSampler:
        """What plans them."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield this process's pieces."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of a step, the same in every process.

    Attributes
    ----------
    sums : dict of str to float
        Of the total loss (``loss``) and its parts over the batch.
    utterances, audio_seconds : float
        That were learnt from, and their audio without padding.
    norm : float
        Of the gradient, before it was clipped.
    out_of_memory : bool
        Whether a process lacked memory.
    stop : bool
        Whether a process was asked to stop.
    rescaled : bool
        In float16, whether it only overflowed because of the scale, which is smaller next time.
    faults : int
        Utterances that could not be read.
    too_many_faults : bool
        Whether these are more than may be.
    certain, possible : sequence of str
        Utterances of this process that a failed step is, or may be, due to.

    Examples
    --------
    >>> Outcome({"loss": math.nan}, 2, 9.0, norm=1.0, certain=["a"]).learnt
    False
    """

    sums: dict[str, float]
    utterances: float
    audio_seconds: float
    norm: float
    out_of_memory: bool = False
    stop: bool = False
    rescaled: bool = False
    faults: int = 0
    too_many_faults: bool = False
    certain: Sequence[str] = ()
    possible: Sequence[str] = ()

    @property
    def learnt(self) -> bool:
        """Whether the weights moved."""
        finite = math.isfinite(self.sums["loss"]) and math.isfinite(self.norm)
        return finite and self.utterances > 0 and not self.out_of_memory and not self.too_many_faults

    @property
    def reason(self) -> str:
        """Why the step changed nothing."""
        if self.out_of_memory:
            return "not enough memory"
        if not self.utterances:
            return "no utterance of it could be read"
        return f"loss {self.sums['loss']:g}, gradient norm {self.norm:g}"

    @property
    def remedy(self) -> str:
        """What to do if it happens again and again."""
        if self.out_of_memory:
            return "give a smaller --max_batch_length, or --grad_accumulation_factor=2"
        return "look at these utterances, or try a lower --lr or --precision=fp32"


def named(names: Sequence[str]) -> str:
    """The first of many names, for a warning.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    str

    Examples
    --------
    >>> named(["a", "b"]), named([str(n) for n in range(10)])
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7 and 2 more')
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


class Learner:
    """Takes steps.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
    objective : callable
        A piece to its losses; run under ``context``.
    part_names : sequence of str
        Parts of the loss, in order; an objective may lack some.
    max_grad_norm : float
    scaler : GradScaler
        Enabled for float16.
    context : callable
        Makes the context of a forward pass, for instance autocast.

    Examples
    --------
    >>> model = nn.Linear(1, 1)
    >>> learner = Learner(model, torch.optim.SGD(model.parameters(), 0.1), None)
    >>> learner(pieces=[], size=1, key=(1,)).reason
    'no utterance of it could be read'
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        objective: Callable[[Any], Losses] | None,
        *,
        part_names: Sequence[str] = (),
        max_grad_norm: float = math.inf,
        scaler: torch.amp.GradScaler | None = None,
        context: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.model, self.optimizer, self.objective = model, optimizer, objective
        self.part_names, self.max_grad_norm = tuple(part_names), max_grad_norm
        self.scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
        self.context = context or torch.enable_grad()
        if self.scaler.is_enabled():
            # It is made when it is first used, and a process may have no piece of the first batch.
            self.scaler.scale(torch.zeros(1, device=_device(model)))

    def __call__(
        self,
        pieces: Sequence[Piece],
        size: int,
        key: tuple[int | str, ...],
        *,
        stop: bool = False,
        faults: int = 0,
        allowed_faults: int = 0,
    ) -> Outcome:
        """Learn from one batch, or change nothing where a number is not finite or memory lacks.

        Parameters
        ----------
        pieces : sequence of Piece
            This process's part of the batch.
        size : int
            Utterances of the whole batch, by which the sum of their losses is divided.
        key : tuple
            Of the step's random numbers; process and piece are added to it.
        stop : bool
            Whether this process was asked to stop.
        faults : int
            Utterances of this process's part that could not be read.
        allowed_faults : int
            How many of them, of all processes, still leave a step to be taken.

        Returns
        -------
        Outcome
        """
        self.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(len(self.part_names) + 1, device=_device(self.model))
        losses: list[tuple[Piece, Tensor]] = []
        for number, piece in enumerate(pieces):
            rng = keyed_rng(*key, distributed.rank(), number)
            torch.manual_seed(int(rng.integers(2**62)))
            try:
                losses.append((piece, self._backward(piece, size, sums)))
            except torch.OutOfMemoryError:
                break
        out_of_memory = len(losses) < len(pieces)
        if out_of_memory:
            # Outside the handler: its traceback holds on to what is to be freed.
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        heard = [sum(len(piece.names) for piece, _ in losses), sum(p.audio_seconds for p, _ in losses)]
        counts = torch.tensor([*heard, out_of_memory, stop, faults], dtype=torch.float32, device=sums.device)
        outcome = self._finish(torch.cat((sums, counts)), allowed_faults)
        if outcome.learnt:
            return outcome
        certain, possible = _suspects(losses, pieces)
        return replace(outcome, certain=certain, possible=possible)

    def _backward(self, piece: Piece, size: int, sums: Tensor) -> Tensor:
        assert self.objective is not None
        with self.context:
            losses = self.objective(piece)
            share = losses.total_b.sum() / size
        self.scaler.scale(share).backward()
        total_b = losses.total_b.detach()
        parts = losses.parts
        zero = total_b.new_zeros(())
        sums += torch.stack([total_b.sum(), *(parts.get(n, zero).detach().sum() for n in self.part_names)])
        return total_b

    def _finish(self, message: Tensor, allowed_faults: int) -> Outcome:
        message = distributed.sum_gradients(self.model.parameters(), message)
        learnt = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        scales = self.scaler.is_enabled() and bool(learnt)
        if scales:
            self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(learnt, self.max_grad_norm).to(message.device)
        # The only place where the processor waits for the device.
        *sums, utterances, seconds, failed, stop, faults, norm_value = torch.cat(
            (message, norm[None])
        ).tolist()
        outcome = Outcome(
            dict(zip(("loss", *self.part_names), sums, strict=True)),
            utterances,
            seconds,
            norm_value,
            out_of_memory=failed > 0,
            stop=stop > 0,
            faults=int(faults),
            too_many_faults=faults > allowed_faults,
        )
        if outcome.learnt and learnt:
            self.scaler.step(self.optimizer)
        if not scales:
            return outcome
        before = self.scaler.get_scale()
        self.scaler.update()
        rescaled = not outcome.learnt and not outcome.out_of_memory and self.scaler.get_scale() < before
        return replace(outcome, rescaled=rescaled and math.isfinite(outcome.sums["loss"]))


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _suspects(losses: Sequence[tuple[Piece, Tensor]], pieces: Sequence[Piece]) -> tuple[list[str], list[str]]:
    """Utterances whose loss is not finite, or of the piece that lacked memory; and all others."""
    certain = [
        name
        for piece, total_b in losses
        for name, good in zip(piece.names, total_b.isfinite().tolist(), strict=True)
        if not good
    ]
    if len(losses) < len(pieces):
        certain += pieces[len(losses)].names
    return certain, [name for piece in pieces for name in piece.names]
