"""Is the system correct that is to be measured? The speed of a wrong one is of no interest."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hyperconformer.bench.cases import INT8, Case, Kind
from hyperconformer.bench.workload import Workload
from hyperconformer.mixers import TokenMixer, make_mixer
from hyperconformer.mixers.reference import reference
from hyperconformer.models.asr import ASR
from hyperconformer.models.classifier import Classifier, Texts
from hyperconformer.models.speechbrain_compat import from_speechbrain

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Root mean square of a difference over that of the truth, for two ways to one result at each precision;
# in fp32 the convolutions of a GPU round to TF32.
TOLERANCES = {"fp32": 2e-3, "fp16": 1e-2, "bf16": 5e-2}
EXACT = 1e-9

# The log-probabilities of weights in eight bits; their files were checked for the labels they choose.
IN_EIGHT_BITS = 0.05

REFERENCE_FRAMES = 4
# Tokens of the two texts of a padded batch.
LONGER, SHORTER = 12, 7
# Two implementations of one network in float32.
SAME_WEIGHTS = 1e-5


class CheckFailed(Exception):
    """A system is not what it should be; the message says by how much.

    Examples
    --------
    >>> str(CheckFailed("mixer attention: outputs differ from the reference by 0.1"))
    'mixer attention: outputs differ from the reference by 0.1'
    """


def difference(ours: Tensor, truth: Tensor) -> float:
    """Compare two tensors by the root mean square of their difference, relative to the second's.

    Parameters
    ----------
    ours, truth : Tensor
        Of one shape.

    Returns
    -------
    float
        Infinite where a value is not finite.

    Examples
    --------
    >>> difference(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0]))
    0.2
    >>> difference(torch.zeros(1), torch.tensor([float("nan")]))
    inf
    """
    assert ours.shape == truth.shape, f"{tuple(ours.shape)} against {tuple(truth.shape)}"
    ours, truth = ours.detach().double(), truth.detach().double()
    if not bool(ours.isfinite().all() and truth.isfinite().all()):
        return float("inf")
    return float((ours - truth).norm() / truth.norm().clamp(min=1e-12))


def autocast(case: Case) -> torch.autocast:
    """Compute as a training step of the case's precision does.

    Parameters
    ----------
    case : Case

    Returns
    -------
    context manager

    Examples
    --------
    >>> case = Case("mixer", "identity", "forward", seconds=1.0, batch_size=1, precision="bf16")
    >>> with autocast(case):
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.bfloat16
    """
    dtype = PRECISIONS[case.precision]
    return torch.autocast(case.device_type, dtype=dtype, enabled=dtype != torch.float32)


def outputs_and_gradients(
    module: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor
) -> list[Tensor]:
    """Run, and go back from a projection of the output.

    Parameters
    ----------
    module : nn.Module
        Its parameters get gradients.
    run : callable
        One way of computing its output.
    x : Tensor
        Input.
    weights : Tensor, the shape of the output
        Of the projection.

    Returns
    -------
    list of Tensor
        The output, and gradients for the input and every parameter: zeros where it has no part.

    Examples
    --------
    >>> linear = nn.Linear(1, 1, bias=False)
    >>> outputs_and_gradients(linear, linear, torch.ones(1), torch.full((1,), 3.0))[2]
    tensor([[3.]])
    """
    probe = x.clone().requires_grad_()
    out = run(probe)
    inputs = [probe, *module.parameters()]
    gradients = torch.autograd.grad((out * weights).sum(), inputs, allow_unused=True)
    return [out, *(torch.zeros_like(i) if g is None else g for g, i in zip(gradients, inputs, strict=True))]


def _mixer_of(case: Case) -> tuple[TokenMixer, int]:
    """A case's mixer, with its feature size."""
    if case.kind == "text":
        config = case.classifier()
        return make_mixer(config.mixer, config.d_model, config.nhead, config.mixer_options), config.d_model
    return make_mixer(case.mixer, case.sizes.d_model, case.sizes.heads), case.sizes.d_model


def _room(case: Case) -> int:
    """Most frames that a case's mixer takes: one for texts may be made for few."""
    if case.kind != "text":
        return REFERENCE_FRAMES
    return int(case.classifier().mixer_options.get("max_frames", 2 * LONGER + 1))


