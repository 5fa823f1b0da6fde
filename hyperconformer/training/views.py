"""Utterances that are seen in two ways at once: how their rows stand, and how far the two views are apart."""

import torch
from torch import Tensor

from hyperconformer.nn.masks import padding_mask


def in_views(x: Tensor, views: int) -> Tensor:
    """Repeat what belongs to the utterances of a batch for every view, as the rows of a batch of views stand.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
    views : int
        Number of views V.

    Returns
    -------
    Tensor, shape (V B, ...)
        All utterances, then all again; ``x`` itself for one view.

    Examples
    --------
    >>> in_views(torch.tensor([3, 4]), 2)
    tensor([3, 4, 3, 4])
    """
    return x if views == 1 else torch.cat([x] * views)


def consistency(logits_ntv: Tensor, lengths_n: Tensor) -> Tensor:
    """How far the CTC posteriors of two views are apart, where each is asked to learn from the other.

    Half the sum over frames of KL(b || a) + KL(a || b), where the first of each pair is a target that gets no
    gradient. Together that is half of (a - b) times the difference of the logits, as what normalises them
    cancels. With a - b as a constant the gradient is the wanted one too, and backward needs nothing else.

    Parameters
    ----------
    logits_ntv : Tensor, shape (2 B, T, V), any float type
        All utterances in the first view, then all in the second.
    lengths_n : Tensor, shape (2 B,), long
        Valid frames; both views have the same.

    Returns
    -------
    Tensor, shape (B,), float32 or better
        Nats, summed over an utterance's frames.

    References
    ----------
    Yao et al., CR-CTC: Consistency regularization on CTC for improved speech recognition, arXiv 2410.05101.

    Examples
    --------
    >>> logits = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]], requires_grad=True)
    >>> loss = consistency(logits, torch.tensor([1, 1]))
    >>> round(loss.item(), 4), torch.autograd.grad(loss, logits)[0][0, 0]
    (0.4621, tensor([-0.2311,  0.2311]))
    """
    one_btv, other_btv = logits_ntv.to(torch.promote_types(logits_ntv.dtype, torch.float32)).chunk(2)
    padding = padding_mask(lengths_n.chunk(2)[0], one_btv.shape[1])
    with torch.no_grad():
        apart_btv = one_btv.softmax(dim=-1) - other_btv.softmax(dim=-1)
        apart_btv = apart_btv.masked_fill_(padding.unsqueeze(2), 0)
    apart_bt = (apart_btv * (one_btv - other_btv)).sum(dim=-1)
    return apart_bt.masked_fill(padding, 0).sum(dim=1) / 2
