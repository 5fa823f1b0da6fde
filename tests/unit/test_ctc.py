"""The lean CTC loss against PyTorch's own on whole log-probs, and against sums over all paths."""

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperconformer.training import ctc
from hyperconformer.training.ctc import ctc_loss, plain_ctc_loss

CTC = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Case = tuple[Tensor, Tensor, Tensor, Tensor]


def random_case(
    seed: int, *, utterances: int, frames: int, tokens: int, vocabulary: int, scale: float = 2.0
) -> Case:
    """Random logits in float64, references with many repeats, and lengths of all kinds, zero included."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    logits = scale * torch.randn(utterances, frames, vocabulary, generator=generator, dtype=torch.float64)
    return (
        logits,
        integers(1, min(vocabulary, 2 + tokens), utterances, tokens),
        integers(0, frames + 1, utterances),
        integers(0, tokens + 1, utterances),
    )


def scored(function: CTC, case: Case, upstream_b: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Losses, and the gradient for the logits of their sum weighted by ``upstream_b``."""
    logits = case[0].clone().requires_grad_()
    loss_b = function(logits, *case[1:])
    upstream_b = torch.ones_like(loss_b) if upstream_b is None else upstream_b
    return loss_b.detach(), torch.autograd.grad(loss_b, logits, upstream_b)[0]


def assert_equal_to_plain(case: Case, upstream_b: Tensor | None = None, **tolerance: float) -> None:
    for ours, truth in zip(
        scored(ctc_loss, case, upstream_b), scored(plain_ctc_loss, case, upstream_b), strict=True
    ):
        torch.testing.assert_close(ours, truth, **tolerance)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    utterances=st.integers(1, 4),
    frames=st.integers(1, 14),
    tokens=st.integers(0, 6),
    vocabulary=st.integers(3, 11),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    rows=st.integers(1, 30),
)
def test_values_and_gradients_equal_the_plain_loss(seed: int, rows: int, **sizes: int) -> None:
    case = random_case(seed, **sizes)
    upstream_b = torch.randn(sizes["utterances"], dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctc, "CPU_PIECE", rows * sizes["vocabulary"])
        assert_equal_to_plain(case, upstream_b, rtol=1e-9, atol=1e-9)


def test_float32_at_a_real_size_is_no_less_exact_than_the_plain_loss() -> None:
    logits, tokens, *_ = random_case(0, utterances=3, frames=90, tokens=20, vocabulary=500)
    logits = logits.float()
    rest = tokens, torch.tensor([90, 61, 19]), torch.tensor([20, 11, 20])
    upstream_b = torch.tensor([0.3, -2.0, 5.0])
    truth_b, true_grad = scored(plain_ctc_loss, (logits.double(), *rest), upstream_b.double())
    loss_b, grad = scored(ctc_loss, (logits, *rest), upstream_b)
    _, plain_grad = scored(plain_ctc_loss, (logits, *rest), upstream_b)
    torch.testing.assert_close(loss_b.double(), truth_b, rtol=1e-5, atol=1e-5)
    error, plain_error = ((x - true_grad).norm() / true_grad.norm() for x in (grad, plain_grad))
    assert error <= min(1e-4, 1.1 * plain_error)


