"""Half as many frames for some layers of an encoder, and back."""

import torch
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
    frames = x_btd.shape[1]
    first_h = 2 * torch.arange((frames + 1) // 2, device=x_btd.device)
    # Where their number is odd the last one is its own neighbour.
    second_h = (first_h + 1).clamp(max=frames - 1)
    sums_bhd = x_btd[:, first_h] + x_btd[:, second_h]
    heard_bh = heard_bt[:, first_h] + heard_bt[:, second_h]
    return sums_bhd / heard_bh.clamp(min=1).unsqueeze(2), None if padding is None else padding[:, first_h]


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
