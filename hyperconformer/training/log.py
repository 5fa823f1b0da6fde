"""The training log: a line an epoch, in the file and in the form that SpeechBrain's recipes use."""

import re
from collections.abc import Mapping
from pathlib import Path

from hyperconformer.training.files import replace_text

Statistics = Mapping[str, float | int | None]


def _short(value: float | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _epoch(line: str) -> int:
    found = re.match(r"epoch: (\d+)", line)
    return int(found[1]) if found else 0


def epoch_line(run: Statistics, *, train: Statistics, valid: Statistics) -> str:
    """What the log says of an epoch.

    Parameters
    ----------
    run, train, valid : mapping of str to number
        Statistics of the run, ``epoch`` first, and of the two stages.

    Returns
    -------
    str

    Examples
    --------
    >>> epoch_line({"epoch": 1}, train={"loss": 2.5}, valid={"WER": 12.0})
    'epoch: 1 - train loss: 2.5 - valid WER: 12'
    """
    stages = (("", run), ("train ", train), ("valid ", valid))
    return " - ".join(
        ", ".join(f"{stage}{name}: {_short(value)}" for name, value in statistics.items())
        for stage, statistics in stages
    )


def write_epoch(path: Path, line: str) -> bool:
    r"""Append an epoch's line to the log, unless it ends with it.

    Lines of that epoch and of later ones, left by a run that was killed before it kept what they tell of,
    are replaced.

    Parameters
    ----------
    path : Path
        The log.
    line : str
        Of :func:`epoch_line`.

    Returns
    -------
    bool
        Whether it is new.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = Path(folder) / "train_log.txt"
    ...     [write_epoch(log, f"epoch: {line}") for line in ("1 - a", "2 - b", "2 - c", "2 - c")]
    ...     log.read_text()
    [True, True, True, False]
    'epoch: 1 - a\nepoch: 2 - c\n'
    """
    before = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if before[-1:] == [line]:
        return False
    kept = [row for row in before if _epoch(row) < _epoch(line)]
    replace_text(path, "\n".join([*kept, line, ""]))
    return True


def read_epochs(path: Path) -> list[dict[str, float]]:
    r"""Read the statistics of every epoch back.

    Parameters
    ----------
    path : Path
        The log.

    Returns
    -------
    list of dict of str to float
        Names as in the file, for instance ``valid loss``.

    Examples
    --------
    >>> log = getfixture("tmp_path") / "train_log.txt"
    >>> _ = write_epoch(log, epoch_line({"epoch": 1}, train={"audio s/s": 90.5}, valid={"loss": 2.5}))
    >>> read_epochs(log)
    [{'epoch': 1.0, 'train audio s/s': 90.5, 'valid loss': 2.5}]
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [re.findall(r"([^:,]+): ([^,]+)", line.replace(" - ", ", ")) for line in lines if _epoch(line)]
    return [{name.strip(): float(value) for name, value in row} for row in rows]