def test_gradients_equal_finite_differences() -> None:
    logits, tokens, *_ = random_case(1, utterances=3, frames=5, tokens=3, vocabulary=5)
    tokens[0] = 3
    lengths, token_lengths = torch.tensor([5, 4, 2]), torch.tensor([3, 0, 1])
    assert torch.autograd.gradcheck(
        lambda x: ctc_loss(x, tokens, lengths, token_lengths), logits.requires_grad_()
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision_is_rounded_once(dtype: torch.dtype, autocast: bool) -> None:
    logits, *rest = random_case(2, utterances=4, frames=30, tokens=8, vocabulary=40)
    half = logits.to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss_b, grad = scored(ctc_loss, (half, *rest))
    truth_b, true_grad = scored(plain_ctc_loss, (half.double(), *rest))
    assert (loss_b.dtype, grad.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(loss_b.double(), truth_b, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad.double(), true_grad, rtol=torch.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize("empty", [(1, 0), (2, 3)])
def test_an_empty_reference_wants_only_blanks(empty: tuple[int, int]) -> None:
    logits = torch.randn(empty[0], 4, 5, dtype=torch.float64)
    tokens = torch.full(empty, 3)
    case = logits, tokens, torch.full(empty[:1], 4), torch.zeros(empty[:1], dtype=torch.long)
    torch.testing.assert_close(scored(ctc_loss, case)[0], -logits.log_softmax(2)[:, :, 0].sum(1))
    assert_equal_to_plain(case)


def test_too_few_frames_and_padding_teach_nothing() -> None:
    logits = torch.randn(3, 6, 5)
    tokens = torch.tensor([[3, 3, 3], [3, 4, 3], [4, 4, 4]])
    case = logits, tokens, torch.tensor([4, 3, 4]), torch.tensor([3, 3, 2])
    loss_b, grad = scored(ctc_loss, case)
    assert (loss_b == 0).tolist() == [True, False, False]
    assert not grad[0].any() and not grad[1, 3:].any() and not grad[2, 4:].any()
    assert (grad[1, :3] != 0).any(dim=1).all()


def test_what_stands_in_the_padding_is_not_read() -> None:
    logits = torch.randn(2, 6, 5)
    tokens = torch.tensor([[3, 4, 4], [4, 1, 2]])
    lengths, token_lengths = torch.tensor([6, 4]), torch.tensor([3, 1])
    truth = scored(ctc_loss, (logits, tokens, lengths, token_lengths))
    for padding in (0, 4, -100, 10**6):
        padded = tokens.clone()
        padded[1, 1:] = padding
        noisy = logits.clone()
        noisy[1, 4:] = 1e4 * padding
        for ours, true in zip(scored(ctc_loss, (noisy, padded, lengths, token_lengths)), truth, strict=True):
            assert torch.equal(ours, true)


def test_a_blank_within_a_reference_means_what_it_means_to_pytorch() -> None:
    # PyTorch forbids it and, where it comes last, gets its own gradient wrong.
    logits, *_ = random_case(3, utterances=2, frames=9, tokens=4, vocabulary=6)
    tokens = torch.tensor([[3, 0, 3, 0], [0, 0, 4, 4]])
    assert_equal_to_plain((logits, tokens, torch.tensor([9, 8]), torch.tensor([3, 4])))


@pytest.mark.parametrize("where", [(1, 4), (1, 3), (0, 0), (2, 1)])
def test_impossible_labels_are_summed_over_all_paths(where: tuple[int, int]) -> None:
    frames, size, tokens = 4, 5, (3, 1)
    logits = torch.randn(1, frames, size, dtype=torch.float64)
    logits[(0, *where)] = -torch.inf
    loss_b, grad = scored(
        ctc_loss, (logits, torch.tensor([tokens]), torch.tensor([frames]), torch.tensor([2]))
    )
    probabilities = logits[0].softmax(-1)
    posterior = torch.zeros_like(probabilities)
    for path in itertools.product(range(size), repeat=frames):
        if tuple(label for label, _ in itertools.groupby(path) if label) == tokens:
            steps = range(frames), path
            posterior[steps] += probabilities[steps].prod()
    likelihood = posterior[0].sum()
    torch.testing.assert_close(loss_b, -likelihood.log()[None])
    torch.testing.assert_close(grad[0], probabilities - posterior / likelihood)


def test_a_reference_that_no_path_can_have_teaches_nothing() -> None:
    logits = torch.randn(2, 4, 5)
    logits[0, :, 3] = -torch.inf
    lengths = torch.tensor([4, 4])
    loss_b, grad = scored(ctc_loss, (logits, torch.tensor([[3], [3]]), lengths, torch.tensor([1, 1])))
    assert loss_b[0] == 0 and not grad[0].any()
    assert grad[1].any() and grad.isfinite().all()


def test_huge_logits_stay_finite() -> None:
    logits, *rest = random_case(4, utterances=3, frames=8, tokens=3, vocabulary=6, scale=1e4)
    assert_equal_to_plain((logits, *rest))
    assert scored(ctc_loss, (logits.float(), *rest))[1].isfinite().all()


def test_logits_of_any_layout() -> None:
    logits, *rest = random_case(5, utterances=3, frames=8, tokens=3, vocabulary=6)
    sideways = logits.transpose(1, 2).contiguous().transpose(1, 2)
    for ours, truth in zip(
        scored(ctc_loss, (sideways, *rest)), scored(ctc_loss, (logits, *rest)), strict=True
    ):
        torch.testing.assert_close(ours, truth)


def test_a_second_derivative_is_refused() -> None:
    logits, *rest = random_case(6, utterances=1, frames=8, tokens=2, vocabulary=6)
    logits.requires_grad_()
    (grad,) = torch.autograd.grad(ctc_loss(logits, *rest).square().sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_what_learns_nothing_or_is_compiled_takes_the_plain_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, *rest = random_case(7, utterances=2, frames=8, tokens=2, vocabulary=6)
    assert torch.equal(ctc_loss(logits, *rest), plain_ctc_loss(logits, *rest))
    logits.requires_grad_()
    with torch.no_grad():
        assert torch.equal(ctc_loss(logits, *rest), plain_ctc_loss(logits, *rest))
    assert "_CTCLoss" in type(ctc_loss(logits, *rest).grad_fn).__name__
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert "_CTCLoss" not in type(ctc_loss(logits, *rest).grad_fn).__name__


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_little_but_the_logits_is_kept(dtype: torch.dtype) -> None:
    logits = torch.randn(2, 30, 2000, dtype=dtype, requires_grad=True)
    tokens, lengths, token_lengths = (
        torch.randint(1, 2000, (2, 5)),
        torch.tensor([30, 20]),
        torch.tensor([5, 4]),
    )
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        ctc_loss(logits, tokens, lengths, token_lengths)
    assert logits.data_ptr() in kept
    assert sum(kept.values()) <= 1.1 * logits.nbytes
