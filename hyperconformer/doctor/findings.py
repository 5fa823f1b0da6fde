"""What the doctor finds: a line that is ok, a warning or a fault, the last two with a remedy."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "FAULT"]
GIBIBYTE = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    level : {"ok", "warning", "FAULT"}
    subject : str
        What was looked at.
    said : str
        What is the case.
    remedy : str
        What to do; empty where all is well, or where ``said`` tells it.

    Examples
    --------
    >>> print(Finding("FAULT", "disk", "full", "delete old runs"))
    FAULT    disk           full
                            -> delete old runs
    """

    level: Level
    subject: str
    said: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n{'':<23} -> {self.remedy}" if self.remedy else ""
        return f"{self.level:<8} {self.subject:<14} {self.said}{remedy}"


def ok(subject: str, said: str) -> Finding:
    """Nothing to do.

    Parameters
    ----------
    subject, said : str

    Returns
    -------
    Finding

    Examples
    --------
    >>> ok("python", "3.11.2").level
    'ok'
    """
    return Finding("ok", subject, said)


def warning(subject: str, said: str, remedy: str) -> Finding:
    """Something works worse than it could, or may fail later.

    Parameters
    ----------
    subject, said, remedy : str

    Returns
    -------
    Finding

    Examples
    --------
    >>> warning("memory", "1 GiB free", "close something").level
    'warning'
    """
    return Finding("warning", subject, said, remedy)


def fault(subject: str, said: str, remedy: str = "") -> Finding:
    """Something does not work; the remedy may be part of what is said.

    Parameters
    ----------
    subject, said, remedy : str

    Returns
    -------
    Finding

    Examples
    --------
    >>> fault("torch", "missing", "install it").level
    'FAULT'
    """
    return Finding("FAULT", subject, said, remedy)


def gib(size: float) -> str:
    """Write a number of bytes in GiB.

    Parameters
    ----------
    size : float

    Returns
    -------
    str

    Examples
    --------
    >>> gib(3 * 2**29)
    '1.5 GiB'
    """
    return f"{size / GIBIBYTE:.1f} GiB"
