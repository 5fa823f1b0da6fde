"""The optimizer of a run, and which weights decay."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from hyperconformer.training.run_settings import RunSettings

# Their weights are gains and vectors of tokens, not matrices that an input is multiplied with.
EXEMPT = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm, nn.Embedding)


def make_optimizer(model: nn.Module, settings: RunSettings) -> torch.optim.Optimizer:
    """AdamW over a model's parameters, each read and written once a step.

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
    Loshchilov and Hutter, Decoupled weight decay regularization, arXiv 1711.05101.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> type(make_optimizer(nn.Linear(1, 1), load_settings("hparams/mini.yaml", {}))).__name__
    'AdamW'
    """
    return torch.optim.AdamW(
        parameter_groups(model, settings.weight_decay),
        lr=settings.lr,
        betas=settings.adam_betas,
        eps=settings.adam_eps,
        fused=True,
    )


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
