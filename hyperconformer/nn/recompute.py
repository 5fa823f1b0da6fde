"""Products that remember what their input was computed from: less memory for the same gradients."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Recomputed = Callable[..., Tensor]


def linear_of(
    function: Recomputed,
    inputs: tuple[Tensor | None, ...],
    weight: Tensor,
    bias: Tensor | None,
    *,
    scale: float = 1.0,
) -> Tensor:
    """``linear(scale * function(*inputs), weight, bias)``, keeping only ``inputs`` for backward.

    Autograd would keep the function's result, and often what lies within it, for the weight's gradient. For
    a function that costs little beside the product (a norm, an activation, a mask) computing it again is
    cheaper than holding it. The product itself is never repeated.

    Parameters
    ----------
    function : callable
        Gives a Tensor of shape (..., I), the same each time: randomness comes in as a mask. All tensors that
        need gradients are among ``inputs``.
    inputs : tuple of Tensor or None
        What ``function`` takes.
    weight : Tensor, shape (O, I)
    bias : Tensor, shape (O,), or None
    scale : float
        Multiplied with the weight, which has far fewer values than the function's result.

    Returns
    -------
    Tensor, shape (..., O)

    References
    ----------
    Chen et al., Training deep nets with sublinear memory cost, arXiv 1604.06174.

    Examples
    --------
    >>> x = torch.tensor([[1.0, -1.0]], requires_grad=True)
    >>> out = linear_of(torch.relu, (x,), torch.tensor([[2.0, 3.0]]), torch.zeros(1))
    >>> torch.autograd.grad(out.sum(), x)
    (tensor([[2., 0.]]),)
    """
    return _product_of(_Linear(scale), function, inputs, weight, bias)


def convolution_of(
    function: Recomputed, inputs: tuple[Tensor | None, ...], weight: Tensor, bias: Tensor | None, stride: int
) -> Tensor:
    """``conv2d(function(*inputs), weight, bias, stride)``, keeping only ``inputs`` for backward.

    Parameters
    ----------
    function : callable
        Gives a Tensor of shape (B, I, H, W); as for :func:`linear_of`.
    inputs : tuple of Tensor or None
        What ``function`` takes.
    weight : Tensor, shape (O, I, K, K)
    bias : Tensor, shape (O,), or None
    stride : int

    Returns
    -------
    Tensor, shape (B, O, (H - K) // stride + 1, (W - K) // stride + 1)

    Examples
    --------
    >>> x = torch.ones(1, 1, 3, 3)
    >>> convolution_of(torch.relu, (x,), torch.ones(1, 1, 3, 3), torch.zeros(1), 2)
    tensor([[[[9.]]]])
    """
    return _product_of(_Convolution(stride), function, inputs, weight, bias)


def normed_linear(
    norm: nn.LayerNorm, linear: nn.Linear, x: Tensor, activation: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """``linear(activation(norm(x)))``, keeping only ``x`` for backward.

    Parameters
    ----------
    norm : LayerNorm
        Over the last axis.
    linear : Linear
    x : Tensor, shape (..., I)
    activation : callable or None
        Pointwise; None for none.

    Returns
    -------
    Tensor, shape (..., O)

    Examples
    --------
    >>> normed_linear(nn.LayerNorm(4), nn.Linear(4, 6), torch.randn(2, 3, 4), F.silu).shape
    torch.Size([2, 3, 6])
    """

    def normed(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        result = F.layer_norm(x, norm.normalized_shape, gain, bias, norm.eps)
        return result if activation is None else activation(result)

    return linear_of(normed, (x, norm.weight, norm.bias), linear.weight, linear.bias)


class _Linear:
    """y (..., I) -> scale y weight' + bias."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def _scaled(self, weight: Tensor) -> Tensor:
        return weight if self.scale == 1 else self.scale * weight

    def forward(self, y: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(y, self._scaled(weight), bias)

    def backward(self, grad: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients for y, weight and bias."""
        grad_no, y_ni = grad.reshape(-1, grad.shape[-1]), y.reshape(-1, y.shape[-1])
        return grad @ self._scaled(weight), self._scaled(grad_no.t() @ y_ni), grad_no.sum(dim=0)


class _Convolution:
    """y (B, I, H, W) -> a convolution of it without padding."""

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def forward(self, y: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(y, weight, bias, self.stride)

    def backward(self, grad: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients for y, weight and bias."""
        stride, zero, one = [self.stride] * 2, [0, 0], [1, 1]
        gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            grad, y.to(grad.dtype), weight.to(grad.dtype), [len(weight)], stride, zero, one, False, zero, 1,
            [True, True, True],
        )  # fmt: skip
        return gradients


def _product_of(
    product: _Linear | _Convolution,
    function: Recomputed,
    inputs: tuple[Tensor | None, ...],
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor:
    # A compiler weighs by itself what to keep, and cannot look into a backward written by hand; a GPU waits
    # for its work to be launched, which this would slow down; tensors without values have no autocast.
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or weight.device.type != "cpu":
        return product.forward(function(*inputs), weight, bias)
    out: Tensor = _ProductOf.apply(product, function, weight, bias, *inputs)  # type: ignore[no-untyped-call]  # torch's own
    return out


class _ProductOf(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        product: _Linear | _Convolution,
        function: Recomputed,
        weight: Tensor,
        bias: Tensor | None,
        *inputs: Tensor | None,
    ) -> Tensor:
        ctx.product, ctx.function, device = product, function, weight.device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        ctx.save_for_backward(weight, *inputs)
        return product.forward(function(*inputs), weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *inputs = ctx.saved_tensors
        wanted = ctx.needs_input_grad[4:]
        with torch.autocast(*ctx.autocast):
            fresh = [
                x if x is None else x.detach().requires_grad_(want)
                for x, want in zip(inputs, wanted, strict=True)
            ]
            with torch.enable_grad():
                result = ctx.function(*fresh)
            grad_result, grad_weight, grad_bias = ctx.product.backward(grad, result.detach(), weight)
        learnt = [x for x in fresh if x is not None and x.requires_grad]
        grad_result = grad_result.to(result.dtype)
        gradients = iter(torch.autograd.grad(result, learnt, grad_result) if learnt else ())
        return (
            None,
            None,
            grad_weight.to(weight.dtype),
            grad_bias.to(weight.dtype) if ctx.needs_input_grad[3] else None,
            *(next(gradients) if want else None for want in wanted),
        )
