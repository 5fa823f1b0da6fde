"""What keeps less for backward gives what the plain way gives: outputs, gradients, pieces, masks."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.bench.measure import saved_bytes
from hyperconformer.models.encoder import EncoderLayer
from hyperconformer.nn import pieces
from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.feedforward import ACTIVATIONS, FeedForward
from hyperconformer.nn.mirror import mirror
from hyperconformer.nn.recompute import convolution_of, linear_of, normed_linear
from hyperconformer.nn.subsampling import Subsampling
from tests.helpers import assert_same_with_gradients, randomise


def mirrored(x_btfc: Tensor, ends: list[int]) -> Tensor:
    """``mirror`` in loops, for whole utterances."""
    rows = []
    for own, end in zip(x_btfc, ends, strict=True):
        frames = [own[min(1, end - 1)], *own[:end], own[max(end - 2, 0)], *own[end + 1 :]]
        frames += [torch.zeros_like(own[0])] * (len(own) + 2 - len(frames))
        with_band = torch.stack(frames)
        rows.append(torch.cat((with_band[:, 1:2], with_band), dim=1))
    return torch.stack(rows)


@pytest.mark.parametrize("ends", [[5, 3, 1], [4, 5, 2], [1, 2, 5]])
def test_mirror_equals_loops(ends: list[int]) -> None:
    x, own = torch.randn(3, 5, 4, 2, dtype=torch.float64), torch.tensor(ends)
    assert_same_with_gradients(nn.Identity(), lambda x: mirror(x, own), lambda x: mirrored(x, ends), x)


@pytest.mark.parametrize("edges", [(a, b) for a in (False, True) for b in (False, True)])
@pytest.mark.parametrize("ends", [[5, 3, 2], [9, -4, 2], [0, 5, 4]])
def test_gradient_of_a_mirrored_piece(edges: tuple[bool, bool], ends: list[int]) -> None:
    x = torch.randn(3, 5, 4, 2, dtype=torch.float64, requires_grad=True)
    first, last = edges
    assert torch.autograd.gradcheck(lambda x: mirror(x, torch.tensor(ends), first=first, last=last), (x,))


@pytest.mark.parametrize("values", [200, 700, 3000])
def test_front_end_in_pieces_equals_the_whole(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = randomise(Subsampling(8, 4, channels=(3, 2), dropout=0.0)).double()
    lengths = torch.tensor([41, 1, 2, 38, 23])
    x = torch.randn(5, 41, 8, dtype=torch.float64)

    def whole(x: Tensor) -> Tensor:
        monkeypatch.setattr(pieces, "PIECE_VALUES", 10**9)
        return module(x, lengths)[0]

    def cut(x: Tensor) -> Tensor:
        monkeypatch.setattr(pieces, "PIECE_VALUES", values)
        return module(x, lengths)[0]

    assert_same_with_gradients(module, cut, whole, x)


@torch.no_grad()
def test_an_encoder_in_pieces_equals_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    module = randomise(EncoderLayer(8, 2, 32, 7, mixer="hypermixing", mixer_options={}, dropout=0.1))
    module.double().eval()
    x, padding = torch.randn(3, 41, 8, dtype=torch.float64), torch.zeros(3, 41, dtype=torch.bool)
    padding[1, 30:] = True
    uncut = module(x, padding)
    monkeypatch.setattr(pieces, "PIECE_VALUES", 100)
    torch.testing.assert_close(module(x, padding), uncut)


def linear_case() -> tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor]:
    module = nn.ModuleList([nn.LayerNorm(4), nn.Linear(4, 6)])
    norm, linear = module
    return (
        module,
        lambda x: normed_linear(norm, linear, x, F.silu),
        lambda x: linear(F.silu(norm(x))),
        torch.randn(2, 3, 4),
    )


def convolution_case() -> tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor]:
    conv = nn.Conv2d(3, 5, 3, stride=2)
    return (
        conv,
        lambda x: convolution_of(torch.tanh, (x,), conv.weight, conv.bias, 2),
        lambda x: conv(torch.tanh(x)),
        torch.randn(2, 3, 9, 8),
    )


@pytest.mark.parametrize("case", [linear_case, convolution_case])
def test_a_product_of_something_equals_its_plain_twin(case) -> None:
    module, kept, plain, x = case()
    module.double()
    assert_same_with_gradients(module, kept, plain, x.double())


@pytest.mark.parametrize("case", [linear_case, convolution_case])
def test_a_product_of_something_under_autocast(case) -> None:
    module, kept, plain, x = case()
    results = []
    for run in (kept, plain):
        probe = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = run(probe)
        gradients = torch.autograd.grad(out.float().square().sum(), [probe, *module.parameters()])
        results.append([out, *gradients])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)


def test_only_what_is_learnt_gets_a_gradient() -> None:
    weight, x = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3)
    out = linear_of(torch.relu, (x,), weight, None)
    (gradient,) = torch.autograd.grad(out.sum(), weight)
    torch.testing.assert_close(gradient, x.relu().sum(0).expand(2, 3))


@pytest.mark.parametrize("frozen", ["0.weight", "0.bias", "1.weight", "1.bias"])
def test_what_is_frozen_changes_no_other_gradient(frozen: str) -> None:
    module, kept, plain, x = linear_case()
    module.double().get_parameter(frozen).requires_grad_(False)
    learnt = [p for p in module.parameters() if p.requires_grad]
    strided = torch.randn(2, 6, 3, dtype=torch.float64).transpose(1, 2)
    results = [torch.autograd.grad(run(x.double()), learnt, strided) for run in (kept, plain)]
    torch.testing.assert_close(*results)


def test_a_feed_forward_keeps_its_input_its_hidden_values_and_a_mask() -> None:
    module, x = FeedForward(16, 64, dropout=0.1, activation="silu"), torch.randn(2, 5, 16)
    x = x.requires_grad_()
    known = [x, *module.parameters()]
    assert saved_bytes(lambda: module(x), known) == 10 * 64 * 4 + 10 * 64


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="activation 'relu' is not one of silu, gelu"):
        FeedForward(16, 64, dropout=0.1, activation="relu")


def test_a_batch_of_none_passes_the_front_end() -> None:
    module = Subsampling(8, 4, channels=(3, 2), dropout=0.0)
    assert module(torch.zeros(0, 9, 8), torch.zeros(0, dtype=torch.long))[0].shape == (0, 3, 4)


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_a_feed_forward_gives_the_same_with_and_without_gradients(activation) -> None:
    module, x = FeedForward(16, 64, dropout=0.1, activation=activation).eval(), torch.randn(2, 5, 16)
    with torch.no_grad():
        assert torch.equal(module(x), module(x))
        without = module(x)
    torch.testing.assert_close(module(x), without)


def test_dropout_without_gradients_still_drops_in_training() -> None:
    module, x = FeedForward(16, 64, dropout=0.5, activation="silu"), torch.randn(2, 5, 16)
    with torch.no_grad():
        assert not torch.equal(module(x), module(x))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_its_share(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(200_000))
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(Dropout(p).eval()(torch.ones(9)), torch.ones(9))


def test_dropout_follows_the_seed_and_its_neighbours_are_independent() -> None:
    torch.manual_seed(3)
    one = Dropout(0.5)(torch.ones(40_000))
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5)(torch.ones(40_000)), one)
    for lag in (1, 2, 3, 4):
        together = ((one[lag:] > 0) == (one[:-lag] > 0)).float().mean().item()
        assert together == pytest.approx(0.5, abs=0.02)


def test_closing_a_residual_equals_the_sum_of_its_parts() -> None:
    dropout, x, branch = Dropout(0.3), torch.randn(2, 3, 5), torch.randn(2, 3, 5, requires_grad=True)
    torch.manual_seed(1)
    closed = dropout.add(x, branch, 0.5)
    torch.manual_seed(1)
    torch.testing.assert_close(closed, x + 0.5 * dropout(branch))
    torch.testing.assert_close(dropout.eval().add(x, branch, 0.5), x + 0.5 * branch)


@pytest.mark.parametrize("p", [-0.1, 0.999999, 1.0])
def test_impossible_dropout_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=f"to 0.99998, got {p}"):
        Dropout(p)


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_a_feed_forward_with_dropout_equals_its_formula(activation) -> None:
    module = FeedForward(6, 24, dropout=0.25, activation=activation).double()

    def fast(x: Tensor) -> Tensor:
        torch.manual_seed(2)
        return module(x)

    def slow(x: Tensor) -> Tensor:
        torch.manual_seed(2)
        kept = module.dropout.mask(torch.empty(2, 5, 24))
        assert 0 < kept.float().mean() < 1
        active = ACTIVATIONS[activation](module.expand(module.norm(x)))
        return module.project(active * kept * module.dropout.scale)

    assert_same_with_gradients(module, fast, slow, torch.randn(2, 5, 6, dtype=torch.float64))
