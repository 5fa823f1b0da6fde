"""Our Muon takes the steps that PyTorch's takes, and those of a stack's matrices as if each came alone."""

import pytest
import torch
from torch import nn

from hyperconformer.training import muon
from hyperconformer.training.muon import Muon, orthogonalised

SHAPES = [(6, 10), (10, 6), (6, 10), (7, 7), (1, 5)]


def moved(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: int = 4) -> None:
    generator = torch.Generator().manual_seed(3)
    for step in range(steps):
        for weight in weights:
            weight.grad = 10.0**step * torch.randn(weight.shape, generator=generator)
        optimizer.step()


def drawn(shapes: list[tuple[int, ...]]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_steps_are_those_of_pytorch(monkeypatch, precision: torch.dtype) -> None:
    monkeypatch.setattr(muon, "_precision", lambda device: precision)
    ours, theirs, before = drawn(SHAPES), drawn(SHAPES), drawn(SHAPES)
    moved(Muon(ours, lr=0.02, weight_decay=0.1), ours)
    moved(torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), theirs)
    for own, other, start in zip(ours, theirs, before, strict=True):
        # Theirs is in bfloat16.
        assert (own - other).norm() <= (1e-4 if precision == torch.bfloat16 else 0.03) * (
            other - start
        ).norm()


def test_each_matrix_of_a_stack_turns_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    stack = torch.randn(2, 3, 4, 9, generator=generator)
    stack[0, 0] *= 1000.0
    other = torch.randn(9, 4, generator=generator)
    together, turned = orthogonalised([stack, other])
    assert together.shape == stack.shape and turned.shape == other.shape
    for found, matrix in zip(together.flatten(0, 1), stack.flatten(0, 1), strict=True):
        torch.testing.assert_close(found, orthogonalised([matrix])[0], rtol=0.02, atol=0.02)
    values = torch.linalg.svdvals(torch.cat([together.flatten(0, 1), turned.mT[None]]))
    assert values.min() > 0.5 and values.max() < 1.3


def test_weights_without_a_gradient_stay_and_zeros_do_no_harm() -> None:
    still, zero = drawn([(3, 4), (3, 4)])
    zero.grad = torch.zeros_like(zero)
    before = [weight.detach().clone() for weight in (still, zero)]
    Muon([still, zero], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(still, before[0]) and torch.equal(zero, 0.99 * before[1])


def test_a_kernel_of_one_frame_moves_as_its_matrix() -> None:
    (matrix,), (kernel,) = drawn([(6, 4)]), drawn([(6, 4, 1)])
    for optimizer, weight in ((Muon([matrix], lr=0.1), matrix), (Muon([kernel], lr=0.1), kernel)):
        moved(optimizer, [weight])
    assert torch.equal(kernel[..., 0], matrix)
