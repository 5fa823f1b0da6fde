"""The loss against sums over all paths, and against the decoder's own log-probabilities."""

import itertools

import pytest
import torch

from hyperconformer.data.pipeline import IGNORE
from hyperconformer.models.asr import Outputs
from hyperconformer.training.objectives import ctc_frames_needed, joint_loss


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label != 0)


@pytest.mark.parametrize("tokens", [(3,), (3, 4), (3, 3)])
def test_loss_equals_the_sum_over_all_paths(tokens: tuple[int, ...]) -> None:
    frames, size = 4, 5
    ctc = torch.randn(1, frames, size, dtype=torch.float64, requires_grad=True)
    attention = torch.randn(1, len(tokens) + 1, size, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[*tokens, 2]])
    loss = joint_loss(
        Outputs(ctc, attention, torch.tensor([frames])),
        torch.tensor([tokens]),
        torch.tensor([len(tokens)]),
        target,
        ctc_weight=0.3,
    )
    log_probs = ctc[0].log_softmax(-1)
    paths = [p for p in itertools.product(range(size), repeat=frames) if collapse(p) == tokens]
    scores = torch.stack([sum(log_probs[t, label] for t, label in enumerate(path)) for path in paths])
    slow_ctc = -scores.logsumexp(0)
    slow_attention = -attention[0].log_softmax(-1)[torch.arange(len(tokens) + 1), target[0]].sum()
    slow = 0.3 * slow_ctc + 0.7 * slow_attention
    torch.testing.assert_close(loss.mean, slow)
    for ours, truth in zip(
        torch.autograd.grad(loss.mean, (ctc, attention)),
        torch.autograd.grad(slow, (ctc, attention)),
        strict=True,
    ):
        torch.testing.assert_close(ours, truth)


def test_half_precision_logits_are_scored_in_float32() -> None:
    outputs = Outputs(torch.randn(1, 6, 5).bfloat16(), torch.randn(1, 2, 5).bfloat16(), torch.tensor([6]))
    loss = joint_loss(outputs, torch.tensor([[3]]), torch.tensor([1]), torch.tensor([[3, 2]]), ctc_weight=0.3)
    assert loss.mean.dtype == torch.float32


def test_label_smoothing_is_off_at_zero_and_ignores_padding() -> None:
    attention = torch.randn(1, 3, 5)
    target = torch.tensor([[3, 2, IGNORE]])
    outputs = Outputs(torch.randn(1, 6, 5), attention, torch.tensor([6]))
    smooth = joint_loss(
        outputs, torch.tensor([[3]]), torch.tensor([1]), target, ctc_weight=0.0, label_smoothing=0.1
    )
    log_probs = attention[0, :2].log_softmax(-1)
    picked = log_probs[torch.arange(2), target[0, :2]]
    torch.testing.assert_close(smooth.mean, -(0.9 * picked + 0.1 * log_probs.mean(-1)).sum())


@pytest.mark.parametrize(("tokens", "frames"), [([], 0), ([3], 1), ([3, 3], 3), ([3, 4, 4, 4], 6)])
def test_frames_needed_is_exact(tokens: list[int], frames: int) -> None:
    assert ctc_frames_needed(tokens) == frames
    for length in (frames, frames - 1):
        if length < 1:
            continue
        possible = any(collapse(p) == tuple(tokens) for p in itertools.product((0, 3, 4), repeat=length))
        assert possible == (length >= frames)
