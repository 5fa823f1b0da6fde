"""Texts with a label, alone or in pairs: what a classifier learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LabelledText:
    """One text, or a pair, and its class.

    Attributes
    ----------
    text : str
    label : str
    second : str
        The other text of a pair; empty where there is none.

    Examples
    --------
    >>> LabelledText("what's the weather like", "weather").second
    ''
    """

    text: str
    label: str
    second: str = ""


@dataclass(frozen=True)
class LabelledCorpus:
    """The splits of a corpus.

    Attributes
    ----------
    train, valid : sequence of LabelledText
    tests : dict of str to sequence of LabelledText
        By name, in the order of the report.
    strangers : dict of str to sequence of LabelledText
        Texts of no class: it is asked how well the classifier knows them from those of the first test.

    Examples
    --------
    >>> LabelledCorpus([LabelledText("yes", "y"), LabelledText("no", "n")], [], {}).labels
    ('n', 'y')
    """

    train: Sequence[LabelledText]
    valid: Sequence[LabelledText]
    tests: Mapping[str, Sequence[LabelledText]]
    strangers: Mapping[str, Sequence[LabelledText]] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes of the training texts, sorted."""
        return tuple(sorted({one.label for one in self.train}))

    @property
    def texts(self) -> int:
        """2 where the texts come in pairs, else 1."""
        return 2 if any(one.second for one in self.train) else 1
