"""The optimizer of a run."""

import torch
from torch import nn

from hyperconformer.training.run_settings import RunSettings


def make_optimizer(model: nn.Module, settings: RunSettings) -> torch.optim.Optimizer:
    """AdamW over a model's parameters, in one kernel where the device has it.

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
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        parameters,
        lr=settings.lr,
        betas=settings.adam_betas,
        eps=settings.adam_eps,
        weight_decay=settings.weight_decay,
        fused=parameters[0].device.type == "cuda",
    )
