"""What only HyperMixing has: two lengths, two starts, and graphs without a fixed length."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hyperconformer.mixers import HyperMixing
from hyperconformer.mixers.reference import cross_reference
from tests.helpers import assert_same_with_gradients, randomise


def mixer(**dials) -> HyperMixing:
    made = HyperMixing(8, 2, **dials)
    randomise(made)
    return made


@pytest.mark.parametrize("dials", [{}, {"tied": True}, {"length_norm": "sqrt"}, {"positions": "none"}])
@pytest.mark.parametrize("lengths", [(3, 5), (6, 2), (4, 4)])
def test_cross_equals_its_reference(dials: dict, lengths: tuple[int, int]) -> None:
    module = mixer(**dials).double()
    both = torch.randn(1, sum(lengths), 8, dtype=torch.float64)

    def fast(x: Tensor) -> Tensor:
        return module.cross(*x.split(lengths, dim=1))

    def slow(x: Tensor) -> Tensor:
        return cross_reference(module, *x[0].split(lengths)).unsqueeze(0)

    assert_same_with_gradients(module, fast, slow, both)


def test_cross_of_one_with_itself_is_forward() -> None:
    module = mixer().double()
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    padding = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
    torch.testing.assert_close(module.cross(x, x, padding, padding), module(x, padding))


def test_padding_is_invisible_on_both_sides_of_cross() -> None:
    module = mixer().double()
    queries, keys = torch.randn(2, 5, 8).double(), torch.randn(2, 9, 8).double()
    query_padding, key_padding = torch.zeros(2, 5, dtype=torch.bool), torch.zeros(2, 9, dtype=torch.bool)
    query_padding[1, 3:] = key_padding[1, 4:] = True
    batched = module.cross(queries, keys, query_padding, key_padding)
    torch.testing.assert_close(batched[1, :3], module.cross(queries[1:, :3], keys[1:, :4])[0])
    assert not batched[1, 3:].any()


@pytest.mark.parametrize("init", ["centred", "fan"])
def test_start_follows_each_heads_own_fan(init: str) -> None:
    torch.manual_seed(0)
    module = HyperMixing(256, 4, init=init)
    assert not module.bias_in.any() and not module.bias_out.any()
    assert module.weight_in.var().item() == pytest.approx(2 / 64, rel=0.05)
    assert module.weight_out.var().item() == pytest.approx(1 / 64, rel=0.05)


def test_centred_start_hears_nothing_that_features_have_in_common() -> None:
    module = HyperMixing(16, 2)
    assert module.weight_in.sum(dim=1).abs().max() < 1e-5
    assert module.weight_out.sum(dim=2).abs().max() < 1e-5
    assert module.norm.weight.tolist() == [0.5] * 16


def test_a_change_of_the_input_does_not_grow_through_the_layers() -> None:
    """At the start; with a norm's gain of one it grows tenfold and more."""
    from hyperconformer.models.encoder import Encoder

    torch.manual_seed(0)
    encoder = Encoder(10, 144, 8, 576, 31).eval()
    x = torch.randn(1, 200, 144)
    with torch.no_grad():
        out, moved = encoder(x, None), encoder(x + 1e-4 * torch.randn_like(x), None)
    assert ((moved - out).norm() / out.norm() / 1e-4).item() < 4


def test_dropout_drops_hidden_units_in_training_only() -> None:
    module, x = mixer(dropout=0.5), torch.randn(1, 5, 8)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


class Products(TorchDispatchMode):
    """The types that matrix products were given."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.bmm, torch.ops.aten.baddbmm, torch.ops.aten.mm):
            self.types |= {a.dtype for a in args if isinstance(a, Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("padded", [False, True])
def test_autocast_keeps_every_product_in_half_precision(dtype: torch.dtype, padded: bool) -> None:
    module, x = mixer(), torch.randn(2, 30, 8)
    padding = torch.arange(30).expand(2, 30) >= torch.tensor([[30], [11]]) if padded else None
    with torch.no_grad(), Products() as products, torch.autocast("cpu", dtype=dtype):
        half = module(x, padding)
    assert products.types == {dtype}
    torch.testing.assert_close(half.float(), module(x, padding), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("length_norm", ["mean", "sqrt"])
def test_float16_survives_an_hour(length_norm: str) -> None:
    module = HyperMixing(8, 2, length_norm=length_norm)
    x = torch.randn(1, 90_000, 8) + 1.0
    whole, half = module(x), module.half()(x.half())
    assert half.isfinite().all()
    torch.testing.assert_close(half.float(), whole, rtol=0.05, atol=0.05)


BATCHES = [(3, 7), (2, 31), (1, 4)]


def batch(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    padding = torch.zeros(size, dtype=torch.bool)
    padding[-1, size[1] // 2 + 1 :] = True
    return torch.randn(*size, 8), padding


def test_one_exported_graph_takes_any_batch_and_length() -> None:
    module = mixer().eval()
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("frames")}
    program = torch.export.export(module, batch(BATCHES[0]), dynamic_shapes=(free, free))
    for size in BATCHES:
        inputs = batch(size)
        torch.testing.assert_close(program.module()(*inputs), module(*inputs))


def test_one_compiled_graph_takes_any_batch_and_length() -> None:
    """Traced forward and backward; the code generator, which takes half a minute, is left out."""
    module = mixer()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for size in BATCHES[:2]:
        x, padding = batch(size)
        gradients = []
        for run in (compiled, module):
            probe = x.clone().requires_grad_()
            out = run(probe, padding)
            gradients.append((out, *torch.autograd.grad(out.square().sum(), probe)))
        torch.testing.assert_close(gradients[0], gradients[1])
