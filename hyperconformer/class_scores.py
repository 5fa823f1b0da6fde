"""Predicted classes against true ones: accuracy with its interval, F1, confusions; and texts of no class.

Rates are fractions in Python and percent in files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hyperconformer.errors import InputError

RESAMPLES = 2000
KEPT = 0.95
"""Share of the validation texts that a threshold for texts of no class is to keep."""
_SEED = 1
_SHOWN = 20


class ClassRow(NamedTuple):
    """How one class fared.

    Attributes
    ----------
    label : str
    texts : int
        That are of it.
    precision, recall, f1 : float
        Zero where there is nothing to divide.

    Examples
    --------
    >>> judge("test", [0, 0, 1], [0, 1, 1], ["no", "yes"]).classes[0].recall
    0.5
    """

    label: str
    texts: int
    precision: float
    recall: float
    f1: float


class Confusion(NamedTuple):
    """Texts of one class that were taken for another.

    Attributes
    ----------
    label, predicted : str
    texts : int

    Examples
    --------
    >>> judge("test", [0, 0, 1], [0, 1, 1], ["no", "yes"]).confusions
    [Confusion(label='no', predicted='yes', texts=1)]
    """

    label: str
    predicted: str
    texts: int


@dataclass(frozen=True)
class ClassReport:
    """A judged split.

    Attributes
    ----------
    split : str
    labels : tuple of str
        The classes.
    confusion : array, shape (C, C), int64
        Texts by true class and predicted one.
    low, high : float
        Ends of the 95 % interval of the accuracy.

    Examples
    --------
    >>> report = judge("test", [0, 0, 1, 1], [0, 1, 1, 1], ["no", "yes"])
    >>> report.texts, report.wrong, report.accuracy, round(report.macro_f1, 4)
    (4, 1, 0.75, 0.7333)
    """

    split: str
    labels: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    low: float
    high: float

    @property
    def texts(self) -> int:
        """All of them."""
        return int(self.confusion.sum())

    @property
    def wrong(self) -> int:
        """Those with another class than their own."""
        return self.texts - int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of the right ones."""
        return 1 - self.wrong / self.texts

    @property
    def classes(self) -> list[ClassRow]:
        """A row for every class that a text is of, or was taken for."""
        right = np.diag(self.confusion)
        true, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        rows = []
        for n, label in enumerate(self.labels):
            if true[n] + predicted[n]:
                parts = (right[n] / max(1, predicted[n]), right[n] / max(1, true[n]))
                f1 = 2 * right[n] / (true[n] + predicted[n])
                rows.append(ClassRow(label, int(true[n]), *map(float, (*parts, f1))))
        return rows

    @property
    def macro_f1(self) -> float:
        """Mean F1 of these classes, each counting alike."""
        return float(np.mean([row.f1 for row in self.classes]))

    @property
    def confusions(self) -> list[Confusion]:
        """What was taken for what, the most frequent first."""
        off = self.confusion - np.diag(np.diag(self.confusion))
        found = sorted((-int(off[true, taken]), int(true), int(taken)) for true, taken in np.argwhere(off))
        return [Confusion(self.labels[true], self.labels[taken], -count) for count, true, taken in found]

    def lines(self) -> Iterator[str]:
        """Say it: the headline, the most frequent confusions, and every class, the worst first."""
        interval = f"95 % interval {100 * self.low:.2f} - {100 * self.high:.2f}"
        yield (
            f"{self.split}: accuracy {100 * self.accuracy:.2f} % ({interval}), "
            f"macro-F1 {100 * self.macro_f1:.2f} %"
        )
        yield f"{self.wrong} of {self.texts} texts are wrong"
        for said in self.confusions[:_SHOWN]:
            yield f"{said.texts:>6}  {said.label} taken for {said.predicted}"
        width = max(5, *(len(row.label) for row in self.classes))
        yield ""
        yield f"{'class':<{width}}{'texts':>8}{'precision %':>13}{'recall %':>10}{'F1 %':>8}"
        for row in sorted(self.classes, key=lambda row: (row.f1, row.label)):
            precision, recall, f1 = (100 * rate for rate in row[2:])
            yield f"{row.label:<{width}}{row.texts:>8}{precision:>13.2f}{recall:>10.2f}{f1:>8.2f}"


def judge(split: str, true: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> ClassReport:
    """Compare predicted classes with the true ones.

    The interval says how far the accuracy would move with other texts: texts are drawn with replacement 2000
    times, and it runs from the 2.5th to the 97.5th percentile of what these draws give. The seed is fixed.
    Where all texts are right, or all wrong, every draw is the same, and it is Clopper and Pearson's.

    Parameters
    ----------
    split : str
        Named in the report.
    true, predicted : sequence of int
        Of every text, from 0.
    labels : sequence of str
        What the numbers mean.

    Returns
    -------
    ClassReport

    Raises
    ------
    InputError
        If there are no texts.

    References
    ----------
    Efron, Bootstrap methods: another look at the jackknife, 1979.
    Clopper and Pearson, The use of confidence or fiducial limits, 1934.

    Examples
    --------
    >>> report = judge("test", [0] * 50 + [1] * 50, [0] * 100, ["no", "yes"])
    >>> report.accuracy, round(report.low, 1), round(report.high, 1)
    (0.5, 0.4, 0.6)
    """
    if not len(true):
        raise InputError(f"split '{split}' has no texts to judge: give others")
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (np.asarray(true), np.asarray(predicted)), 1)
    texts = len(true)
    # The right ones among so many texts that are drawn with replacement: that is a binomial number.
    rng = np.random.default_rng(_SEED)
    drawn = rng.binomial(texts, np.trace(confusion) / texts, size=RESAMPLES) / texts
    low, high = np.percentile(drawn, [2.5, 97.5])
    if not 0 < np.trace(confusion) < texts:
        # So few would all be right, or all wrong, by a chance of 2.5 % only.
        limit = 0.025 ** (1 / texts)
        low, high = (limit, 1.0) if np.trace(confusion) else (0.0, 1 - limit)
    return ClassReport(split, tuple(labels), confusion, float(low), float(high))


