"""CTC prefix beam search in plain loops and dictionaries: the slow truth beside :mod:`prefix_beam`."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, product

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.types import Hypothesis

Tokens = tuple[int, ...]
Rows = Sequence[Sequence[float]]
Judge = Callable[[Tokens, bool], Mapping[str, float]]
"""Weighted parts of a score of a prefix, or of a whole sentence (True), beside CTC's."""


def nothing_else(tokens: Tokens, whole: bool) -> Mapping[str, float]:
    """CTC alone.

    Examples
    --------
    >>> nothing_else((3, 4), True)
    {}
    """
    return {}


def search_by_dictionary(log_probs_tv: Rows, beam_size: int, judge: Judge = nothing_else) -> list[Hypothesis]:
    """Keep the ``beam_size`` best prefixes of each frame, every one worked out anew from its tokens.

    Parameters
    ----------
    log_probs_tv : T rows of V floats
        CTC log-probabilities of one utterance.
    beam_size : int
        Prefixes that are kept.
    judge : callable
        Scores beside CTC.

    Returns
    -------
    list of Hypothesis
        All that are left, best first.

    Examples
    --------
    >>> rows = [[math.log(p) for p in (0.5, 0.1, 0.1, 0.3)], [math.log(p) for p in (0.2, 0.1, 0.1, 0.6)]]
    >>> [(found.tokens, round(math.exp(found.score), 2)) for found in search_by_dictionary(rows, 2)]
    [((3,), 0.54), ((), 0.1)]
    """
    # Of each prefix the probability of its paths that end in a blank, and in its last token.
    beam: dict[Tokens, tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in log_probs_tv:
        paths: dict[Tokens, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for prefix, (blank, token) in beam.items():
            for label, log_prob in enumerate(row):
                if label == BLANK:
                    paths[prefix][0].extend([blank + log_prob, token + log_prob])
                elif label in (BEGIN, END):
                    continue
                elif prefix and label == prefix[-1]:
                    paths[prefix][1].append(token + log_prob)
                    paths[*prefix, label][1].append(blank + log_prob)
                else:
                    paths[*prefix, label][1].extend([blank + log_prob, token + log_prob])
        sums = {prefix: (log_sum(blanks), log_sum(tokens)) for prefix, (blanks, tokens) in paths.items()}
        ranks = {
            prefix: log_sum(masses) + sum(judge(prefix, False).values()) for prefix, masses in sums.items()
        }
        best = sorted(sums, key=lambda prefix: ranks[prefix], reverse=True)[:beam_size]
        # Impossible prefixes are not kept, unless there are no others.
        possible = [prefix for prefix in best if ranks[prefix] > -math.inf] or best[:1]
        beam = {prefix: sums[prefix] for prefix in possible}
    found = [_hypothesis(log_probs_tv, tokens, judge) for tokens in beam]
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


def _hypothesis(log_probs_tv: Rows, tokens: Tokens, judge: Judge) -> Hypothesis:
    parts = {"ctc": log_probability(log_probs_tv, tokens), **judge(tokens, True)}
    return Hypothesis(tokens, sum(parts.values()), parts)


def log_probability(log_probs_tv: Rows, tokens: Tokens) -> float:
    """Log P(tokens | frames): the sum over all paths, frame by frame.

    Parameters
    ----------
    log_probs_tv : T rows of V floats
        CTC log-probabilities of one utterance.
    tokens : tuple of int
        Without blanks.

    Returns
    -------
    float
        In nats.

    Examples
    --------
    >>> rows = [[math.log(0.25)] * 4] * 2
    >>> round(16 * math.exp(log_probability(rows, (3,))))  # (3, 3), (3, blank) and (blank, 3)
    3
    """
    labels = [BLANK, *(label for token in tokens for label in (token, BLANK))]
    # The state before the first frame lies in front of the first blank.
    states = [0.0] + [-math.inf] * len(labels)
    for row in log_probs_tv:
        arrived = [-math.inf]
        for place, label in enumerate(labels, start=1):
            sources = [states[place - 1], states[place]]
            if place == 2 or (place > 2 and label != BLANK and label != labels[place - 3]):
                sources.append(states[place - 2])
            arrived.append(log_sum(sources) + row[label])
        states = arrived
    return log_sum(states[-2:]) if log_probs_tv else (0.0 if not tokens else -math.inf)


def enumerate_paths(log_probs_tv: Rows) -> dict[Tokens, float]:
    """Log-probabilities of all token sequences, by walking every path.

    Parameters
    ----------
    log_probs_tv : T rows of V floats
        CTC log-probabilities of one utterance; V to the power of T paths.

    Returns
    -------
    dict of tuple of int to float
        Paths with a sign of beginning or end belong to none.

    Examples
    --------
    >>> rows = [[math.log(0.25)] * 4] * 2
    >>> {tokens: round(16 * math.exp(log)) for tokens, log in enumerate_paths(rows).items()}
    {(): 1, (3,): 3}
    """
    logs: dict[Tokens, list[float]] = defaultdict(list)
    labels = (
        [label for label in range(len(log_probs_tv[0])) if label not in (BEGIN, END)] if log_probs_tv else []
    )
    for path in product(labels, repeat=len(log_probs_tv)):
        tokens = tuple(label for label, _ in groupby(path) if label != BLANK)
        logs[tokens].append(sum(row[label] for row, label in zip(log_probs_tv, path, strict=True)))
    return {tokens: log_sum(values) for tokens, values in logs.items()}


def log_sum(logs: Sequence[float]) -> float:
    """Log of a sum of exponentials.

    Examples
    --------
    >>> round(log_sum([math.log(2), math.log(3)]), 6) == round(math.log(5), 6), log_sum([-math.inf])
    (True, -inf)
    """
    peak = max(logs, default=-math.inf)
    return peak if peak == -math.inf else peak + math.log(math.fsum(math.exp(log - peak) for log in logs))
