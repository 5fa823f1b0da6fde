"""How large a batch may be: what a GPU has room for, found by trying."""

import logging
from collections.abc import Callable, Sequence

import torch

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.data.pipeline import Batch
from hyperconformer.errors import InputError
from hyperconformer.training import distributed
from hyperconformer.training.brain import ASRBrain
from hyperconformer.types import Utterance

logger = logging.getLogger(__name__)

CPU_HAS_NO_AUTO = (
    "--max_batch_length=auto measures a GPU: give the seconds, for instance --max_batch_length=120"
)
SHARE_OF_MEMORY = 0.9
"""The rest is for what the allocator loses between blocks of many sizes."""
STEP_DOWN = 0.85
MOST_SECONDS = 4800.0
"""Of one GPU: eight times the LibriSpeech recipes' batch, beyond which larger ones only learn more slowly."""
TOKENS_PER_SECOND = 6
"""More than people say; LibriSpeech has some four."""


def largest_fit(
    peak_bytes: Callable[[float], int], room: int, first: float, most: float = MOST_SECONDS
) -> float:
    """Find the largest batch whose peak memory leaves some room, by two tries, a line and a proof.

    Parameters
    ----------
    peak_bytes : callable
        Seconds of a batch to the peak of memory of a step; raises ``torch.OutOfMemoryError``.
    room : int
        Bytes that may be used.
    first, most : float
        Seconds of the smallest try, and of the largest.

    Returns
    -------
    float
        Seconds, a multiple of ``first`` or of ten seconds.

    Raises
    ------
    InputError
        If not even the smallest try fits.

    Examples
    --------
    >>> largest_fit(lambda seconds: 1000 + int(10 * seconds), room=7999, first=30.0)
    690.0
    """
    try:
        low, high = peak_bytes(first), peak_bytes(2 * first)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"a GPU has no room for {2 * first:g} s of audio: lower --max_utterance_length"
        ) from error
    slope = max(1.0, (high - low) / first)
    seconds = max(first, min(most, (room - low) / slope + first) // 10 * 10)
    while seconds > first:
        try:
            if peak_bytes(seconds) <= room:
                break
        except torch.OutOfMemoryError:
            pass
        seconds = max(first, STEP_DOWN * seconds // 10 * 10)
    return seconds


def fit_batch_seconds(brain: ASRBrain, longest_seconds: float) -> float:
    """Measure how many padded seconds a batch of this run may have, over all processes and pieces.

    Parameters
    ----------
    brain : ASRBrain
        On its GPU; its weights stay as they are.
    longest_seconds : float
        Of a training utterance.

    Returns
    -------
    float

    Raises
    ------
    InputError
        On a CPU, whose memory other programs share.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> fit_batch_seconds(SimpleNamespace(device="cpu"), 15.0)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --max_batch_length=auto measures a GPU: give the seconds, ...
    """
    if torch.device(brain.device).type != "cuda":
        raise InputError(CPU_HAS_NO_AUTO)
    settings = brain.settings
    slowest = 100 / min(settings.speeds)
    longest = slowest * min(longest_seconds, settings.max_utterance_length)
    lengths = (longest, max(1.0, longest / 8))
    # Adam keeps two numbers a weight, a moving average a third.
    kept = sum(weight.numel() * weight.element_size() for weight in brain.model.parameters())
    free, _ = torch.cuda.mem_get_info()
    room = int(SHARE_OF_MEMORY * free) - (2 + (settings.ema_decay > 0)) * kept

    def peak_bytes(seconds: float) -> int:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for length in lengths:
            _dry_step(brain, max(1, int(seconds / settings.views / length)), length)
        return torch.cuda.max_memory_allocated() - before

    mine = largest_fit(peak_bytes, room, first=settings.views * longest)
    seconds = min(distributed.gathered([mine]))
    torch.cuda.empty_cache()
    total = seconds * distributed.world() * settings.grad_accumulation_factor
    logger.info("max_batch_length: auto is %g s, %g s at a time on each GPU", total, seconds)
    return total


def _dry_step(brain: ASRBrain, utterances: int, seconds: float) -> None:
    """A forward and a backward pass over noise."""
    try:
        with brain.training_ctx:
            losses = brain.objective(_noise(brain, utterances, seconds))
        losses.total_b.mean().backward()
    finally:
        brain.optimizer.zero_grad(set_to_none=True)


def _noise(brain: ASRBrain, count: int, seconds: float) -> Batch:
    settings = brain.settings
    samples, tokens = int(seconds * SAMPLE_RATE), max(1, int(seconds * TOKENS_PER_SECOND))
    tokens = max(1, min(tokens, int(settings.max_batch_tokens / settings.views / count)))
    nobody: Sequence[Utterance] = [Utterance(f"{n}", seconds, "", "", "") for n in range(count)]
    return Batch(
        utterances=tuple(nobody),
        # On the device at once: this much noise takes a processor longer than the step.
        samples_bs=0.1 * torch.randn(count, samples, device=brain.device),
        lengths_b=torch.full((count,), samples),
        tokens_bl=torch.randint(3, settings.model.output_neurons, (count, tokens)),
        token_lengths_b=torch.full((count,), tokens),
        plans_bp=torch.zeros(count, settings.views * settings.augment.plan_size, dtype=torch.long),
    )
