"""What a measurement reads off the machine: when the device is done, and how much memory was in use."""

import ctypes
import gc
from pathlib import Path

import torch

from hyperconformer.bench.cases import Case


def synchronise(case: Case) -> None:
    """Wait until the device of a case has done all that it was given.

    Parameters
    ----------
    case : Case

    Examples
    --------
    >>> synchronise(Case("mixer", "identity", "forward", seconds=1.0, batch_size=1))
    """
    if case.device_type == "cuda":
        torch.cuda.synchronize(case.device)


def _status(field: str) -> int | None:
    """Bytes that the kernel gives for this process, or None where it gives none."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    return None


def _start_cpu_memory() -> int | None:
    """Give free memory back and start the kernel's peak anew; the bytes in use, None where it cannot."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return None
    return _status("VmRSS")


def start_memory(case: Case) -> int | None:
    """Start the peak anew.

    Parameters
    ----------
    case : Case

    Returns
    -------
    int or None
        Bytes that do not count: on a CPU those in use. None where the machine does not tell.

    Examples
    --------
    >>> case = Case("mixer", "identity", "forward", seconds=1.0, batch_size=1)
    >>> start = start_memory(case)
    >>> block = torch.ones(2**20)
    >>> (peak_memory(case, start) or 2**22) >= 2**22
    True
    """
    if case.device_type == "cpu":
        return _start_cpu_memory()
    torch.cuda.reset_peak_memory_stats(case.device)
    return 0


def peak_memory(case: Case, start: int | None) -> int | None:
    """Most memory in use since the start: on a GPU all that PyTorch held, on a CPU what came on top.

    Parameters
    ----------
    case : Case
    start : int or None
        Of :func:`start_memory`.

    Returns
    -------
    int or None
        Bytes.

    Examples
    --------
    >>> peak_memory(Case("mixer", "identity", "forward", seconds=1.0, batch_size=1), None) is None
    True
    """
    peak = _status("VmHWM") if case.device_type == "cpu" else torch.cuda.max_memory_allocated(case.device)
    return None if start is None or peak is None else max(0, peak - start)


def process_peak() -> int | None:
    """Most memory that this process had at once, since it began or since :func:`start_memory` on a CPU.

    Returns
    -------
    int or None
        Bytes of the machine's memory, not of a GPU's. None where the machine does not tell.

    Examples
    --------
    >>> (process_peak() or 2**20) >= 2**20
    True
    """
    return _status("VmHWM")
