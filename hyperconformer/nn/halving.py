"""Half as many frames for some layers of an encoder, and back."""

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconformer.nn.masks import zero_padding


def halved(x_btd: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Let the mean of two neighbours, or of the one that is there, stand for them.

    Parameters
    ----------
    x_btd : Tensor, shape (B, T, D)
    padding : Tensor, shape (B, T), bool, or None
        True at padded frames.

    Returns
    -------
    Tensor, shape (B, ceil(T / 2), D)
        Of frames twice as long.
    Tensor, shape (B, ceil(T / 2)), bool, or None
        True where both are padded.

    Examples
    --------
    >>> halved(torch.tensor([[[1.0], [3.0], [5.0]]]), None)[0][0, :, 0]
    tensor([2., 5.])
    """
    x_btd = zero_padding(x_btd, padding)
    heard_bt = x_btd.new_ones(x_btd.shape[:2]) if padding is None else (~padding).to(x_btd.dtype)
    # One more frame of zeros, so that the last one has a neighbour where their number is odd.
    sums_bhd = x_btd[:, ::2] + F.pad(x_btd, (0, 0, 0, 1))[:, 1::2]
    heard_bh = heard_bt[:, ::2] + F.pad(heard_bt, (0, 1))[:, 1::2]
    return sums_bhd / heard_bh.clamp(min=1).unsqueeze(2), None if padding is None else padding[:, ::2]


def doubled(x_btd: Tensor, frames: int) -> Tensor:
    """Repeat every frame, up to a number of them.

    Parameters
    ----------
    x_btd : Tensor, shape (B, ceil(T / 2), D)
    frames : int
        T.

    Returns
    -------
    Tensor, shape (B, T, D)

    Examples
    --------
    >>> doubled(torch.tensor([[[2.0], [5.0]]]), 3)[0, :, 0]
    tensor([2., 2., 5.])
    """
    # Not cut from what is repeated: a graph of any length would have to know that there is enough of it.
    return x_btd[:, torch.arange(frames, device=x_btd.device) // 2]
