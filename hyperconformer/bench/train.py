"""Training on real speech by the recipe's own steps, or SpeechBrain's, fed with the very same batches."""

import hashlib
import itertools
import time
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from hyperconformer.bench.cases import Case, Outcome
from hyperconformer.bench.checks import TOLERANCES, CheckFailed, autocast, difference
from hyperconformer.bench.gauges import peak_memory, start_memory, synchronise
from hyperconformer.bench.recipe import Prepared, load
from hyperconformer.data.pipeline import Batch, Loader
from hyperconformer.errors import InputError
from hyperconformer.models.asr import ASR
from hyperconformer.models.speechbrain_compat import from_speechbrain
from hyperconformer.training.brain import ASRBrain
from hyperconformer.training.objectives import joint_loss
from hyperconformer.training.setup import compile_model, make_model, seed_everything

# Two implementations of one loss in float32, their features included.
SAME_LOSS = 1e-4
COMPARED_UTTERANCES = 2


class Trainer(Protocol):
    """What learns from batches.

    Examples
    --------
    >>> sorted(name for name in Trainer.__dict__ if not name.startswith("_"))
    ['model', 'take']
    """

    @property
    def model(self) -> nn.Module:
        """All that has weights."""
        ...

    def take(self, pieces: Sequence[Batch], epoch: int, step: int, size: int) -> None:
        """Learn from one batch."""
        ...


class RecipeBrain(ASRBrain):
    """Our training, one step at a time.

    Examples
    --------
    >>> issubclass(RecipeBrain, ASRBrain)
    True
    """

    def take(self, pieces: Sequence[Batch], epoch: int, step: int, size: int) -> None:
        """Learn from one batch, or say that nothing was learnt."""
        self._step(pieces, epoch, step, size)
        if self.progress.out_of_memory:
            raise MemoryError
        if self.progress.skipped:
            raise CheckFailed(f"step {self.progress.step} was skipped: its loss or gradient is not finite")


class Step(NamedTuple):
    """One step of training.

    Attributes
    ----------
    seconds, waited : float
        Its time, and how much of it went by waiting for data.
    audio_seconds : float
        Without padding.
    batch : str
        Its utterances and their samples.

    Examples
    --------
    >>> Step(2.0, 0.5, 120.0, "a 16000").waited
    0.5
    """

    seconds: float
    waited: float
    audio_seconds: float
    batch: str


def steps(loader: Loader, trainer: Trainer) -> Generator[Step, None, None]:
    """Train epoch after epoch, without end.

    Parameters
    ----------
    loader : Loader
    trainer : Trainer

    Yields
    ------
    Step

    Raises
    ------
    InputError
        If audio cannot be read.

    Examples
    --------
    >>> from hyperconformer.data.pipeline import SpeechDataset, make_loader
    >>> from hyperconformer.data.sampler import BatchSampler
    >>> from hyperconformer.types import Utterance
    >>> broken = SpeechDataset([Utterance("a", 1.0, "no.wav", "1", "A")], tokenizer=None)
    >>> loader = make_loader(broken, BatchSampler([1.0], max_batch_seconds=9), strict=False)
    >>> next(steps(loader, None))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: ...no.wav...
    """
    sampler = loader.steps
    for epoch in itertools.count(1):
        sampler.set_epoch(epoch)
        batches = iter(loader)
        for number in range(sampler.steps):
            begun = time.perf_counter()
            pieces = [next(batches) for _ in sampler.pieces(number)]
            waited = time.perf_counter() - begun
            for fault in (fault for piece in pieces for fault in piece.faults):
                raise InputError(fault)
            trainer.take(pieces, epoch, number, sampler.size(number))
            seconds = time.perf_counter() - begun
            heard = sum(piece.audio_seconds for piece in pieces)
            rows = (zip(piece.names, piece.lengths_b.tolist(), strict=True) for piece in pieces)
            batch = ", ".join(f"{name} {samples}" for row in rows for name, samples in row)
            yield Step(seconds, waited, heard, batch)


