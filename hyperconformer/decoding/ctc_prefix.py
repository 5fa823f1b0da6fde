"""CTC scores of what begins with a prefix, in closed form over time: no loop over frames."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hyperconformer.constants import BLANK
from hyperconformer.nn.masks import padding_mask

IMPOSSIBLE = -1e30
"""Stands for the logarithm of nothing: -inf would turn differences into NaN."""

LEAST = -1e4
"""No log-probability of a frame is taken to be less: e to this is nothing in float64 too."""

FAINT = 1e-250
"""What a sum of products under this was in float64, is not known: too much of it may have been lost."""

ROUNDING = 1e-3
"""Relative error of a sum of products in float32, at most."""

TINY = 1e-18
"""Probabilities below this are nothing in such a sum: numbers that are not normal take far longer."""


class CTCFrames:
    """CTC log-probabilities of a batch as prefixes want them.

    Parameters
    ----------
    log_probs_bvt : Tensor, shape (B, V, T)
        At padded frames the blank is sure and all else impossible, so that they change nothing.

    Examples
    --------
    >>> frames = CTCFrames(torch.tensor([[[0.5, 0.25], [0.5, 0.75]]]).log())
    >>> frames.peaks_bv.exp(), frames.keep(torch.tensor([0, 0])).probabilities.shape
    (tensor([[0.5000, 0.7500]]), torch.Size([2, 2, 2]))
    """

    def __init__(self, log_probs_bvt: Tensor) -> None:
        self.log_probs_bvt = log_probs_bvt
        self.peaks_bv = log_probs_bvt.amax(dim=2)

    @cached_property
    def probabilities(self) -> Tensor:
        """Not their logarithms, and nothing where they are tiny; (B, V, T), float32."""
        return _without_tiny(self.log_probs_bvt.float().exp())

    def keep(self, index_b: Tensor) -> "CTCFrames":
        """Choose utterances (B',)."""
        return CTCFrames(self.log_probs_bvt[index_b])


@dataclass(frozen=True)
class CTCPrefix:
    """The prefixes of a beam, and all that CTC knows of them.

    For a prefix g, blank[t] and label[t] are the logarithms of the probability that the frames up to t say
    exactly g and that the last of them is a blank, or g's last token. The score of g is the logarithm of the
    probability that all that is said begins with g. Both are recurrences of first order over time, hence
    cumulative sums: with X the cumulative log-probability of token c, and s the frame where c begins,
    label[t] = X[t] + log sum over s <= t of exp(phi[s - 1] - X[s - 1]), where phi is the prefix before c.
    Everything is accumulated in float64.

    Attributes
    ----------
    frames : CTCFrames
    before_bkt : Tensor, shape (B, K, T), float64
        Logarithm of the probability that the frames before each one say the prefix.
    after_blank_bkt : Tensor, shape (B, K, T), float64
        The same if the last of them has to be a blank: so it is before a token that repeats the last one.
    finals_bk : Tensor, shape (B, K), float64
        Logarithm of the probability that all frames say the prefix and no more.
    scores_bk : Tensor, shape (B, K), float64
        Of the prefixes.
    last_bk : Tensor, shape (B, K), long
        Their last tokens; blank for the empty one.

    References
    ----------
    Graves, Supervised sequence labelling with recurrent neural networks, 2008, chapter 7.5; Watanabe et al.,
    Hybrid CTC/attention architecture for end-to-end speech recognition, 2017.

    Examples
    --------
    >>> log_probs = torch.tensor([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]]).log()
    >>> start = CTCPrefix.start(log_probs, torch.tensor([2]))
    >>> begins_with_1 = start.extend(torch.tensor([[0]]), torch.tensor([[1]]))
    >>> begins_with_1.scores_bk.exp()  # 1 first, or a blank and then 1
    tensor([[0.3750]], dtype=torch.float64)
    >>> begins_with_1.finals_bk.exp()  # 1 1, 1 blank, blank 1
    tensor([[0.3125]], dtype=torch.float64)
    """

    frames: CTCFrames
    before_bkt: Tensor
    after_blank_bkt: Tensor
    finals_bk: Tensor
    scores_bk: Tensor
    last_bk: Tensor

    @classmethod
    def start(cls, log_probs_btv: Tensor, lengths_b: Tensor) -> "CTCPrefix":
        """The empty prefix of every utterance.

        Parameters
        ----------
        log_probs_btv : Tensor, shape (B, T, V)
            CTC log-probabilities; label 0 is the blank.
        lengths_b : Tensor, shape (B,), long
            Valid frames.

        Returns
        -------
        CTCPrefix
        """
        beyond = padding_mask(lengths_b, log_probs_btv.shape[1]).unsqueeze(1)
        log_probs_bvt = (
            log_probs_btv.transpose(1, 2).clamp(min=LEAST).masked_fill(beyond, IMPOSSIBLE).contiguous()
        )
        log_probs_bvt[:, BLANK] = log_probs_bvt[:, BLANK].masked_fill(beyond[:, 0], 0.0)
        blank_b1t = log_probs_bvt[:, BLANK : BLANK + 1].double().cumsum(dim=2)
        nothing_b1 = torch.zeros_like(blank_b1t[:, :, 0])
        before_b1t = _shifted(blank_b1t, 0.0)
        finals_b1 = blank_b1t[:, :, -1]
        return cls(
            CTCFrames(log_probs_bvt), before_b1t, before_b1t, finals_b1, nothing_b1, nothing_b1.long() + BLANK
        )

    def bounds(self) -> tuple[Tensor, Tensor]:
        """What no extension's score exceeds: the prefix's own, and another one that knows the token.

        A path that goes on from g begins with g, so that no extension scores more than g; and the sum over
        time of phi[t - 1] times a token's probability is at most the sum of phi times the token's greatest.

        Returns
        -------
        Tensor, shape (B, K), float64
        Tensor, shape (B, K), float64
            To which the token's greatest log-probability, of ``frames.peaks_bv``, is to be added.
        """
        return self.scores_bk, _log_sum(self.before_bkt)

    def _arrivals(self, rows: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Prefix before each token (B, M, T), and the tokens' log-probabilities (B, M, T), in float64."""
        utterances_b1 = torch.arange(rows.shape[0], device=rows.device).unsqueeze(1)
        phi_bmt = self.before_bkt[utterances_b1, rows]
        repeated = self.last_bk.gather(1, rows) == tokens
        phi_bmt = torch.where(repeated.unsqueeze(2), self.after_blank_bkt[utterances_b1, rows], phi_bmt)
        return phi_bmt, self.frames.log_probs_bvt[utterances_b1, tokens].double()

    def scores(self, rows_bm: Tensor, tokens_bm: Tensor) -> Tensor:
        """Scores of some extensions.

        Parameters
        ----------
        rows_bm : Tensor, shape (B, M), long
            The prefix that each extends.
        tokens_bm : Tensor, shape (B, M), long
            By which token.

        Returns
        -------
        Tensor, shape (B, M), float64
        """
        phi_bmt, log_probs_bmt = self._arrivals(rows_bm, tokens_bm)
        return _log_sum(phi_bmt + log_probs_bmt)

    def close_bounds(self) -> Tensor:
        """What the extensions by new tokens do not exceed, and most of them all but reach.

        One product of matrices of probabilities in float32 sums over time. Its rounding, and what it loses
        where one of two probabilities is tiny, is made up for.

        Returns
        -------
        Tensor, shape (B, K, V), float32
        """
        greatest_bk1 = self.before_bkt.amax(dim=2, keepdim=True)
        weights_bkt = _without_tiny((self.before_bkt - greatest_bk1).float().exp())
        products_bkv = weights_bkt @ self.frames.probabilities.transpose(1, 2)
        lost = 2 * TINY * weights_bkt.shape[2]
        return products_bkv.mul_(1 + ROUNDING).add_(lost).log_().add_(greatest_bk1.float())

    def all_scores(self) -> Tensor:
        """Scores of all extensions, by the same product in float64.

        Returns
        -------
        Tensor, shape (B, K, V), float64
            Those that the product cannot tell are worked out by logarithms.
        """
        greatest_bk1 = self.before_bkt.amax(dim=2, keepdim=True)
        products_bkv = (
            self.before_bkt - greatest_bk1
        ).exp() @ self.frames.log_probs_bvt.double().exp().transpose(1, 2)
        scores_bkv = products_bkv.log() + greatest_bk1
        batch, rows = self.scores_bk.shape
        rows_bk = torch.arange(rows, device=scores_bkv.device).expand(batch, -1)
        repeated_bk1 = self.scores(rows_bk, self.last_bk).unsqueeze(2)
        scores_bkv.scatter_(2, self.last_bk.unsqueeze(2), repeated_bk1)
        faint = products_bkv < FAINT
        # A row that is nothing itself has nothing to tell.
        faint &= (self.scores_bk > IMPOSSIBLE / 2).unsqueeze(2)
        if faint.any():
            for utterance, row in faint.any(dim=2).nonzero().tolist():
                tokens = faint[utterance, row].nonzero().T
                one = self.keep(torch.tensor([utterance], device=tokens.device))
                scores_bkv[utterance, row, tokens[0]] = one.scores(torch.full_like(tokens, row), tokens)[0]
        return scores_bkv

    def extend(self, rows_bk: Tensor, tokens_bk: Tensor) -> "CTCPrefix":
        """Go on with some extensions.

        Parameters
        ----------
        rows_bk : Tensor, shape (B, K'), long
            The prefix that each extends.
        tokens_bk : Tensor, shape (B, K'), long
            By which token.

        Returns
        -------
        CTCPrefix
        """
        phi_bkt, log_probs_bkt = self._arrivals(rows_bk, tokens_bk)
        label_bkt = _recurrence(phi_bkt, log_probs_bkt)
        blanks_b1t = self.frames.log_probs_bvt[:, BLANK : BLANK + 1].double()
        blank_bkt = _recurrence(_shifted(label_bkt, IMPOSSIBLE), blanks_b1t)
        any_bkt = torch.logaddexp(blank_bkt, label_bkt)
        return CTCPrefix(
            self.frames,
            _shifted(any_bkt, IMPOSSIBLE),
            _shifted(blank_bkt, IMPOSSIBLE),
            any_bkt[:, :, -1],
            _log_sum(phi_bkt + log_probs_bkt),
            tokens_bk,
        )

    def keep(self, index_b: Tensor) -> "CTCPrefix":
        """Choose utterances (B',)."""
        return CTCPrefix(
            self.frames.keep(index_b),
            self.before_bkt[index_b],
            self.after_blank_bkt[index_b],
            self.finals_bk[index_b],
            self.scores_bk[index_b],
            self.last_bk[index_b],
        )


def _without_tiny(x: Tensor) -> Tensor:
    """Nothing in the place of tiny numbers."""
    return x.masked_fill_(x < TINY, 0.0)


def _log_sum(x_bmt: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials over time, in float64; each of them to seven digits."""
    greatest_bm1 = x_bmt.amax(dim=2, keepdim=True)
    sums_bm = (x_bmt - greatest_bm1).float().exp_().sum(dim=2, dtype=torch.float64)
    return sums_bm.log_().add_(greatest_bm1.squeeze(2))


def _shifted(x_bkt: Tensor, first: float) -> Tensor:
    """The value of the frame before."""
    return torch.cat((torch.full_like(x_bkt[:, :, :1], first), x_bkt[:, :, :-1]), dim=2)


def _recurrence(inflow: Tensor, log_probs: Tensor) -> Tensor:
    """Solve y[t] = log(exp(y[t - 1]) + exp(inflow[t])) + log_probs[t] over the last axis, from nothing."""
    total = log_probs.cumsum(dim=2)
    return total + torch.logcumsumexp(inflow - (total - log_probs), dim=2)