def class_metrics(report: ClassReport) -> dict[str, float]:
    """Give the numbers of a report under the names they have in ``metrics.json``.

    Parameters
    ----------
    report : ClassReport

    Returns
    -------
    dict of str to float
        Rates in percent, rounded to four digits; the other entries are whole numbers.

    Examples
    --------
    >>> row = class_metrics(judge("test", [0, 0, 1, 1], [0, 1, 1, 1], ["no", "yes"]))
    >>> row["accuracy"], row["macro_f1"], row["wrong"], row["texts"]
    (75.0, 73.3333, 1, 4)
    """
    rates = ("accuracy", "low", "high", "macro_f1")
    row: dict[str, float] = {name: round(100 * float(getattr(report, name)), 4) for name in rates}
    return row | {"wrong": report.wrong, "texts": report.texts}


@dataclass(frozen=True)
class StrangerReport:
    """How well texts of no class are known by the low probability of their likeliest class.

    Attributes
    ----------
    texts : int
        Of no class.
    auroc : float
        How often a text of a class has the higher probability of the two, ties counting half.
    threshold : float
        Below it a text is rejected.
    rejected : float
        Share of the texts of no class that are.
    kept : float
        Share of the test's texts that are not.

    Examples
    --------
    >>> stranger_report([0.9, 0.8], [0.7, 0.4], valid=[0.9, 0.6]).rejected
    0.5
    """

    texts: int
    auroc: float
    threshold: float
    rejected: float
    kept: float


def stranger_auroc(known: Sequence[float], strangers: Sequence[float]) -> float:
    """How often a text of a class is surer than one of none, ties counting half: the area under the ROC.

    Parameters
    ----------
    known, strangers : sequence of float
        Probability of the likeliest class.

    Returns
    -------
    float

    References
    ----------
    Hendrycks and Gimpel, A baseline for detecting misclassified and out-of-distribution examples, arXiv
    1610.02136.

    Examples
    --------
    >>> stranger_auroc([0.9, 0.5], [0.5, 0.1])
    0.875
    """
    ordered = np.sort(np.asarray(known, dtype=np.float64))
    below = np.searchsorted(ordered, strangers, side="left")
    up_to = np.searchsorted(ordered, strangers, side="right")
    return float(1 - np.mean(below + up_to) / (2 * len(ordered)))


def stranger_report(
    known: Sequence[float], strangers: Sequence[float], *, valid: Sequence[float]
) -> StrangerReport:
    """Tell texts of no class from those of the classes, at a threshold that validation set.

    Parameters
    ----------
    known, strangers : sequence of float
        Probability of the likeliest class, of a test's texts and of texts of no class.
    valid : sequence of float
        Likewise, of validation texts: the threshold is the highest of theirs that keeps 95 % of them.

    Returns
    -------
    StrangerReport

    Examples
    --------
    >>> stranger_report([0.9, 0.8], [0.7, 0.4], valid=[0.9, 0.6]).threshold
    0.6
    """
    # With the numbers from high to low, the last one that is needed for the share.
    threshold = float(np.sort(valid)[int(np.floor((1 - KEPT) * len(valid) + 1e-9))])
    return StrangerReport(
        len(strangers),
        stranger_auroc(known, strangers),
        threshold,
        rejected=float(np.mean(np.asarray(strangers) < threshold)),
        kept=float(np.mean(np.asarray(known) >= threshold)),
    )


def stranger_metrics(report: StrangerReport) -> dict[str, float]:
    """Give the numbers of a report under the names they have in ``metrics.json``.

    Parameters
    ----------
    report : StrangerReport

    Returns
    -------
    dict of str to float
        Rates in percent, rounded to four digits, but the threshold, a probability.

    Examples
    --------
    >>> stranger_metrics(StrangerReport(2, 1.0, 0.6, rejected=0.5, kept=1.0))["rejected"]
    50.0
    """
    percent = {name: round(100 * getattr(report, name), 4) for name in ("auroc", "rejected", "kept")}
    return asdict(report) | percent


def write_predictions(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    r"""Write a table of what was predicted, a line a text.

    Parameters
    ----------
    path : Path
        Tab-separated; white space within a text becomes a single space.
    rows : sequence of mapping
        All with the same keys, which become the first line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "predictions_test.tsv"
    ...     write_predictions(path, [{"text": "yes\tindeed", "predicted": "yes", "probability": 0.987654321}])
    ...     path.read_text()
    'text\tpredicted\tprobability\nyes indeed\tyes\t0.987654\n'
    """
    lines = ["\t".join(rows[0])] if rows else []
    lines += ["\t".join(map(_cell, row.values())) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
