"""The training log: a line an epoch, in the file and in the form that SpeechBrain's recipes use."""

import logging
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

Statistics = Mapping[str, float | int | None]


def _short(value: float | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def log_epoch(path: Path, run: Statistics, *, train: Statistics, valid: Statistics) -> str:
    """Append an epoch to the log, and show it.

    Parameters
    ----------
    path : Path
        The log.
    run, train, valid : mapping of str to number
        Statistics of the run and of the two stages.

    Returns
    -------
    str
        The line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log_epoch(Path(folder) / "train_log.txt", {"epoch": 1}, train={"loss": 2.5}, valid={"WER": 12.0})
    'epoch: 1 - train loss: 2.5 - valid WER: 12'
    """
    stages = (("", run), ("train ", train), ("valid ", valid))
    line = " - ".join(
        ", ".join(f"{stage}{name}: {_short(value)}" for name, value in statistics.items())
        for stage, statistics in stages
    )
    with path.open("a", encoding="utf-8") as log:
        print(line, file=log)
    logger.info(line)
    return line