def check_mixer(case: Case) -> None:
    """Hold one of our mixers against its slow reference, outputs and gradients, in float64.

    Parameters
    ----------
    case : Case
        Of one of our mixers; its sizes are used, its length is not.

    Raises
    ------
    CheckFailed
        If they differ.

    Examples
    --------
    >>> check_mixer(Case("mixer", "summary", "forward", seconds=1.0, batch_size=1))
    """
    mixer, d_model = _mixer_of(case)
    mixer = mixer.double()
    with torch.no_grad():
        # Zero biases and unit gains could hide a mistake.
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    frames = min(REFERENCE_FRAMES, _room(case))
    x, weights = torch.randn(2, 1, frames, d_model, dtype=torch.float64)
    ours = outputs_and_gradients(mixer, mixer, x, weights)
    truth = outputs_and_gradients(mixer, lambda x: reference(mixer, x[0]).unsqueeze(0), x, weights)
    names = ["outputs", "gradients of the input", *(f"gradients of {n}" for n, _ in mixer.named_parameters())]
    for name, one, other in zip(names, ours, truth, strict=True):
        if (off := difference(one, other)) > EXACT:
            raise CheckFailed(f"{case.name}: {name} differ from the reference by {off:.1e} of their size")


def check_padding(case: Case) -> None:
    """See that an utterance gives the same encoder output alone and in a padded batch.

    Parameters
    ----------
    case : Case
        Of one of our mixers; its sizes, precision and device are used, its length is not.

    Raises
    ------
    CheckFailed
        If the two differ by more than the precision's rounding.

    Examples
    --------
    >>> from hyperconformer.bench.cases import Sizes
    >>> small = Sizes(d_model=16, heads=2, layers=1)
    >>> check_padding(Case("encoder", "summary", "forward", seconds=1.0, batch_size=1, sizes=small))
    """
    model = ASR(case.config()).to(case.device).eval()
    features_bfm = torch.randn(2, 48, model.config.n_mels, device=case.device)
    frames_b = torch.tensor([48, 29], device=case.device)
    with torch.inference_mode(), autocast(case):
        batched, lengths_b = model.encode_features(features_bfm, frames_b)
        alone, _ = model.encode_features(features_bfm[1:, :29], frames_b[1:])
    own = batched[1:, : int(lengths_b[1])]
    if own.shape != alone.shape or (off := difference(own, alone)) > TOLERANCES[case.precision]:
        raise CheckFailed(f"{case.name}: an utterance differs alone and in a padded batch by {off:.1e}")


