"""Texts with a label, alone or in pairs: what a classifier learns from."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hyperconformer.errors import InputError


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


def check_characters(text: str, where: str) -> None:
    r"""Refuse a text with half a character, which JSON can say and no file of UTF-8 can hold.

    Parameters
    ----------
    text : str
    where : str
        Named in the error.

    Raises
    ------
    InputError
        If there is one.

    Examples
    --------
    >>> check_characters("caf\ud800", "line 7")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: line 7: '\ud800' is half a character, and no UTF-8: correct it
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise InputError(f"{where}: {half!r} is half a character, and no UTF-8: correct it") from error


def hold_out(texts: Sequence[LabelledText], share: float) -> tuple[list[LabelledText], list[LabelledText]]:
    """Part texts into those to learn from and those to validate by.

    No text is on both sides, in either place of a pair: pairs that share one, or hang together by others
    that do, are held out together, as the words of the first in the alphabet decide. They are learnt from
    where they are more than all that is to be held out, or have a class that no others have.

    Parameters
    ----------
    texts : sequence of LabelledText
    share : float
        About so much is held out, or less where many pairs hang together.

    Returns
    -------
    train, valid : list of LabelledText
        The latter may be empty, where there are few texts.

    Examples
    --------
    >>> train, valid = hold_out([LabelledText(f"number {n}", "n") for n in range(1000)], 0.1)
    >>> len(train), len(valid)
    (883, 117)
    """
    roots = _roots(texts)
    most = max(1.0, share * len(texts))
    held = {root for root, rows in Counter(roots).items() if _place(root) < share and rows <= most}
    learnt = {one.label for one, root in zip(texts, roots, strict=True) if root not in held}
    held -= {root for one, root in zip(texts, roots, strict=True) if one.label not in learnt}
    train = [one for one, root in zip(texts, roots, strict=True) if root not in held]
    return train, [one for one, root in zip(texts, roots, strict=True) if root in held]


def _roots(texts: Sequence[LabelledText]) -> list[str]:
    """Of each text, or pair, the first in the alphabet of all texts that hang together with it."""
    before: dict[str, str] = {}

    def root(text: str) -> str:
        while (above := before.setdefault(text, text)) != text:
            # Halved at every look, the way up stays short.
            before[text] = text = before[above]
        return text

    for one in texts:
        if one.second:
            first, last = sorted((root(one.text), root(one.second)))
            before[last] = first
    return [root(one.text) for one in texts]


def _place(text: str) -> float:
    """Between 0 and 1, as if drawn at random."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32
