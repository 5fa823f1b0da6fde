"""Bring transcripts into the shape that a model is to learn: their case, and no punctuation."""

import unicodedata
from collections.abc import Callable

CASES: dict[str, Callable[[str], str]] = {"keep": str, "upper": str.upper, "lower": str.lower}

_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u00b4`"), "'")


def plain_words(text: str, *, case: str = "keep", strip_punctuation: bool = False) -> str:
    """Normalise a transcript.

    Parameters
    ----------
    text : str
        As it was written.
    case : str
        ``keep``, ``upper`` or ``lower``.
    strip_punctuation : bool
        Replace everything but letters, digits and the apostrophes inside words by a space. Numbers stay
        digits: how they were read aloud only a listener knows.

    Returns
    -------
    str
        Composed Unicode (NFC), single spaces between words; empty where nothing is left.

    Raises
    ------
    ValueError
        If `case` is none of the three.

    Examples
    --------
    >>> plain_words("“Well-known”,  she said; isn’t it?", case="upper", strip_punctuation=True)
    "WELL KNOWN SHE SAID ISN'T IT"
    """
    if case not in CASES:
        raise ValueError(f"case {case!r}: choose from {', '.join(CASES)}")
    text = unicodedata.normalize("NFC", text)
    if strip_punctuation:
        text = text.translate(_APOSTROPHES)
        text = "".join(_kept(text, index) for index in range(len(text)))
    return " ".join(CASES[case](text).split())


def _kept(text: str, index: int) -> str:
    """Give back a character, or a space in its place."""
    if text[index] == "'":
        inside = 0 < index < len(text) - 1 and text[index - 1].isalnum() and text[index + 1].isalnum()
        return "'" if inside else " "
    # L: letters, M: the marks on them, N: numbers
    return text[index] if unicodedata.category(text[index])[0] in "LMN" else " "
