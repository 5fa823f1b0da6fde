"""Ranking an n-best list again by other weights: exact, for every hypothesis carries its unweighted terms."""

from collections.abc import Sequence

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.rescoring import weighted
from hyperconformer.types import Hypothesis


def rerank(nbest: Sequence[Hypothesis], options: SearchOptions) -> list[Hypothesis]:
    """Sort rescored hypotheses as other options would.

    Parameters
    ----------
    nbest : sequence of Hypothesis
        All that were rescored, with every term that has a weight in ``options``.
    options : SearchOptions
        They differ from those of the search in ``ctc_weight``, ``lm_weight`` and ``length_normalization`` at
        most: what has no part in finding hypotheses.

    Returns
    -------
    list of Hypothesis
        Best first; of equals the one that was ahead before.

    Examples
    --------
    >>> one = Hypothesis((5,), -1.0, {"attention": -1.0, "ctc": -1.0, "lm": -9.0})
    >>> two = Hypothesis((6,), -2.0, {"attention": -2.0, "ctc": -2.0, "lm": -3.0})
    >>> [(found.tokens, found.score) for found in rerank([one, two], SearchOptions(lm_weight=0.5))]
    [((6,), -3.5), ((5,), -5.5)]
    """
    ranked = []
    for found in nbest:
        symbols = len(found.tokens) + 1 if options.length_normalization else 1
        ranked.append(Hypothesis(found.tokens, weighted(found.parts, options) / symbols, found.parts))
    return sorted(ranked, key=lambda found: -found.score)
