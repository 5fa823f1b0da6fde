"""A step learns from the whole batch however it is cut, or changes nothing and says why."""

import math
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hyperconformer.training.moving_average import MovingAverage
from hyperconformer.training.step import Learner


def piece(*rows: float, names: Sequence[str] = "abc", seconds: float = 1.0) -> SimpleNamespace:
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
    assert not outcome.learnt and outcome.certain == ["c"]
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
    assert (
        outcome.sums["loss"] == 0
        and not outcome.learnt
        and not outcome.certain
        and outcome.possible == ["a", "b"]
    )
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
    assert outcome.out_of_memory and not outcome.learnt and outcome.certain == ["b", "c"]
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


def test_unreadable_utterances_beyond_what_is_allowed_leave_the_step_untaken(model: nn.Module) -> None:
    take, before = learner(model), weights(model)
    outcome = take([piece(1)], 2, (0,), faults=1)
    assert outcome.too_many_faults and not outcome.learnt and torch.equal(weights(model), before)
    assert take([piece(1)], 2, (0,), faults=1, allowed_faults=1).learnt


def test_a_batch_of_which_nothing_could_be_read_moves_nothing(model: nn.Module) -> None:
    take, before = learner(model), weights(model)
    take([piece(1)], 1, (0,))
    moved = weights(model)
    outcome = take([], 1, (1,), faults=1, allowed_faults=9)
    assert not outcome.learnt and "could be read" in outcome.reason
    assert torch.equal(weights(model), moved) and not torch.equal(moved, before)


class TestInHalfPrecision:
    """The scaler of float16, on a CPU: what overflows by its scale alone is no fault, all else is."""

    def take(self, model: nn.Module, scale: float = 4.0) -> Learner:
        def objective(batch: SimpleNamespace) -> SimpleNamespace:
            if batch.names == ("memory",):
                raise torch.OutOfMemoryError("CUDA out of memory")
            loss_b = model(batch.x).square().sum(dim=1)
            return SimpleNamespace(total_b=loss_b, parts={})

        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        return Learner(model, optimizer, objective, scaler=scaler)

    def test_the_scale_leaves_no_trace(self, model: nn.Module) -> None:
        start, after = weights(model), []
        for scale in (1.0, 1024.0):
            nn.utils.vector_to_parameters(start.clone(), model.parameters())
            assert self.take(model, scale=scale)([piece(1, 2)], 2, (0,)).learnt
            after.append(weights(model))
        torch.testing.assert_close(after[0], after[1])

    def test_an_overflow_of_the_scale_lowers_it_and_is_no_fault(self, model: nn.Module) -> None:
        single = nn.Linear(2, 3)
        take, before = self.take(single, scale=2.0**127), weights(single)
        batch = piece(9)
        batch.x = batch.x.float()
        outcome = take([batch], 1, (0,))
        assert outcome.rescaled and not outcome.learnt and torch.equal(weights(single), before)
        assert take.scaler.get_scale() == 2.0**126

    def test_a_loss_that_is_not_finite_is_a_fault(self, model: nn.Module) -> None:
        outcome = self.take(model)([piece(math.nan)], 1, (0,))
        assert not outcome.rescaled and not outcome.learnt and outcome.certain == ["a"]

    def test_want_of_memory_or_of_pieces_does_not_spoil_the_next_step(self, model: nn.Module) -> None:
        for spoil in ([piece(1), piece(2, names=("memory",))], []):
            take = self.take(model)
            assert not take(spoil, 2, (0,)).learnt
            assert take([piece(1)], 1, (1,)).learnt
