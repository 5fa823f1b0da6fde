"""A step learns from the whole batch however it is cut, or changes nothing and says why."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hyperconformer.training.moving_average import MovingAverage
from hyperconformer.training.step import Learner


def piece(*rows: float, names: str = "abc", seconds: float = 1.0) -> SimpleNamespace:
    x = torch.tensor([[row, row] for row in rows], dtype=torch.float64)
    return SimpleNamespace(names=tuple(names[: len(rows)]), audio_seconds=seconds, x=x)


def learner(model: nn.Module, **options) -> Learner:
    def objective(batch: SimpleNamespace) -> SimpleNamespace:
        loss_b: Tensor = model(batch.x).square().sum(dim=1)
        return SimpleNamespace(total_b=loss_b, parts={"square": loss_b})

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return Learner(model, optimizer, objective, part_names=["square"], **options)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(2, 3, dtype=torch.float64)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


def test_how_a_batch_is_cut_does_not_matter(model: nn.Module) -> None:
    start, results = weights(model), []
    for pieces in ([piece(1, 2, 3)], [piece(1), piece(2, 3, names="bc")]):
        nn.utils.vector_to_parameters(start.clone(), model.parameters())
        outcome = learner(model)(pieces, 3, (0,))
        assert outcome.learnt and outcome.utterances == 3
        results.append((weights(model), outcome.sums["loss"], outcome.norm))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-12, atol=1e-12)
    assert results[0][1:] == pytest.approx(results[1][1:]) and not torch.equal(results[0][0], start)


def test_the_loss_is_a_mean_over_all_utterances_of_the_batch(model: nn.Module) -> None:
    batch = piece(1, 2, 3)
    expected = torch.autograd.grad(model(batch.x).square().sum() / 3, list(model.parameters()))
    outcome = learner(model)([batch], 3, (0,))
    norm = torch.cat([gradient.flatten() for gradient in expected]).norm()
    assert outcome.norm == pytest.approx(norm.item())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_nothing_and_names_its_utterances(model, bad: float) -> None:
    take, before = learner(model), weights(model)
    outcome = take([piece(1, names="a"), piece(2, bad, names="bc")], 3, (0,))
    assert not outcome.learnt and outcome.suspects == ["c"]
    assert torch.equal(weights(model), before) and not take.optimizer.state
    assert take([piece(1)], 1, (1,)).learnt and not torch.equal(weights(model), before)


def test_a_gradient_that_is_not_finite_counts_too(model: nn.Module) -> None:
    def objective(batch: SimpleNamespace) -> SimpleNamespace:
        # The root's slope at zero is infinite, the loss itself is zero.
        loss_b = (0 * model(batch.x)).abs().sqrt().sum(dim=1)
        return SimpleNamespace(total_b=loss_b, parts={})

    before = weights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    outcome = Learner(model, optimizer, objective)([piece(1, 2)], 2, (0,))
    assert outcome.sums["loss"] == 0 and not outcome.learnt and outcome.suspects == ["a", "b"]
    assert torch.equal(weights(model), before)


def test_want_of_memory_skips_the_step_and_names_the_piece(model: nn.Module) -> None:
    def objective(batch: SimpleNamespace) -> SimpleNamespace:
        if len(batch.x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        loss_b = model(batch.x).square().sum(dim=1)
        return SimpleNamespace(total_b=loss_b, parts={})

    before = weights(model)
    take = Learner(model, torch.optim.SGD(model.parameters(), lr=0.1), objective)
    outcome = take([piece(1, names="a"), piece(2, 3, names="bc")], 3, (0,))
    assert outcome.out_of_memory and not outcome.learnt and outcome.suspects == ["b", "c"]
    assert torch.equal(weights(model), before)


def test_random_numbers_depend_on_the_key_alone(model: nn.Module) -> None:
    drawn = []

    def objective(batch: SimpleNamespace) -> SimpleNamespace:
        drawn.append(torch.rand(1).item())
        loss_b = model(batch.x).square().sum(dim=1)
        return SimpleNamespace(total_b=loss_b, parts={})

    take = Learner(model, torch.optim.SGD(model.parameters(), lr=0.0), objective)
    for key in ((1, 2), (1, 3), (1, 2)):
        torch.rand(7)
        take([piece(1), piece(2)], 2, key)
    assert drawn[:2] == drawn[4:] and len(set(drawn)) == 4


def test_a_moving_average_takes_in_every_step(model: nn.Module) -> None:
    average = MovingAverage(model, decay=0.9)
    expected = weights(model)
    for step in range(1, 200):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * step)
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights(model)
    own = weights(model)
    with average.applied():
        torch.testing.assert_close(weights(model), expected)
    assert torch.equal(weights(model), own)
    state = average.state_dict()
    other = MovingAverage(model, decay=0.9)
    other.load_state_dict(state)
    assert all(map(torch.equal, other.weights, average.weights))
