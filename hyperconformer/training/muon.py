"""Muon, which moves matrices along all their directions alike."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS, ITERATIONS = (3.4445, -4.775, 2.0315), 5
"""Of the polynomial in the singular values: it takes all but the smallest to between 0.7 and 1.2."""
EPS = 1e-7


class Muon(torch.optim.Optimizer):
    """Muon, with steps as large as AdamW's of the same learning rate.

    The same steps as ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, for weights that hold
    several matrices, too. Matrices of the same shape are orthogonalised together, which takes a GPU a tenth
    of the kernels: the 145 weights of ``hyperconformer_modern`` have six shapes.

    Parameters
    ----------
    params : iterable of Parameter or of dict
        Of two or more axes, of which the last two are a matrix's and the others count matrices; without last
        axes of one, as those of a convolution's kernel are.
    lr : float
    weight_decay : float
        Decoupled.
    momentum : float

    References
    ----------
    Jordan et al., Muon: an optimizer for hidden layers in neural networks, kellerjordan.github.io/posts/muon;
    Liu et al., Muon is scalable for LLM training, arXiv 2502.16982.

    Examples
    --------
    >>> weight = nn.Parameter(torch.zeros(2, 2))
    >>> (3 * weight[0, 0] + weight[1, 1]).backward()
    >>> Muon([weight], lr=10.0).step()
    >>> (weight.diagonal() < -1).tolist()  # both move by about lr x 0.2 x sqrt(2)
    [True, True]
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no closure
        """Move all weights that have a gradient."""
        assert closure is None, "a step is taken once, by gradients that are there"
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            momenta = self._momenta(weights, group["momentum"])
            directions = orthogonalised([_matrices(momentum) for momentum in momenta])
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            for weight, direction in zip(weights, directions, strict=True):
                length = 0.2 * math.sqrt(max(direction.shape[-2:]))
                _matrices(weight).add_(direction, alpha=-group["lr"] * length)

    def _momenta(self, weights: list[nn.Parameter], momentum: float) -> list[Tensor]:
        """Gradients and their means, as Nesterov looks ahead."""
        grads = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        means = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_lerp_(means, grads, 1 - momentum)
        return list(torch._foreach_lerp(grads, means, momentum))


def orthogonalised(matrices: list[Tensor]) -> list[Tensor]:
    """Bring the singular values of many matrices near to one, by Newton and Schulz's iteration.

    Parameters
    ----------
    matrices : list of Tensor, each (..., rows, columns)
        On one device.

    Returns
    -------
    list of Tensor
        Of the same shapes and types.

    Examples
    --------
    >>> (turned,) = orthogonalised([torch.tensor([[0.0, 5.0], [-5.0, 0.0]])])
    >>> turned.round()
    tensor([[ 0.,  1.],
            [-1.,  0.]])
    """
    wide = [matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix for matrix in matrices]
    alike = defaultdict(list)
    for place, matrix in enumerate(wide):
        alike[matrix.shape[-2:]].append(place)
    turned = list(matrices)
    for (rows, columns), places in alike.items():
        stacks = [wide[place].reshape(-1, rows, columns) for place in places]
        together = _newton_schulz(torch.cat(stacks)).split([len(stack) for stack in stacks])
        for place, stack in zip(places, together, strict=True):
            same = stack.reshape(wide[place].shape)
            turned[place] = same if wide[place] is matrices[place] else same.mT
    return turned


def _newton_schulz(x: Tensor) -> Tensor:
    """(n, rows, columns), not more rows than columns -> the same."""
    kind, (a, b, c) = x.dtype, COEFFICIENTS
    x = x.to(_precision(x.device))
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(kind)


def _matrices(weight: Tensor) -> Tensor:
    while weight.dim() > 2 and weight.shape[-1] == 1:
        weight = weight.squeeze(-1)
    return weight


def _precision(device: torch.device) -> torch.dtype:
    """The iteration needs no more than bfloat16; but a processor without it takes three times as long by it.

    Nor would two processes then take the step of one: what rounding changed, the iteration magnifies.
    """
    narrow = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if narrow else torch.float32
