"""What the training of a classifier found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hyperconformer.bench.trainings.runs import Found


@dataclass(frozen=True)
class TextFound(Found):
    """What a training found.

    Attributes
    ----------
    train_texts : int
    accuracy : mapping of str to float
        By split, ``valid`` among them.
    correct : mapping of str to str
        By split: a 1 for every text that was classified as it should, else a 0.
    texts : mapping of str to str
        By split: a sum over the texts and their labels; equal for equal splits.
    strangers : mapping
        How well texts of no class are told apart.

    Examples
    --------
    >>> TextFound("k", "diverged", "60 steps in a row were skipped").accuracy
    {}
    >>> print(TextFound("k", "ok", accuracy={"valid": 0.5}, train_seconds=60.0))
    valid 50.00 %, 60 s
    """

    bench: ClassVar[str] = "bench text"

    train_texts: int = 0
    accuracy: Mapping[str, float] = field(default_factory=dict)
    correct: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    strangers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scores(self) -> str:
        """Its accuracies."""
        return ", ".join(f"{split} {100 * accuracy:.2f} %" for split, accuracy in self.accuracy.items())

    @property
    def tests(self) -> list[str]:
        """Its splits but the one to validate by."""
        return [split for split in self.accuracy if split != "valid"]
