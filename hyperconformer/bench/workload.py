"""A system of ours, built and fed: what the stopwatch is held against."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperconformer.bench.cases import Case, Kind
from hyperconformer.constants import BEGIN, END, SAMPLE_RATE
from hyperconformer.inference.onnx_backend import OnnxRecogniser
from hyperconformer.mixers import make_mixer
from hyperconformer.models.asr import ASR
from hyperconformer.models.classifier import Classifier, Texts
from hyperconformer.text import SPECIAL_TOKENS
from hyperconformer.training.objectives import joint_loss

# As in the LibriSpeech recipes.
CTC_WEIGHT = 0.3
BETAS, EPS, LEARNING_RATE = (0.9, 0.98), 1e-9, 1e-3

HOP_SAMPLES = SAMPLE_RATE // 100
TOKENS_PER_SECOND = 4


@dataclass(frozen=True)
class Workload:
    """A system and its input.

    Attributes
    ----------
    module : nn.Module
        All that has weights.
    inputs : tuple of Tensor
        What it is given; those that require a gradient get one.
    forward : callable
        Runs it: the output, or the scalar loss of a training step.
    optimizer : callable
        Makes the optimizer of a training step from the weights.

    Examples
    --------
    >>> linear, x = nn.Linear(2, 3), torch.ones(1, 2)
    >>> Workload(linear, (x,), lambda: linear(x)).parameters
    9
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    forward: Callable[[], Tensor]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = torch.optim.AdamW

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def train(self) -> "Workload":
        """Switch to training: with dropout."""
        self.module.train()
        return self

    def clear_gradients(self) -> None:
        """Forget all gradients."""
        self.module.zero_grad(set_to_none=True)
        for tensor in self.inputs:
            tensor.grad = None


class Speech(NamedTuple):
    """A batch of synthetic utterances of one length, the same for every system.

    Attributes
    ----------
    samples_bs : Tensor, shape (B, S)
        Noise, one sample short of the next frame.
    lengths_b : Tensor, shape (B,), long
    tokens_bl : Tensor, shape (B, L), long
    token_lengths_b : Tensor, shape (B,), long

    Examples
    --------
    >>> speech(Case("step", "attention", "step", seconds=2.0, batch_size=3)).tokens_bl.shape
    torch.Size([3, 8])
    """

    samples_bs: Tensor
    lengths_b: Tensor
    tokens_bl: Tensor
    token_lengths_b: Tensor

    def begun(self) -> Tensor:
        """The tokens behind a begin symbol, (B, L + 1)."""
        return torch.nn.functional.pad(self.tokens_bl, (1, 0), value=BEGIN)

    def ended(self) -> Tensor:
        """The tokens before an end symbol, (B, L + 1)."""
        return torch.nn.functional.pad(self.tokens_bl, (0, 1), value=END)


def noise(case: Case, *shape: int) -> Tensor:
    """Draw normal noise that depends on the seed and the shape alone.

    Parameters
    ----------
    case : Case
        Gives the seed and the device.
    *shape : int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> case = Case("mixer", "identity", "forward", seconds=1.0, batch_size=1)
    >>> torch.equal(noise(case, 2, 3), noise(case, 2, 3))
    True
    """
    return torch.randn(shape, generator=torch.Generator().manual_seed(case.seed)).to(case.device)


def speech(case: Case) -> Speech:
    """Draw the utterances and tokens of a training step.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Speech

    Examples
    --------
    >>> speech(Case("step", "attention", "step", seconds=1.0, batch_size=1)).lengths_b
    tensor([15999])
    """
    generator = torch.Generator().manual_seed(case.seed)
    batch, samples = case.batch_size, case.features * HOP_SAMPLES - 1
    count = max(1, round(TOKENS_PER_SECOND * case.seconds))
    tokens = torch.randint(3, case.sizes.output_neurons, (batch, count), generator=generator)
    return Speech(
        0.1 * noise(case, batch, samples),
        torch.full((batch,), samples, device=case.device),
        tokens.to(case.device),
        torch.full((batch,), count, device=case.device),
    )


def _mixer(case: Case) -> Workload:
    sizes = case.sizes
    mixer = make_mixer(case.mixer, sizes.d_model, sizes.heads).to(case.device)
    x_btd = noise(case, case.batch_size, case.frames, sizes.d_model).requires_grad_()
    padding = torch.zeros(x_btd.shape[:2], dtype=torch.bool, device=case.device)
    return Workload(mixer, (x_btd,), lambda: mixer(x_btd, padding))


def _encoder(case: Case) -> Workload:
    model = ASR(case.config())
    measured = nn.ModuleList([model.front_end, model.encoder]).to(case.device)
    features_bfm = noise(case, case.batch_size, case.features, model.config.n_mels)
    frames_b = torch.full((case.batch_size,), case.features, device=case.device)
    return Workload(measured, (features_bfm,), lambda: model.encode_features(features_bfm, frames_b)[0])


def _hear(case: Case) -> Workload:
    model, batch = ASR(case.config()).eval(), speech(case)
    inputs = batch.samples_bs, batch.lengths_b
    if not case.is_onnx:
        return Workload(model, inputs, lambda: model.ctc_log_probs(model.encode(*inputs)[0]))
    recogniser = OnnxRecogniser.load(Path(case.files) / case.system, threads=case.threads)
    return Workload(model, inputs, lambda: recogniser.hear(*inputs)[1])


def _step(case: Case) -> Workload:
    model, batch = ASR(case.config()).to(case.device), speech(case)
    begun, ended = batch.begun(), batch.ended()

    def loss() -> Tensor:
        with torch.no_grad():
            features_bfm, frames_b = model.features(batch.samples_bs, batch.lengths_b)
        outputs = model(features_bfm, frames_b, begun)
        return joint_loss(outputs, batch.tokens_bl, batch.token_lengths_b, ended, ctc_weight=CTC_WEIGHT).mean

    def optimizer(weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights, lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=0.0)

    return Workload(model, (batch.samples_bs,), loss, optimizer)


def _text(case: Case) -> Workload:
    config = case.classifier()
    model, generator = Classifier(config).to(case.device), torch.Generator().manual_seed(case.seed)
    lengths = [case.frames]
    if config.texts == 2:
        # With the symbol between them a pair is as long as a single text.
        first = max(1, (case.frames - 1) // 2)
        lengths = [first, max(1, case.frames - 1 - first)]
    texts = []
    for length in lengths:
        shape = case.batch_size, length
        tokens_bl = torch.randint(SPECIAL_TOKENS, config.output_neurons, shape, generator=generator)
        lengths_b = torch.full(shape[:1], length, device=case.device)
        texts.append(Texts(tokens_bl.to(case.device), lengths_b))
    return Workload(model, tuple(tensor for text in texts for tensor in text), lambda: model(*texts))


BUILDERS: dict[Kind, Callable[[Case], Workload]] = {
    "mixer": _mixer,
    "encoder": _encoder,
    "hear": _hear,
    "step": _step,
    "text": _text,
}
