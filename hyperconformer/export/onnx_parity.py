"""Do the ONNX files say what PyTorch says? Asked before they may stand under their name."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.onnx_backend import OnnxRecogniser
from hyperconformer.models.asr import ASR

SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 40.0
# Root mean square of a difference over that of the truth: two ways of rounding in float32.
EXACT = 1e-4
# In eight bits: by how many nats a chosen label may be less probable than the best, and how rarely by more.
NATS, WORST_SHARE = 0.5, 0.01
STEPS, HYPOTHESES = 6, 3
HARMONICS, CHANGES_PER_SECOND = 24, 8


@dataclass
class Comparison:
    """What was found so far.

    Attributes
    ----------
    int8 : bool
        Then it is the choice of labels that counts, over all that was compared; else every number.
    choices, strange : int
        Labels that were chosen, and how many of them are too improbable.

    Examples
    --------
    >>> comparison = Comparison(int8=False)
    >>> comparison.add("logits", torch.ones(1, 2), torch.tensor([[1.0, 2.0]]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: ONNX and PyTorch differ by 0.45 of their size in logits: nothing ...
    """

    int8: bool
    choices: int = 0
    strange: int = 0

    def add(self, what: str, ours: Tensor, truth: Tensor) -> None:
        """Compare log-probabilities or logits over the last axis, or of float32 any numbers."""
        if ours.shape != truth.shape or not ours.isfinite().all():
            raise InputError(
                f"ONNX gives {what} of shape {tuple(ours.shape)} or no numbers: nothing was written"
            )
        if not self.int8:
            off = float((ours - truth).double().norm() / truth.double().norm().clamp(min=1e-12))
            if off > EXACT:
                raise InputError(
                    f"ONNX and PyTorch differ by {off:.2g} of their size in {what}: nothing was written"
                )
            return
        chosen = truth.log_softmax(-1).gather(-1, ours.argmax(-1, keepdim=True)).squeeze(-1)
        self.choices += chosen.numel()
        self.strange += int((truth.log_softmax(-1).amax(-1) - chosen > NATS).sum())

    def conclude(self, what: str) -> None:
        """See that few labels are too improbable."""
        if self.strange > max(1, WORST_SHARE * self.choices):
            raise InputError(
                f"in eight bits {self.strange} of {self.choices} labels of {what} are {NATS} nats less "
                "probable than the best: nothing was written; export without --int8"
            )


def check_parity(
    model: ASR, recogniser: OnnxRecogniser, say: Callable[[str], object] = lambda line: None
) -> None:
    """Hold ONNX files against the model that they were made of.

    Batches of one to four recordings of 0.1 to 40 s, noise and something like speech, padded, against each
    recording alone; and decoder steps from their cache, as a beam takes them.

    Parameters
    ----------
    model : ASR
        In evaluation mode, on the CPU, in float32.
    recogniser : OnnxRecogniser
    say : callable
        Hears what is done next, line by line.

    Raises
    ------
    InputError
        If they differ.

    Examples
    --------
    >>> class Deaf(OnnxRecogniser):
    ...     def __init__(self):
    ...         self.int8 = False
    ...     def hear(self, samples, lengths):
    ...         return torch.zeros(len(samples), 3, 8), torch.zeros(len(samples), 3, 12), lengths
    >>> from hyperconformer.models.config import ModelConfig
    >>> check_parity(ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2)).eval(), Deaf())
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: ONNX counts other frames than PyTorch in 0.10 s ...: nothing was written
    """
    with torch.inference_mode():
        _check_hearing(model, recogniser, say)
        say(f"comparing {STEPS} steps of the decoder, and whole sentences")
        _check_decoder(model, recogniser)


def signals(longest: float = LONGEST_SECONDS, seed: int = 0) -> Iterator[list[Tensor]]:
    """Make batches of random lengths, noise and something like speech in turns.

    Parameters
    ----------
    longest : float
        Seconds.
    seed : int

    Yields
    ------
    list of Tensor, each of shape (S,)

    Examples
    --------
    >>> [len(batch) for batch in signals(longest=1.0)]
    [1, 1, 2, 3, 4]
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(count: int) -> list[float]:
        """Lengths whose logarithms are spread evenly."""
        parts = torch.rand(count, generator=generator).tolist()
        return [SHORTEST_SECONDS * (longest / SHORTEST_SECONDS) ** part for part in parts]

    speech = cycle((False, True))
    for seconds in ([SHORTEST_SECONDS], [longest], drawn(2), drawn(3), drawn(4)):
        yield [_signal(round(SAMPLE_RATE * length), next(speech), generator) for length in seconds]


