"""Building blocks against plain loops in float64, outputs and gradients."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hyperconformer.nn.attention import Attention
from hyperconformer.nn.convolution import ConvolutionModule
from hyperconformer.nn.feedforward import FeedForward
from hyperconformer.nn.masks import padding_mask, valid_lengths, zero_padding
from hyperconformer.nn.positions import rotate, sinusoids, sinusoids_at
from hyperconformer.nn.subsampling import Subsampling, subsampled
from tests.helpers import assert_same_with_gradients


def test_mask_round_trip() -> None:
    lengths = torch.tensor([0, 2, 5])
    padding = padding_mask(lengths, 5)
    assert padding.sum(1).tolist() == [5, 3, 0]
    assert valid_lengths(torch.zeros(3, 5, 1), padding).tolist() == lengths.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zero_padding_keeps_the_type(dtype: torch.dtype) -> None:
    masked = zero_padding(torch.full((1, 2, 1), 3.0, dtype=dtype), torch.tensor([[False, True]]))
    assert (masked.dtype, masked.flatten().tolist()) == (dtype, [3.0, 0.0])


def test_sinusoids_equal_the_formula_and_shift() -> None:
    table = sinusoids(0, 40, 6, torch.zeros(1, dtype=torch.float64))
    for t in (0, 1, 39):
        for i in range(3):
            angle = t / 10_000 ** (2 * i / 6)
            assert table[t, 2 * i].item() == pytest.approx(math.sin(angle))
            assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle))
    assert torch.equal(sinusoids(7, 3, 6, torch.zeros(1, dtype=torch.float64)), table[7:10])


def test_tables_that_are_kept_are_nobodys_of_a_transform() -> None:
    """A gradient of a function asks first: what it sees is not what others get."""

    def height(x_t: Tensor) -> Tensor:
        return (x_t + sinusoids(0, 11, 6, x_t)).sum() + rotate(x_t.view(1, 1, 11, 6)).sum()

    torch.func.grad(height)(torch.randn(11, 6))
    for table in (sinusoids(0, 11, 6, torch.empty(0)), rotate(torch.ones(1, 1, 11, 6))):
        assert type(copy.deepcopy(table)) is Tensor and table.data_ptr()


def test_half_precision_positions_are_counted_in_float32() -> None:
    far = sinusoids(1000, 1, 4, torch.zeros(1, dtype=torch.bfloat16)).float()
    near = sinusoids(1000, 1, 4, torch.zeros(1))
    assert torch.allclose(far, near, atol=0.01)


def test_a_table_that_is_kept_serves_every_mode_type_and_length() -> None:
    with torch.inference_mode():
        kept = sinusoids(0, 9, 6, torch.zeros(1))
    assert sinusoids(0, 9, 6, torch.zeros(1)) is kept and not kept.is_inference()
    weight = torch.ones(9, 6, requires_grad=True)
    (weight * kept).sum().backward()
    assert torch.equal(weight.grad, kept)
    for frames, dtype in ((9, torch.float64), (4, torch.float32), (9, torch.bfloat16)):
        like = torch.zeros(1, dtype=dtype)
        assert torch.equal(sinusoids(0, frames, 6, like), sinusoids_at(torch.arange(frames), 6, like))
    with FakeTensorMode() as pretending:
        assert sinusoids(0, 9, 6, pretending.from_tensor(torch.zeros(1))).shape == (9, 6)
    assert type(sinusoids(0, 9, 6, torch.zeros(1))) is torch.Tensor


@pytest.mark.parametrize(
    "call", [lambda: sinusoids(0, 2, 3, torch.zeros(1)), lambda: rotate(torch.zeros(1, 1, 2, 3))]
)
def test_odd_sizes_are_refused(call) -> None:
    with pytest.raises(ValueError, match="got 3"):
        call()


def test_rotation_makes_products_depend_on_distance_alone() -> None:
    query, key = torch.randn(2, 8, dtype=torch.float64)
    turned_q = rotate(query.expand(1, 1, 10, 8))[0, 0]
    turned_k = rotate(key.expand(1, 1, 10, 8))[0, 0]
    assert (turned_q[3] @ turned_k[1]).item() == pytest.approx((turned_q[9] @ turned_k[7]).item())


def test_feedforward_equals_its_formula() -> None:
    module = FeedForward(4, 8, dropout=0.0, activation="silu").double()

    def slow(x_btd: Tensor) -> Tensor:
        rows = []
        for x in x_btd[0]:
            normed = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
            hidden = (
                module.expand.weight @ (normed * module.norm.weight + module.norm.bias) + module.expand.bias
            )
            rows.append(module.project.weight @ (hidden * hidden.sigmoid()) + module.project.bias)
        return torch.stack(rows).unsqueeze(0)

    assert_same_with_gradients(module, module, slow, torch.randn(1, 5, 4, dtype=torch.float64))


def test_convolution_equals_loops() -> None:
    module = ConvolutionModule(4, kernel_size=5).double()

    def slow(x_btd: Tensor) -> Tensor:
        frames = x_btd.shape[1]
        left, right = module.gate(module.norm(x_btd[0])).split(4, dim=-1)
        gated = left * right.sigmoid()
        rows = []
        for t in range(frames):
            seen = [
                module.depthwise.weight[:, 0, k] * gated[t + k - 2]
                for k in range(5)
                if 0 <= t + k - 2 < frames
            ]
            rows.append(sum(seen) + module.depthwise.bias)
        return module.project(F.silu(module.norm_after(torch.stack(rows)))).unsqueeze(0)

    assert_same_with_gradients(
        module, lambda x: module(x, None), slow, torch.randn(1, 7, 4, dtype=torch.float64)
    )


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="got 4"):
        ConvolutionModule(4, kernel_size=4)


def test_attention_equals_loops() -> None:
    module = Attention(6, num_heads=2, dropout=0.0).double()
    memory = torch.randn(1, 4, 6, dtype=torch.float64)

    def fast(x: Tensor) -> Tensor:
        return module(x, *module.keys_values(memory))

    def slow(x: Tensor) -> Tensor:
        key, value = module.key_value(memory[0]).split(6, dim=-1)
        heads = []
        for h in range(2):
            part = slice(3 * h, 3 * h + 3)
            rows = [
                torch.softmax(key[:, part] @ q[part] / math.sqrt(3), 0) @ value[:, part]
                for q in module.query(x[0])
            ]
            heads.append(torch.stack(rows))
        return module.out(torch.cat(heads, dim=-1)).unsqueeze(0)

    assert_same_with_gradients(module, fast, slow, torch.randn(1, 3, 6, dtype=torch.float64))


def _slow_block(block: nn.Module, image_tfc: Tensor) -> Tensor:
    """One strided convolution, cell by cell, mirroring indices at all four edges."""
    frames, bands, _ = image_tfc.shape

    def mirrored(index: int, size: int) -> int:
        index = abs(index)
        return max(0, 2 * (size - 1) - index) if index >= size else index

    rows = []
    for t in range((frames + 1) // 2):
        cells = []
        for f in range(bands // 2):
            total = block.conv.bias
            for i in range(3):
                for j in range(3):
                    here = image_tfc[mirrored(2 * t + i - 1, frames), mirrored(2 * f + j - 1, bands)]
                    total = total + block.conv.weight[:, :, i, j] @ here
            cells.append(total)
        rows.append(torch.stack(cells))
    return F.leaky_relu(block.norm(torch.stack(rows)))


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 9])
def test_subsampling_equals_loops(frames: int) -> None:
    module = Subsampling(8, 4, channels=(3, 2), dropout=0.0).double()

    def fast(x: Tensor) -> Tensor:
        return module(x, torch.tensor([frames]))[0]

    def slow(x: Tensor) -> Tensor:
        hidden = _slow_block(module.second, _slow_block(module.first, x[0].unsqueeze(-1)))
        return module.project(hidden.flatten(1)).unsqueeze(0)

    assert_same_with_gradients(module, fast, slow, torch.randn(1, frames, 8, dtype=torch.float64))
    assert slow(torch.randn(1, frames, 8, dtype=torch.float64)).shape[1] == subsampled(torch.tensor(frames))


def test_subsampling_needs_a_multiple_of_four_bands() -> None:
    with pytest.raises(ValueError, match="got 30"):
        Subsampling(30, 4, channels=(3, 2), dropout=0.0)


@pytest.mark.parametrize("hidden", ["causal", "padding", "nothing"])
def test_attention_with_dropout_equals_pytorch_s_on_its_mask(hidden: str) -> None:
    module = Attention(8, num_heads=2, dropout=0.25).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    causal = hidden == "causal"
    visible = torch.arange(5) < torch.tensor([5, 3, 1]).view(3, 1, 1, 1) if hidden == "padding" else None
    torch.manual_seed(1)
    kept = module.dropout.mask(torch.empty(3, 2, 5, 5))
    torch.manual_seed(1)
    ours = module(x, *module.keys_values(x), visible=visible, causal=causal)
    # The weights themselves, by values that are unit vectors.
    key, value = module.keys_values(x)
    units = torch.eye(5, dtype=torch.float64).expand(3, 2, 5, 5)
    query = module._heads(module.query(x))
    weights = torch.nn.functional.scaled_dot_product_attention(
        query, key, units, attn_mask=visible, is_causal=causal
    )
    mixed = (weights * kept * module.dropout.scale) @ value
    torch.testing.assert_close(ours, module.out(mixed.transpose(1, 2).flatten(2)), rtol=1e-9, atol=1e-9)
    assert 0 < kept.float().mean() < 1
