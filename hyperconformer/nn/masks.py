"""The one convention for masks: ``padding`` is (B, T) bool and True means padding."""

import torch
from torch import Tensor


def padding_mask(lengths_b: Tensor, frames: int) -> Tensor:
    """Mark the frames beyond each utterance's own length.

    Parameters
    ----------
    lengths_b : Tensor, shape (B,), integer
        Valid frames of each utterance.
    frames : int
        Length T of the padded batch.

    Returns
    -------
    Tensor, shape (B, T), bool
        True at padded frames.

    Examples
    --------
    >>> padding_mask(torch.tensor([1, 3]), 3)
    tensor([[False,  True,  True],
            [False, False, False]])
    """
    positions_t = torch.arange(frames, device=lengths_b.device)
    return positions_t >= lengths_b.unsqueeze(1)


def zero_padding(x_btd: Tensor, padding: Tensor | None) -> Tensor:
    """Set padded frames to zero, if what they held was finite.

    It multiplies by a mask of x's own type, which costs a tenth of filling by a mask of bools on a CPU and
    promotes nothing under autocast.

    Parameters
    ----------
    x_btd : Tensor, shape (B, T, D)
        Any features.
    padding : Tensor, shape (B, T), bool, or None
        True at padded frames; None where nothing is padded.

    Returns
    -------
    Tensor, shape (B, T, D)

    Raises
    ------
    ValueError
        If ``padding`` is not a mask of x's frames.

    Examples
    --------
    >>> zero_padding(torch.ones(1, 2, 1), torch.tensor([[False, True]])).flatten()
    tensor([1., 0.])
    """
    if padding is None:
        return x_btd
    _check(x_btd, padding)
    return x_btd * (~padding).unsqueeze(-1).to(x_btd.dtype)


def _check(x_btd: Tensor, padding: Tensor) -> None:
    if padding.dtype != torch.bool or padding.shape != x_btd.shape[:2]:
        raise ValueError(
            f"padding must be bool of shape {tuple(x_btd.shape[:2])}, True at padded frames, got "
            f"{padding.dtype} of {tuple(padding.shape)}: padding_mask(lengths, frames) makes it from lengths"
        )


def valid_lengths(x_btd: Tensor, padding: Tensor | None) -> Tensor:
    """Count the valid frames of each utterance.

    Parameters
    ----------
    x_btd : Tensor, shape (B, T, D)
        Gives the batch size, the length and the device.
    padding : Tensor, shape (B, T), bool, or None
        True at padded frames.

    Returns
    -------
    Tensor, shape (B,), long

    Examples
    --------
    >>> valid_lengths(torch.zeros(1, 3, 2), torch.tensor([[False, False, True]]))
    tensor([2])
    >>> valid_lengths(torch.zeros(2, 3, 2), None)
    tensor([3, 3])
    """
    if padding is None:
        return torch.full((x_btd.shape[0],), x_btd.shape[1], dtype=torch.long, device=x_btd.device)
    return (~padding).sum(dim=1)


def lengths_to(power: float, x_btd: Tensor, padding: Tensor | None) -> float | Tensor:
    """Raise the valid lengths of utterances to a power; an empty one counts as one frame.

    Parameters
    ----------
    power : float
    x_btd : Tensor, shape (B, T, D)
        Gives the lengths where nothing is padded, and the type of the result.
    padding : Tensor, shape (B, T), bool, or None
        True at padded frames.

    Returns
    -------
    float or Tensor, shape (B, 1, 1)
        A number where it is the same of all, and nothing is compiled for other lengths.

    Examples
    --------
    >>> lengths_to(-0.5, torch.zeros(1, 4, 2), None)
    0.5
    >>> lengths_to(-1.0, torch.zeros(1, 3, 2), torch.tensor([[False, False, True]]))
    tensor([[[0.5000]]])
    """
    if padding is None and not torch.compiler.is_compiling():
        return float(max(1, x_btd.shape[1]) ** power)
    wide = torch.promote_types(x_btd.dtype, torch.float32)
    lengths_b11 = valid_lengths(x_btd, padding).clamp(min=1).to(wide)[:, None, None]
    return lengths_b11.pow(power).to(x_btd.dtype)