def _signal(samples: int, speech: bool, generator: torch.Generator) -> Tensor:
    return speech_like(samples, generator) if speech else 0.1 * torch.randn(samples, generator=generator)


def speech_like(samples: int, generator: torch.Generator) -> Tensor:
    """Make something that sounds a little like speech: a gliding voice through moving formants, with pauses.

    Parameters
    ----------
    samples : int
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (samples,)

    Examples
    --------
    >>> speech_like(16_000, torch.Generator().manual_seed(0)).abs().max() < 1
    tensor(True)
    """
    points = 2 + CHANGES_PER_SECOND * samples // SAMPLE_RATE

    def glide(low: float, high: float) -> Tensor:
        values = low + (high - low) * torch.rand(1, 1, points, generator=generator)
        return torch.nn.functional.interpolate(values, samples, mode="linear", align_corners=True).flatten()

    pitch_hz, loudness = glide(80.0, 240.0), glide(-0.3, 1.0).clamp(min=0.0)
    formants_hz = [glide(300.0, 900.0), glide(900.0, 2400.0), glide(2400.0, 3600.0)]
    phase = (2 * math.pi / SAMPLE_RATE * pitch_hz.double()).cumsum(0)
    voice = torch.zeros(samples)
    for harmonic in range(1, HARMONICS + 1):
        gain = sum(torch.exp(-(((harmonic * pitch_hz - formant) / 120.0) ** 2)) for formant in formants_hz)
        voice += gain * (harmonic * phase).sin().float()
    return 0.1 * loudness * voice + 1e-3 * torch.randn(samples, generator=generator)


def _check_hearing(model: ASR, recogniser: OnnxRecogniser, say: Callable[[str], object]) -> None:
    comparison = Comparison(recogniser.int8)
    frames = model.config.mixer_options.get("max_frames")
    longest = LONGEST_SECONDS if frames is None else min(LONGEST_SECONDS, (frames - 1) / 25)
    batches = list(signals(longest))
    say(f"comparing {len(batches)} batches of {SHORTEST_SECONDS:g} to {longest:g} s with PyTorch")
    for batch in batches:
        lengths_b = torch.tensor([len(samples) for samples in batch])
        memory_btd, log_probs_btv, frames_b = recogniser.hear(
            pad_sequence(batch, batch_first=True), lengths_b
        )
        for row, samples in enumerate(batch):
            where = f"{len(samples) / SAMPLE_RATE:.2f} s of audio in a batch of {len(batch)}"
            truth_td, padding = model.encode(samples[None], lengths_b[row : row + 1])
            count = padding.shape[1]
            if int(frames_b[row]) != count or memory_btd[row, count:].any():
                raise InputError(f"ONNX counts other frames than PyTorch in {where}: nothing was written")
            truth_tv = model.ctc_log_probs(truth_td)
            comparison.add(f"CTC of {where}", log_probs_btv[row : row + 1, :count], truth_tv)
            if not recogniser.int8:
                comparison.add(f"the encoder output of {where}", memory_btd[row : row + 1, :count], truth_td)
    comparison.conclude("CTC")


def _check_decoder(model: ASR, recogniser: OnnxRecogniser) -> None:
    """Steps of a growing beam, and whole sentences, over encoder output of three lengths."""
    comparison, generator = Comparison(recogniser.int8), torch.Generator().manual_seed(0)
    batch = [speech_like(round(SAMPLE_RATE * seconds), generator) for seconds in (2.0, 3.0, 0.7)]
    lengths_b = torch.tensor([len(samples) for samples in batch])
    memory_btd, padding = model.encode(pad_sequence(batch, batch_first=True), lengths_b)
    ours, truth = (decoder.start(memory_btd, padding) for decoder in (recogniser.decoder, model.decoder))
    rows = 1
    for step in range(STEPS):
        tokens_bk = _tokens(model, (len(batch), rows), generator)
        mine, ours = recogniser.decoder.step(tokens_bk, ours)
        theirs, truth = model.decoder.step(tokens_bk, truth)
        comparison.add(f"the decoder's step {step + 1} of {rows} hypotheses", mine, theirs)
        chosen_bk = torch.randint(rows, (len(batch), HYPOTHESES), generator=generator)
        ours, truth, rows = ours.select(chosen_bk), truth.select(chosen_bk), HYPOTHESES
    sentences_bl = _tokens(model, (len(batch), 2 * STEPS), generator)
    whole = [decoder(sentences_bl, memory_btd, padding) for decoder in (recogniser.decoder, model.decoder)]
    comparison.add("the decoder's sentences", *whole)
    comparison.conclude("the decoder")


def _tokens(model: ASR, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.randint(1, model.config.output_neurons, shape, generator=generator)