def check_text_padding(case: Case) -> None:
    """See that a text, or a pair, gives the same logits alone and in a padded batch.

    Parameters
    ----------
    case : Case
        Of ``text``; its classifier, precision and device are used, its length is not.

    Raises
    ------
    CheckFailed
        If the two differ by more than the precision's rounding.

    Examples
    --------
    >>> import json
    >>> from hyperconformer.models.config import ClassifierConfig
    >>> small = ClassifierConfig(output_neurons=9, num_classes=2, mixer="fourier", d_model=16, nhead=2)
    >>> text = json.dumps(small.to_dict())
    >>> check_text_padding(Case("text", "fourier", "forward", seconds=1.0, batch_size=1, text=text))
    """
    config = case.classifier()
    model = Classifier(config).to(case.device).eval()
    # A pair in one sequence has a symbol between its texts.
    longer = min(LONGER, _room(case) if config.texts == 1 else (_room(case) - 1) // 2)
    shorter = min(SHORTER, longer)
    lengths_b = torch.tensor([longer, shorter], device=case.device)
    shape = config.texts, 2, longer
    drawn = torch.randint(config.output_neurons, shape, device=case.device)
    batch = [Texts(tokens_bl, lengths_b) for tokens_bl in drawn]
    with torch.inference_mode(), autocast(case):
        batched = model(*batch)[1:]
        alone = model(*(Texts(text.tokens_bl[1:, :shorter], lengths_b[1:]) for text in batch))
    if (off := difference(batched, alone)) > TOLERANCES[case.precision]:
        raise CheckFailed(f"{case.name}: a text differs alone and in a padded batch by {off:.1e}")


PADDING: dict[Kind, Callable[[Case], None]] = {
    "encoder": check_padding,
    "hear": check_padding,
    "step": check_padding,
    "train": check_padding,
    "text": check_text_padding,
}


def check_upstream(case: Case) -> None:
    """See that SpeechBrain's system is the counterpart of ours: from its weights ours gives the same output.

    Parameters
    ----------
    case : Case
        Of one of SpeechBrain's mixers; its sizes are used, its length and device are not.

    Raises
    ------
    CheckFailed
        If it does not.

    Examples
    --------
    >>> from hyperconformer.bench.cases import Sizes
    >>> small = Sizes(d_model=16, heads=2, layers=1, output_neurons=50)
    >>> case = Case("mixer", "upstream:hypermixing", "forward", seconds=1.0, batch_size=1, sizes=small)
    >>> check_upstream(case)
    """
    # SpeechBrain need not be there for anything else.
    from hyperconformer.bench import upstream

    theirs = upstream.recogniser(case.config(), case.mixer).eval()
    config, weights = from_speechbrain(theirs.state_dict(), nhead=case.sizes.heads)
    ours = ASR(config).eval()
    ours.load_state_dict(weights)
    features_bfm = torch.randn(2, 48, config.n_mels)
    front_end, transformer = list[Any](theirs)[:2]
    with torch.no_grad():
        truth = transformer.encode(front_end(features_bfm), torch.ones(2))
        mine, _ = ours.encode_features(features_bfm, torch.tensor([48, 48]))
    if (off := difference(mine, truth)) > SAME_WEIGHTS:
        raise CheckFailed(f"{case.name}: with the same weights ours gives another output, off by {off:.1e}")


def check_compiled(case: Case, load: Workload, run: Callable[[], Tensor]) -> None:
    """Hold the compiled forward pass against the eager one.

    Parameters
    ----------
    case : Case
    load : Workload
        In evaluation mode.
    run : callable
        Its forward pass, compiled.

    Raises
    ------
    CheckFailed
        If they differ by more than the precision's rounding.

    Examples
    --------
    >>> case = Case("mixer", "identity", "forward", seconds=1.0, batch_size=1)
    >>> from hyperconformer.bench.systems import build
    >>> load = build(case)
    >>> check_compiled(case, load, lambda: 2 * load.forward())
    Traceback (most recent call last):
        ...
    hyperconformer.bench.checks.CheckFailed: mixer identity 1 s forward: compiled and eager differ by 1.0e+00
    """
    with torch.no_grad(), autocast(case):
        off = difference(run(), load.forward())
    if off > TOLERANCES[case.precision]:
        raise CheckFailed(f"{case.name}: compiled and eager differ by {off:.1e}")


def check_runtime(case: Case, load: Workload) -> None:
    """Hold what onnxruntime hears against what PyTorch does.

    Parameters
    ----------
    case : Case
        Of ``hear``.
    load : Workload
        Its module is the recogniser in PyTorch.

    Raises
    ------
    CheckFailed
        If they differ by more than the rounding.

    Examples
    --------
    >>> from hyperconformer.bench.cases import Sizes
    >>> from hyperconformer.bench.systems import build
    >>> small = Sizes(d_model=16, heads=2, layers=1, decoder_layers=1, output_neurons=12)
    >>> case = Case("hear", "summary", "forward", seconds=1.0, batch_size=1, sizes=small)
    >>> check_runtime(case, build(case))
    """
    model, allowed = load.module, IN_EIGHT_BITS if case.system.startswith(INT8) else TOLERANCES["fp32"]
    assert isinstance(model, ASR)
    with torch.no_grad():
        off = difference(load.forward(), model.ctc_log_probs(model.encode(*load.inputs)[0]))
    if off > allowed:
        raise CheckFailed(f"{case.name}: it differs from PyTorch by {off:.1e}")


def check(case: Case) -> None:
    """Check whatever there is to check of a case.

    Parameters
    ----------
    case : Case

    Raises
    ------
    CheckFailed
        If the system is not correct.

    Examples
    --------
    >>> check(Case("mixer", "identity", "forward", seconds=1.0, batch_size=1))
    """
    torch.manual_seed(case.seed)
    if case.kind in ("decode", "transcribe"):
        # They measure no mixer, and are checked on the models that they load.
        return
    if case.is_upstream:
        check_upstream(case)
        return
    check_mixer(case)
    if case.kind in PADDING:
        PADDING[case.kind](case)
