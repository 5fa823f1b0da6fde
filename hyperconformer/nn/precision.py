"""In which type products are computed."""

import torch
from torch import Tensor


def in_float16(x: Tensor) -> bool:
    """Whether products of x give float16, by its own type or under autocast.

    Examples
    --------
    >>> in_float16(torch.zeros(1)), in_float16(torch.zeros(1).half())
    (False, True)
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device) == torch.float16
    return x.dtype == torch.float16
