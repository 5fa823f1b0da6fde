"""What several tests ask: does a fast thing equal a slow one, in outputs and in gradients?"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hyperconformer.bench.checks import outputs_and_gradients


def assert_same_with_gradients(
    module: nn.Module, fast: Callable[[Tensor], Tensor], slow: Callable[[Tensor], Tensor], x: Tensor
) -> None:
    """Compare outputs, and gradients of a random projection of them, for the input and every parameter."""
    with torch.no_grad():
        weights = torch.randn_like(fast(x))
    results = [outputs_and_gradients(module, function, x, weights) for function in (fast, slow)]
    for ours, truth in zip(*results, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-9)


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every parameter at random, so that zero biases and unit gains cannot hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.3 * noise.to(parameter.dtype))
    return module
