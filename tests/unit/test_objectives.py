"""The loss against sums over all paths, plain loops, and the decoder's own log-probabilities."""

import itertools

import pytest
import torch

from hyperconformer.data.pipeline import IGNORE
from hyperconformer.models.asr import Outputs
from hyperconformer.training.objectives import ctc_frames_needed, joint_loss
from hyperconformer.training.views import consistency, in_views


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


def slow_consistency(logits: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Half of both divergences, one frame and one label at a time; the target of each learns nothing."""
    count, losses = len(lengths), []
    for row, frames in enumerate(lengths):
        total = torch.zeros((), dtype=logits.dtype)
        for t in range(frames):
            for here, there in ((row, row + count), (row + count, row)):
                target = logits[there, t].log_softmax(-1).detach()
                learner = logits[here, t].log_softmax(-1)
                for v in range(logits.shape[2]):
                    total = total + target[v].exp() * (target[v] - learner[v]) / 2
        losses.append(total)
    return torch.stack(losses)


@pytest.mark.parametrize("scale", [0.1, 1.0, 9.0])
def test_consistency_equals_plain_loops_with_gradients(scale: float) -> None:
    logits = (scale * torch.randn(6, 5, 4, dtype=torch.float64)).requires_grad_()
    lengths = [5, 1, 3]
    fast, slow = consistency(logits, torch.tensor(2 * lengths)), slow_consistency(logits, lengths)
    torch.testing.assert_close(fast, slow)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for ours, truth in zip(
        torch.autograd.grad(fast @ weights, logits), torch.autograd.grad(slow @ weights, logits), strict=True
    ):
        torch.testing.assert_close(ours, truth)
        assert ours[1, 1:].abs().sum() == 0


def test_consistency_is_zero_for_equal_views_and_reads_no_padding() -> None:
    view = torch.randn(2, 4, 5)
    # What normalises the logits must not count: one view is shifted.
    shifted = torch.cat([view, view + 3])
    torch.testing.assert_close(
        consistency(shifted, torch.tensor([4, 2] * 2)), torch.zeros(2), atol=1e-5, rtol=0
    )
    logits = torch.randn(4, 4, 5, requires_grad=True)
    lengths = torch.tensor([4, 2] * 2)
    clean = consistency(logits, lengths)
    with torch.no_grad():
        noisy = logits.clone()
        noisy[[1, 3], 2:] = torch.nan
    noisy.requires_grad_()
    dirty = consistency(noisy, lengths)
    assert torch.equal(dirty, clean)
    (grad,) = torch.autograd.grad(dirty.sum(), noisy)
    assert torch.equal(grad, torch.autograd.grad(clean.sum(), logits)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_consistency_keeps_one_tensor_for_backward(dtype: torch.dtype) -> None:
    logits = torch.randn(4, 30, 200).to(dtype).requires_grad_()
    kept: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss = consistency(logits, torch.full((4,), 30))
    assert loss.dtype == torch.float32
    assert sum(kept.values()) <= 1.1 * (4 * 30 * 200 * 4 // 2)


def two_views(seed: int) -> tuple[Outputs, tuple[torch.Tensor, ...]]:
    """Three utterances in two views, with CTC asked of two layers on the way."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    frames, lengths = 7, [7, 5, 6]
    outputs = Outputs(
        draw(6, frames, 5), draw(6, 4, 5), torch.tensor(2 * lengths), (draw(6, frames, 5), draw(6, frames, 5))
    )
    tokens = torch.tensor([[3, 3, 4], [4, 0, 0], [3, 4, 0]])
    target = torch.tensor([[3, 3, 4, 2], [4, 2, IGNORE, IGNORE], [3, 4, 2, IGNORE]])
    return outputs, (tokens, torch.tensor([3, 1, 2]), target)


def slow_ctc(logits: torch.Tensor, tokens: tuple[int, ...]) -> torch.Tensor:
    """Sum over all paths of one utterance (T, V), of those labels that occur."""
    log_probs = logits.log_softmax(-1)
    paths = itertools.product({0, *tokens}, repeat=len(logits))
    scores = [
        sum(log_probs[t, label] for t, label in enumerate(path)) for path in paths if collapse(path) == tokens
    ]
    return -torch.stack(scores).logsumexp(0)


def slow_joint_loss(outputs: Outputs, reference: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Every utterance, view and layer by itself, with the weights below."""
    tokens, counts, target = reference
    divergences = slow_consistency(outputs.ctc_btv, outputs.lengths_b[:3].tolist())
    losses = []
    for row in range(3):
        count = int(counts[row])
        wanted = tuple(tokens[row, :count].tolist())
        total = 0.3 * 0.2 * divergences[row]
        for view in (row, row + 3):
            frames = int(outputs.lengths_b[view])
            last = slow_ctc(outputs.ctc_btv[view, :frames], wanted)
            on_the_way = sum(slow_ctc(logits[view, :frames], wanted) for logits in outputs.inter_ctc) / 2
            log_probs = outputs.attention_blv[view, : count + 1].log_softmax(-1)
            attention = -log_probs[torch.arange(count + 1), target[row, : count + 1]].sum()
            total = total + (0.3 * (0.6 * last + 0.4 * on_the_way) + 0.7 * attention) / 2
        losses.append(total)
    return torch.stack(losses)


WEIGHTS = {"ctc_weight": 0.3, "inter_ctc_weight": 0.4, "cr_ctc_weight": 0.2}


def test_all_parts_together_equal_plain_loops_with_gradients() -> None:
    outputs, reference = two_views(0)
    loss, slow_b = joint_loss(outputs, *reference, **WEIGHTS), slow_joint_loss(outputs, reference)
    torch.testing.assert_close(loss.total_b, slow_b)
    assert list(loss.parts) == ["ctc", "attention", "inter_ctc", "cr_ctc"]
    assert all(part_b.shape == (3,) for part_b in loss.parts.values())
    inputs = outputs.ctc_btv, outputs.attention_blv, *outputs.inter_ctc
    weights = torch.tensor([1.0, 0.5, -2.0], dtype=torch.float64)
    for ours, truth in zip(
        torch.autograd.grad(loss.total_b @ weights, inputs),
        torch.autograd.grad(slow_b @ weights, inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, truth)


def test_parts_are_there_only_if_in_use_and_do_not_change_the_others() -> None:
    outputs, reference = two_views(1)
    one = Outputs(outputs.ctc_btv[:3], outputs.attention_blv[:3], outputs.lengths_b[:3])
    plain = joint_loss(one, *reference, ctc_weight=0.3)
    assert list(plain.parts) == ["ctc", "attention"]
    torch.testing.assert_close(plain.total_b, 0.3 * plain.parts["ctc"] + 0.7 * plain.parts["attention"])
    # The weights of what is not there must not take anything from what is.
    assert torch.equal(joint_loss(one, *reference, **WEIGHTS).total_b, plain.total_b)
    tapped = one._replace(inter_ctc=(outputs.ctc_btv[:3],))
    torch.testing.assert_close(joint_loss(tapped, *reference, **WEIGHTS).total_b, plain.total_b)
    twice = Outputs(*(in_views(x, 2) for x in one[:3]))
    torch.testing.assert_close(joint_loss(twice, *reference, **WEIGHTS).total_b, plain.total_b)


def test_a_batch_of_views_equals_one_by_one() -> None:
    outputs, (tokens, counts, target) = two_views(2)
    together = joint_loss(outputs, tokens, counts, target, **WEIGHTS)
    for row in range(3):
        frames, count = int(outputs.lengths_b[row]), int(counts[row])
        rows = [row, row + 3]
        alone = joint_loss(
            Outputs(
                outputs.ctc_btv[rows, :frames],
                outputs.attention_blv[rows, : count + 1],
                outputs.lengths_b[rows],
                tuple(x[rows, :frames] for x in outputs.inter_ctc),
            ),
            tokens[[row], :count],
            counts[[row]],
            target[[row], : count + 1],
            **WEIGHTS,
        )
        for name, part_b in alone.parts.items():
            torch.testing.assert_close(together.parts[name][row], part_b[0])
        torch.testing.assert_close(together.total_b[row], alone.total_b[0])
