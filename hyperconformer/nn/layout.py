"""How weights lie in memory: as they are trained, or as a search reads them."""

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def lay_for_search(module: M) -> M:
    """Let the weights of plain products lie input by input, in place.

    A step of a search multiplies the few rows of a beam by every weight. On a CPU that costs what reading the
    weights costs, and as they are trained (O, I), output by output, the library first copies them: a product
    of ten rows takes twice the time. The values stay, and so do the shapes; only strides change.

    Parameters
    ----------
    module : Module
        One that learns no more: an optimizer's state would lie otherwise than its weights.

    Returns
    -------
    Module
        The same; what is not float32 on a CPU lies as it did.

    Examples
    --------
    >>> layer = lay_for_search(nn.Linear(3, 5))
    >>> layer.weight.shape, layer.weight.stride()
    (torch.Size([5, 3]), (1, 5))
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            weight = part.weight.data
            if weight.device.type == "cpu" and weight.dtype == torch.float32:
                part.weight.data = weight.t().contiguous().t()
    return module
