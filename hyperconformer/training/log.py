"""The training log: a line an epoch, in the file and in the form that SpeechBrain's recipes use."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

Statistics = Mapping[str, float | int | None]


def _short(value: float | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _epoch(line: str) -> int:
    found = re.match(r"epoch: (\d+)", line)
    return int(found[1]) if found else 0


def log_epoch(path: Path, run: Statistics, *, train: Statistics, valid: Statistics) -> str:
    """Append an epoch to the log, and show it.

    Lines of this epoch and of later ones, left by a run that was killed before it kept what they tell of,
    are replaced.

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
    before = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [row for row in before if _epoch(row) < int(run.get("epoch") or 0)]
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text("\n".join([*kept, line, ""]), encoding="utf-8")
    draft.replace(path)
    logger.info(line)
    return line