def _check_loss(case: Case, prepared: Prepared) -> None:
    """See that SpeechBrain's modules and losses are the counterpart of ours, on real speech.

    From their weights ours must give the same loss for utterances of the first batch, each alone.
    """
    # SpeechBrain's modules need not be loaded for ours.
    from hyperconformer.bench import upstream

    settings, statistics = prepared.settings, prepared.statistics
    theirs = upstream.Recogniser(settings.model, case.mixer, ctc_weight=settings.ctc_weight).eval()
    theirs.normalize.glob_mean, theirs.normalize.glob_std = statistics["mean"], statistics["std"]
    weights = theirs.parts.state_dict()
    config, state = from_speechbrain(weights, nhead=settings.model.nhead, n_fft=settings.model.n_fft)
    ours = ASR(config).eval()
    ours.load_state_dict(state)
    ours.normalizer.load_state_dict(statistics)
    for batch in prepared.alone(COMPARED_UTTERANCES):
        with torch.no_grad():
            truth = theirs(upstream.Labelled.of(batch, "cpu"))
            outputs = ours(*ours.features(batch.samples_bs, batch.lengths_b), batch.decoder_input())
            references = batch.tokens_bl, batch.token_lengths_b, batch.decoder_target()
            loss = joint_loss(outputs, *references, ctc_weight=settings.ctc_weight).mean
        if (off := difference(loss, truth)) > SAME_LOSS:
            where = f"{off:.1e} of {batch.names[0]}'s"
            raise CheckFailed(f"{case.name}: with the same weights ours gives another loss, off by {where}")


def _ours(case: Case, prepared: Prepared) -> Trainer:
    model = make_model(prepared.settings)
    model.normalizer.load_state_dict(prepared.statistics)
    brain = RecipeBrain(model, prepared.tokenizer, prepared.settings, _run_options(case))
    if case.mode == "compile":
        _compile(case, prepared, brain.model)
    brain.modules.train()
    return brain


def _compile(case: Case, prepared: Prepared, model: ASR) -> None:
    """Compile as training does, and hold the compiled forward pass against the eager one."""
    (batch,) = (batch.to(case.device) for batch in prepared.alone(1))
    model.eval()
    run = partial(model, *model.features(batch.samples_bs, batch.lengths_b), batch.decoder_input())
    with torch.no_grad(), autocast(case):
        eager = run()
        compile_model(model)
        off = difference(run().ctc_btv, eager.ctc_btv)
    if off > TOLERANCES[case.precision]:
        raise CheckFailed(f"{case.name}: compiled and eager differ by {off:.1e}")


def _theirs(case: Case, prepared: Prepared) -> Trainer:
    from hyperconformer.bench import upstream

    _check_loss(case, prepared)
    trainer: Trainer = upstream.RecipeBrain(prepared.settings, case.mixer, _run_options(case))
    return trainer


def _run_options(case: Case) -> dict[str, Any]:
    precisions = {"precision": case.precision, "eval_precision": case.precision}
    return {"device": case.device, **precisions, "noprogressbar": True}


def measure_training(case: Case) -> Outcome:
    """Train the system of a case, and measure its steps once they have settled.

    Parameters
    ----------
    case : Case
        Its recipe's data lies ready.

    Returns
    -------
    Outcome

    Raises
    ------
    CheckFailed
        If the system is not correct.

    Examples
    --------
    >>> case = Case("train", "identity", "step", seconds=9.0, batch_size=1)
    >>> measure_training(case)
    Traceback (most recent call last):
        ...
    AssertionError: nothing to train
    """
    assert case.recipe is not None, "nothing to train"
    prepared = load(case)
    seed_everything(case.seed)
    trainer = (_theirs if case.is_upstream else _ours)(case, prepared)
    training = steps(prepared.loader(), trainer)
    start = None
    for number in range(case.recipe.warm_up):
        if number + 1 == case.recipe.warm_up:
            # Memory that was just given back is slow to get again: the timed steps find it in use.
            start = start_memory(case)
        next(training)
    synchronise(case)
    taken = [next(training) for _ in range(case.repeats)]
    begun = time.perf_counter()
    synchronise(case)
    times = [step.seconds for step in taken]
    # The processor may be done before the device is.
    times[-1] += time.perf_counter() - begun
    training.close()
    return Outcome(
        case,
        "ok",
        times_ms=tuple(1000 * seconds for seconds in times),
        peak_bytes=peak_memory(case, start),
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        audio_seconds=sum(step.audio_seconds for step in taken),
        waited_ms=1000 * sum(step.waited for step in taken),
        batches=hashlib.sha256("\n".join(step.batch for step in taken).encode()).hexdigest(),
    )
