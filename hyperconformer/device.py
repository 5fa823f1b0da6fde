"""Whether the device is there that was asked for."""

import torch

from hyperconformer.errors import InputError


def check_device(device: str) -> str:
    """Refuse a device that is not supported or that this machine lacks.

    Parameters
    ----------
    device : str
        For instance ``cpu``, ``cuda`` or ``cuda:1``.

    Returns
    -------
    str
        Its kind, without the number.

    Raises
    ------
    InputError
        If it is not there.

    Examples
    --------
    >>> check_device("cpu")
    'cpu'
    >>> check_device("gpu")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --device=gpu is no device: use cpu, cuda or cuda:1
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise InputError(f"--device={device} is no device: use cpu, cuda or cuda:1")
    count = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= count:
        raise InputError(f"--device={device}: PyTorch finds {count} GPUs here: use --device=cpu")
    return kind
