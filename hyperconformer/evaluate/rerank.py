"""Ranking an n-best list again by other weights: exact, for every hypothesis carries its unweighted terms."""

from collections.abc import Sequence

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.types import Hypothesis

WEIGHTS = ("ctc_weight", "lm_weight")
"""What decides the ranking of rescored hypotheses alone, and not which ones there are."""


def total(hypothesis: Hypothesis, before: SearchOptions, after: SearchOptions) -> float:
    """What a hypothesis that was scored by some weights scores by others.

    Parameters
    ----------
    hypothesis : Hypothesis
        With its terms.
    before, after : SearchOptions
        They differ in ``WEIGHTS`` alone.

    Returns
    -------
    float

    Examples
    --------
    >>> terms = {"attention": -2.0, "ctc": -4.0, "lm": -10.0}
    >>> found = Hypothesis((5,), score=-3.0, parts=terms)
    >>> before = SearchOptions(ctc_weight=0.5)
    >>> total(found, before, SearchOptions(ctc_weight=0.5, lm_weight=0.1))
    -4.0
    """
    terms = hypothesis.parts
    attention, ctc, lm = (terms.get(name, 0.0) for name in ("attention", "ctc", "lm"))
    # What the weights of other terms add stays as it is.
    more_ctc = (after.ctc_weight - before.ctc_weight) * (ctc - attention)
    return hypothesis.score + more_ctc + (after.lm_weight - before.lm_weight) * lm


def rerank(
    nbest: Sequence[Hypothesis], before: SearchOptions, after: SearchOptions
) -> list[tuple[float, Hypothesis]]:
    """Sort hypotheses by other weights.

    Parameters
    ----------
    nbest : sequence of Hypothesis
        All that the search scored, not only the best.
    before, after : SearchOptions
        They differ in ``WEIGHTS`` alone.

    Returns
    -------
    list of (float, Hypothesis)
        Best first; of equals the one that was ahead before.

    Examples
    --------
    >>> one = Hypothesis((5,), -1.0, {"attention": -1.0, "ctc": -1.0, "lm": -9.0})
    >>> two = Hypothesis((6,), -2.0, {"attention": -2.0, "ctc": -2.0, "lm": -3.0})
    >>> [found.tokens for _, found in rerank([one, two], SearchOptions(), SearchOptions(lm_weight=0.5))]
    [(6,), (5,)]
    """
    scored = [(total(hypothesis, before, after), hypothesis) for hypothesis in nbest]
    return sorted(scored, key=lambda pair: -pair[0])
