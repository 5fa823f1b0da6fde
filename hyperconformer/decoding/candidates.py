"""Which extensions of a beam are the best, without asking CTC about each of them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hyperconformer.constants import END
from hyperconformer.decoding.ctc_prefix import IMPOSSIBLE, CTCPrefix

CANDIDATES = 4
"""Extensions that CTC scores at first, as a multiple of the beam."""

SLACK, ROUNDING = 1e-3, 4 * torch.finfo(torch.float32).eps
"""Bounds are taken in float32: so much more than they say, in nats and of their own size, may be possible."""

HOPELESS = IMPOSSIBLE / 1e6
"""A total below this holds something impossible."""


@dataclass
class SearchStats:
    """How much work the bound on CTC's scores saved.

    Attributes
    ----------
    steps : int
        Steps of an utterance, all utterances together.
    candidates : int
        Extensions that there were.
    scored : int
        Extensions whose CTC score was worked out.
    fallbacks : int
        Steps that needed the whole vocabulary.

    Examples
    --------
    >>> stats = SearchStats(steps=10, candidates=10_000, scored=100, fallbacks=1)
    >>> stats.pruned, stats.fallback_rate
    (0.99, 0.1)
    """

    steps: int = 0
    candidates: int = 0
    scored: int = 0
    fallbacks: int = 0

    def count(self, candidates: int, scored: int, open_b: Tensor) -> None:
        """Add a step of a batch: so many extensions of each utterance, and those that were not enough."""
        open_steps, batch = int(open_b.sum()), len(open_b)
        self.steps += batch
        self.fallbacks += open_steps
        self.candidates += batch * candidates
        if candidates:
            self.scored += (batch - open_steps) * scored + open_steps * candidates

    @property
    def pruned(self) -> float:
        """Share of the extensions that CTC did not have to look at."""
        return 1 - self.scored / max(1, self.candidates)

    @property
    def fallback_rate(self) -> float:
        """Share of the steps that needed the whole vocabulary."""
        return self.fallbacks / max(1, self.steps)


class Extensions(NamedTuple):
    """All that a beam can become in a step.

    Attributes
    ----------
    rest_bk : Tensor, shape (B, K), float64
        Total score of each row without CTC's part; -inf where there is no row.
    labels_bkv : Tensor, shape (B, K, V)
        Weighted scores of each next token without CTC's part; -inf for what cannot follow.
    ends_bk : Tensor, shape (B, K), float64
        Total score of each row with the end symbol, CTC's part included.
    may_end_bk : Tensor, shape (B, K), bool
        Where that is allowed.

    Examples
    --------
    >>> Extensions._fields
    ('rest_bk', 'labels_bkv', 'ends_bk', 'may_end_bk')
    """

    rest_bk: Tensor
    labels_bkv: Tensor
    ends_bk: Tensor
    may_end_bk: Tensor


class Chosen(NamedTuple):
    """The best extensions of each utterance, best first.

    Attributes
    ----------
    totals_bk : Tensor, shape (B, K'), float64
        -inf where there was nothing more to choose.
    rows_bk, tokens_bk : Tensor, shape (B, K'), long
        Which row, and by which token.

    Examples
    --------
    >>> Chosen._fields
    ('totals_bk', 'rows_bk', 'tokens_bk')
    """

    totals_bk: Tensor
    rows_bk: Tensor
    tokens_bk: Tensor


def choose(
    extensions: Extensions, ctc: CTCPrefix | None, ctc_weight: float, beam_size: int, stats: SearchStats
) -> Chosen:
    """Take the best extensions of each utterance.

    CTC can never raise a prefix's score, and :meth:`CTCPrefix.bounds` tells more. The extensions with the
    highest bounds are scored; if the last of the best is not less than the greatest bound among all others,
    no other could be among the best. If it is less, a bound is worked out that is all but equal to the score,
    over the whole vocabulary; and should that not tell either, all are scored.

    Parameters
    ----------
    extensions : Extensions
    ctc : CTCPrefix or None
        The rows; None if CTC has no part.
    ctc_weight : float
        The weight of that part.
    beam_size : int
        How many are wanted.
    stats : SearchStats
        Is added to.

    Returns
    -------
    Chosen
        Where no token is possible any more, rows end though they may not.

    Examples
    --------
    >>> minus = -torch.inf
    >>> extensions = Extensions(
    ...     torch.tensor([[0.0]]).double(), torch.tensor([[[minus, minus, minus, -1.0, -2.0]]]),
    ...     torch.tensor([[-1.5]]).double(), torch.tensor([[True]]))
    >>> choose(extensions, None, 0.0, 2, SearchStats())
    Chosen(totals_bk=tensor([[-1.0000, -1.5000]], dtype=torch.float64), rows_bk=tensor([[0, 0]]), \
tokens_bk=tensor([[3, 2]]))
    """
    batch, rows, vocabulary = extensions.labels_bkv.shape
    count = min(CANDIDATES * beam_size, rows * vocabulary)
    if ctc is None:
        chosen, _ = _scored(extensions, None, 0.0, beam_size, extensions.labels_bkv)
        stats.count(0, count, torch.zeros(batch, dtype=torch.bool))
        return chosen
    own_bk, reached_bk = ctc.bounds()
    bounds_bkv = ctc.frames.peaks_bv.unsqueeze(1) + reached_bk.float().unsqueeze(2)
    bounds_bkv = (
        bounds_bkv.clamp_(max=own_bk.float().unsqueeze(2)).mul_(ctc_weight).add_(extensions.labels_bkv)
    )
    chosen, open_b = _scored(extensions, ctc, ctc_weight, beam_size, bounds_bkv)
    stats.count(rows * vocabulary, count, open_b)
    if open_b.any():
        bounds_bkv = ctc.close_bounds().mul_(ctc_weight).add_(extensions.labels_bkv)
        closer, still_b = _scored(extensions, ctc, ctc_weight, beam_size, bounds_bkv)
        chosen, open_b = _replaced(open_b, chosen, closer), open_b & still_b
    if open_b.any():
        chosen = _replaced(open_b, chosen, _whole(extensions, ctc, ctc_weight, beam_size))
    return chosen


def _replaced(where_b: Tensor, old: Chosen, new: Chosen) -> Chosen:
    """The new choice for some utterances."""
    return Chosen(
        *(torch.where(where_b.unsqueeze(1), ours, theirs) for ours, theirs in zip(new, old, strict=True))
    )


def _scored(
    extensions: Extensions, ctc: CTCPrefix | None, ctc_weight: float, beam_size: int, bounds_bkv: Tensor
) -> tuple[Chosen, Tensor]:
    """The best among the extensions with the highest bounds, and where (B,) another might be better."""
    batch, rows, vocabulary = bounds_bkv.shape
    count = min(CANDIDATES * beam_size, rows * vocabulary)
    flat_bn = bounds_bkv.add(extensions.rest_bk.float().unsqueeze(2)).flatten(1)
    greatest_bm, flat_bm = flat_bn.topk(count, dim=1)
    rows_bm, tokens_bm = flat_bm // vocabulary, flat_bm % vocabulary
    totals_bm = extensions.rest_bk.gather(1, rows_bm) + extensions.labels_bkv.flatten(1).gather(1, flat_bm)
    if ctc is not None:
        totals_bm = totals_bm + ctc_weight * ctc.scores(rows_bm, tokens_bm)
    chosen = _best(totals_bm, rows_bm, tokens_bm, extensions, beam_size)
    if count == rows * vocabulary:
        return chosen, torch.zeros(batch, dtype=torch.bool, device=totals_bm.device)
    bound_b = greatest_bm[:, -1].double()
    slack_b = SLACK + ROUNDING * greatest_bm.abs().masked_fill(greatest_bm.isinf(), 0.0).amax(dim=1)
    return chosen, bound_b + slack_b > chosen.totals_bk[:, -1]


def _whole(extensions: Extensions, ctc: CTCPrefix, ctc_weight: float, beam_size: int) -> Chosen:
    """The best extensions, after scoring all."""
    vocabulary = extensions.labels_bkv.shape[2]
    totals_bkv = ctc.all_scores().mul_(ctc_weight)
    totals_bkv += extensions.labels_bkv
    totals_bkv += extensions.rest_bk.unsqueeze(2)
    totals_bm, flat_bm = totals_bkv.flatten(1).topk(beam_size, dim=1)
    return _best(totals_bm, flat_bm // vocabulary, flat_bm % vocabulary, extensions, beam_size)


def _best(
    totals_bm: Tensor, rows_bm: Tensor, tokens_bm: Tensor, extensions: Extensions, beam_size: int
) -> Chosen:
    """The best among some extensions by tokens and those by the end symbol."""
    batch, rows = extensions.ends_bk.shape
    hopeless_b1 = totals_bm.amax(dim=1, keepdim=True) < HOPELESS
    ends_bk = extensions.ends_bk.masked_fill(~(extensions.may_end_bk | hopeless_b1), -torch.inf)
    totals = torch.cat((totals_bm, ends_bk), dim=1)
    every_bk = torch.arange(rows, device=totals.device).expand(batch, -1)
    best_bk, index_bk = totals.topk(min(beam_size, totals.shape[1]), dim=1)
    return Chosen(
        best_bk.masked_fill(best_bk < HOPELESS, -torch.inf),
        torch.cat((rows_bm, every_bk), dim=1).gather(1, index_bk),
        torch.cat((tokens_bm, torch.full_like(every_bk, END)), dim=1).gather(1, index_bk),
    )
