"""What a search is told, whichever it is."""

from dataclasses import dataclass

from hyperconformer.errors import check_range

MOST = 1e6
"""No weight, bonus, temperature or ratio is greater."""
MOST_HYPOTHESES = 1_000
"""The widest beam: a wider one would find little more, and its scores would fill the memory."""

_PREFIX = (
    "beam_size",
    "nbest",
    "lm_weight",
    "ngram_weight",
    "word_bonus",
    "hotword_bonus",
    "lm_temperature",
)
_ATTENTION = (*_PREFIX, "ctc_weight", "temperature", "length_normalization")
HEEDED: dict[str, tuple[str, ...]] = {
    "greedy": (),
    "prefix": _PREFIX,
    "rescore": _ATTENTION,
    "joint": (*_ATTENTION, "min_decode_ratio", "max_decode_ratio", "eos_threshold"),
}
"""The options that each search of searches.SEARCHES heeds; here, for that one is slow to import."""


@dataclass(frozen=True)
class SearchOptions:
    """The dials of the searches; each heeds those that :data:`HEEDED` names.

    A complete hypothesis scores, in nats,
    ``(1 - ctc_weight) * attention + ctc_weight * ctc + lm_weight * lm + ngram_weight * ngram
    + word_bonus * words + hotwords``; prefix search takes ``ctc`` whole and no attention.

    Attributes
    ----------
    beam_size : int
        Hypotheses that are kept, 1 to 1,000.
    nbest : int
        Hypotheses that are returned, at most; no more than are kept.
    ctc_weight : float
        Share of CTC beside attention, 0 to 1.
    lm_weight, ngram_weight : float
        Of a Transformer over tokens, and of an n-gram model over words.
    word_bonus : float
        For every word, against the n-gram model's love of few.
    hotword_bonus : float
        For every character of a hotword.
    temperature, lm_temperature : float
        Divide the logits of attention and of the Transformer language model.
    length_normalization : bool
        Rank complete hypotheses by score per symbol, the end included (joint search, rescoring).
    min_decode_ratio, max_decode_ratio : float
        Tokens before the end, at least; symbols with the end, at most; per encoder frame (joint search). A
        ratio of 1 leaves room for a token less than there are frames; the other searches know no such limit.
    eos_threshold : float or None
        The end is allowed only where its attention log-probability is greater than this times the best
        token's, a number >= 1 (joint search).

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> SearchOptions(beam_size=66, lm_weight=0.6).ctc_weight
    0.4
    >>> SearchOptions(nbest=20)
    Traceback (most recent call last):
        ...
    ValueError: nbest 20 is more than beam_size 10: ask for fewer or keep more
    """

    beam_size: int = 10
    nbest: int = 1
    ctc_weight: float = 0.4
    lm_weight: float = 0.0
    ngram_weight: float = 0.0
    word_bonus: float = 0.0
    hotword_bonus: float = 0.0
    temperature: float = 1.0
    lm_temperature: float = 1.0
    length_normalization: bool = False
    min_decode_ratio: float = 0.0
    max_decode_ratio: float = 1.0
    eos_threshold: float | None = None

    def weight(self, part: str) -> float:
        """The weight of a part of a score; 1 for those, such as hotwords, that have none of their own."""
        weights = {
            "ctc": self.ctc_weight,
            "attention": 1 - self.ctc_weight,
            "lm": self.lm_weight,
            "ngram": self.ngram_weight,
            "words": self.word_bonus,
        }
        return weights.get(part, 1.0)

    def __post_init__(self) -> None:
        for name in ("beam_size", "nbest"):
            check_range(name, getattr(self, name), 1, MOST_HYPOTHESES)
        for name in ("lm_weight", "ngram_weight", "min_decode_ratio"):
            check_range(name, getattr(self, name), 0, MOST)
        for name in ("word_bonus", "hotword_bonus"):
            check_range(name, getattr(self, name), -MOST, MOST)
        check_range("ctc_weight", self.ctc_weight, 0, 1)
        for name in ("temperature", "lm_temperature", "max_decode_ratio"):
            check_range(name, getattr(self, name), 1e-3, MOST)
        if self.eos_threshold is not None:
            check_range("eos_threshold", self.eos_threshold, 1, MOST)
        if self.min_decode_ratio > self.max_decode_ratio:
            raise ValueError(
                f"min_decode_ratio {self.min_decode_ratio} is more than max_decode_ratio "
                f"{self.max_decode_ratio}: lower it or raise the other"
            )
        if self.nbest > self.beam_size:
            raise ValueError(
                f"nbest {self.nbest} is more than beam_size {self.beam_size}: ask for fewer or keep more"
            )
