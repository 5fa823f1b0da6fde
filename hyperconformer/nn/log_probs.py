"""Logits to log-probabilities, wherever a score is read off."""

import torch
from torch import Tensor


def log_probs(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities over the last axis.

    Parameters
    ----------
    logits : Tensor, shape (..., V)
    temperature : float
        Divides them.

    Returns
    -------
    Tensor, shape (..., V)
        In float32 or better.

    Examples
    --------
    >>> log_probs(torch.zeros(2, dtype=torch.bfloat16)).exp()
    tensor([0.5000, 0.5000])
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (wide if temperature == 1 else wide / temperature).log_softmax(dim=-1)
