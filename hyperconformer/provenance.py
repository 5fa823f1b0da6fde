"""What ran, and on what: a number comes with both."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path


def commit(*options: str) -> str:
    """The commit of the checkout that runs, marked where it has changes.

    Parameters
    ----------
    *options : str
        Further options of ``git describe``.

    Returns
    -------
    str
        Empty where the package does not stand in a checkout of its own.

    Examples
    --------
    >>> len(commit("--abbrev=12").splitlines()) <= 1
    True
    """
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    describe = ["git", "describe", "--always", "--dirty", *options]
    try:
        done = subprocess.run(describe, cwd=root, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def processor() -> str:
    """The processor's name, where the system tells it; else its kind.

    Returns
    -------
    str

    Examples
    --------
    >>> bool(processor())
    True
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def environment() -> dict[str, str]:
    """What a number must be quoted with: command, commit, hardware and date.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> sorted(environment())
    ['command', 'commit', 'date', 'hardware', 'threads']
    """
    import torch  # slow to import

    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit("--abbrev=12"),
        "hardware": f"{gpu}{processor()}, {os.cpu_count()} cores",
        "threads": str(torch.get_num_threads()),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
