"""Each feature convolved along time, fast on a CPU too."""

import torch
import torch.nn.functional as F
from torch import Tensor


def depthwise(x_btd: Tensor, weight_d1k: Tensor, bias_d: Tensor | None) -> Tensor:
    """Convolve each feature along time, as if zeros stood before and after.

    Parameters
    ----------
    x_btd : Tensor, shape (B, T, D)
        Zero at padded frames.
    weight_d1k : Tensor, shape (D, 1, K)
        Of odd width K.
    bias_d : Tensor, shape (D,), or None

    Returns
    -------
    Tensor, shape (B, T, D)

    Examples
    --------
    >>> depthwise(torch.tensor([[[1.0], [2.0]]]), torch.ones(1, 1, 3), None)[0, :, 0]
    tensor([3., 3.])

    Notes
    -----
    On a CPU a two-dimensional convolution that keeps features innermost is about twenty times faster. It is
    computed in float32: in bfloat16, with several threads, PyTorch 2.11's never returns for some shapes.
    """
    features, _, width = weight_d1k.shape
    if x_btd.device.type != "cpu":
        x_bdt = F.conv1d(x_btd.transpose(1, 2), weight_d1k, bias_d, padding=width // 2, groups=features)
        return x_bdt.transpose(1, 2)
    wide = torch.promote_types(x_btd.dtype, torch.float32)
    x_bd1t = x_btd.to(wide).unsqueeze(1).permute(0, 3, 1, 2)
    weight_d11k = weight_d1k.to(wide).unsqueeze(2)
    bias_d = None if bias_d is None else bias_d.to(wide)
    with torch.autocast("cpu", enabled=False):
        mixed = F.conv2d(x_bd1t, weight_d11k, bias_d, padding=(0, width // 2), groups=features)
    return mixed.permute(0, 2, 3, 1).squeeze(1).to(x_btd.dtype)
