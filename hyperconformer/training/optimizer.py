"""The optimizer of a run, and which weights decay."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperconformer.mixers.mlp import GatedMLP, MLPMixer
from hyperconformer.training.muon import Muon
from hyperconformer.training.run_settings import RunSettings

OUTPUTS = ("ctc_head.", "decoder.out.", "head.weight", "out.", "seq_head.")
"""Where output layers stand: of recognisers, classifiers, language models and SpeechBrain's modules."""
# Their weights are gains and vectors of tokens, not matrices that an input is multiplied with.
EXEMPT = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm, nn.Embedding)


def make_optimizer(model: nn.Module, settings: RunSettings) -> torch.optim.Optimizer:
    """Make what moves a model's parameters.

    AdamW reads and writes each once a step. With ``muon`` the matrices between the layers and those of
    HyperMixing's heads move by the orthogonalised momentum of their gradients, by steps as large as AdamW's
    of the same learning rate; all other weights, among them tables of tokens, output layers and kernels,
    stay with AdamW.

    Parameters
    ----------
    model : Module
        On its device.
    settings : RunSettings

    Returns
    -------
    Optimizer

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, arXiv 1711.05101; Liu et al., Muon is
    scalable for LLM training, arXiv 2502.16982.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> type(make_optimizer(nn.Linear(1, 1), load_settings("hparams/mini.yaml", {}))).__name__
    'Together'
    """
    groups = parameter_groups(model, settings.weight_decay)
    hidden = hidden_matrices(model) if settings.optimizer == "muon" else []
    chosen = set(map(id, hidden))
    rest = [
        {**group, "params": own}
        for group in groups
        if (own := [weight for weight in group["params"] if id(weight) not in chosen])
    ]
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        betas, eps = settings.adam_betas, settings.adam_eps
        optimizers.append(torch.optim.AdamW(rest, lr=settings.lr, betas=betas, eps=eps, fused=True))
    if hidden:
        optimizers.append(Muon(hidden, lr=settings.lr, weight_decay=settings.weight_decay))
    return optimizers[0] if len(optimizers) == 1 else Together(optimizers)


class Together(torch.optim.Optimizer):
    """Several optimizers, each of its own weights, as one: a step is a step of each.

    Parameters
    ----------
    parts : sequence of Optimizer
        Their groups are this one's, so a learning rate is set in them.

    Examples
    --------
    >>> weights = [torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)]
    >>> both = Together([torch.optim.SGD([weights[0]], lr=1.0), torch.optim.SGD([weights[1]], lr=0.5)])
    >>> sum(weight.sum() for weight in weights).backward()
    >>> both.step()
    >>> [weight.tolist() for weight in weights]
    [[0.0, 0.0], [0.5, 0.5]]
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)
        super().__init__([{"params": group["params"]} for group in self._groups()], {})
        self.param_groups = self._groups()

    def _groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no closure
        """Let each move its weights."""
        assert closure is None, "a step is taken once, by gradients that are there"
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """What each must remember."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Give each what it remembered."""
        for part, own in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(own)
        self.param_groups = self._groups()


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Find the matrices between a model's layers.

    Parameters
    ----------
    model : nn.Module
        A recogniser, classifier or language model of this package; of others, layers are known as output
        layers by the same names.

    Returns
    -------
    list of Parameter
        Those that decay, without output layers, tables of positions and kernels of more than a frame, each
        once. One of more than two axes holds a matrix for each head. Matrices that stand side by side in one
        weight, as queries and keys do, move as one.

    Examples
    --------
    >>> len(hidden_matrices(nn.Sequential(nn.Embedding(9, 3), nn.Linear(3, 3), nn.LayerNorm(3))))
    1
    """
    exempt = {id(weight) for weight in (*_exempt(model), *_kernels_and_positions(model))}
    return [
        weight
        for name, weight in model.named_parameters()
        if weight.requires_grad and id(weight) not in exempt and not name.startswith(OUTPUTS)
    ]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Sort a model's parameters into those that decay and those that do not: biases, norms and embeddings.

    A decay draws weights to zero. That bounds matrices; a bias, a norm's gain or a rare token's vector would
    only lose what it learnt.

    Parameters
    ----------
    model : nn.Module
        Frozen parameters are left out, shared ones come once. A bias is a parameter with ``bias`` in its own
        name, whatever its shape, or with less than two axes.
    weight_decay : float
        Of the first group.

    Returns
    -------
    list of dict
        For an optimizer: at most two groups, each with ``params`` and ``weight_decay``; none is empty.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, arXiv 1711.05101.

    Examples
    --------
    >>> groups = parameter_groups(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), 0.01)
    >>> [(group["weight_decay"], [tuple(weight.shape) for weight in group["params"]]) for group in groups]
    [(0.01, [(2, 3)]), (0.0, [(2,), (2,), (2,)])]
    """
    decays: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    exempt = {id(weight) for weight in _exempt(model)}
    for weight in model.parameters():
        if weight.requires_grad:
            decays[id(weight) not in exempt].append(weight)
    groups = [
        {"params": decays[True], "weight_decay": weight_decay},
        {"params": decays[False], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _exempt(model: nn.Module) -> Iterator[nn.Parameter]:
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if "bias" in name or weight.dim() < 2 or isinstance(module, EXEMPT):
                yield weight


def _kernels_and_positions(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        # A kernel of one frame over all channels is a matrix.
        if isinstance(module, nn.modules.conv._ConvNd):
            if module.groups > 1 or math.prod(module.kernel_size) > 1:
                yield module.weight
        # Most of these rows get no gradient, as few inputs are that long.
        elif isinstance(module, MLPMixer | GatedMLP):
            yield from module.parameters(recurse=False)
