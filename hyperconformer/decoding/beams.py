"""The bookkeeping of a beam search: what lives, what is finished, and when nothing can change any more."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hyperconformer.constants import END
from hyperconformer.decoding.candidates import Chosen
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.types import Hypothesis


@dataclass
class Beams:
    """The live hypotheses of a batch, *rows*, and the finished ones.

    Attributes
    ----------
    options : SearchOptions
    rising : bool
        Whether a hypothesis's score may rise while it grows.
    finished : list of list of Hypothesis
        Of every utterance, best first.
    active : list of int
        Utterances that still have rows, in the order of the tensors' first axis.
    least_b, most_b : Tensor, shape (B',), long
        Fewest tokens before the end, and most symbols with it, of the active utterances.
    totals_bk : Tensor, shape (B', K), float64
        Scores; -inf where there is no row.
    parts : dict of str to Tensor, shape (B', K), float64
        Their unweighted terms but CTC's.
    said_bkl : Tensor, shape (B', K, L), long
        Their tokens.

    Examples
    --------
    >>> beams = Beams.start(torch.tensor([10]), SearchOptions(), rising=False)
    >>> totals = torch.tensor([[-1.0, -2.0]]).double()
    >>> chosen = Chosen(totals, torch.zeros(1, 2).long(), torch.tensor([[END, 5]]))
    >>> beams.advance(chosen, {}, None)[2]  # no row can reach the empty hypothesis
    tensor([], dtype=torch.int64)
    >>> beams.results()
    [[Hypothesis(tokens=(), score=-1.0, parts={})]]
    """

    options: SearchOptions
    rising: bool
    finished: list[list[Hypothesis]]
    active: list[int]
    least_b: Tensor
    most_b: Tensor
    totals_bk: Tensor
    said_bkl: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def start(cls, lengths_b: Tensor, options: SearchOptions, *, rising: bool) -> "Beams":
        """One empty row an utterance.

        Parameters
        ----------
        lengths_b : Tensor, shape (B,), long
            Encoder frames.
        options : SearchOptions
        rising : bool
            Whether scores may rise while a hypothesis grows.

        Returns
        -------
        Beams
        """
        frames_b = lengths_b.double()
        batch = len(lengths_b)
        return cls(
            options,
            rising or options.length_normalization,
            [[] for _ in range(batch)],
            list(range(batch)),
            (frames_b * options.min_decode_ratio).long(),
            (frames_b * options.max_decode_ratio).long().clamp(min=1),
            torch.zeros(batch, 1, dtype=torch.float64, device=lengths_b.device),
            torch.zeros(batch, 1, 0, dtype=torch.long, device=lengths_b.device),
        )

    @property
    def tokens(self) -> int:
        """Tokens of every row."""
        return self.said_bkl.shape[2]

    @property
    def last_b(self) -> Tensor:
        """Where only the end is left; (B',), bool."""
        return self.most_b <= self.tokens + 1

    @property
    def may_end_b(self) -> Tensor:
        """Where the end is allowed; (B',), bool."""
        return (self.least_b <= self.tokens) | self.last_b

    def advance(
        self, chosen: Chosen, local: Mapping[str, Tensor], finals_bk: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Finish the rows that end, and go on with those that can still matter.

        Parameters
        ----------
        chosen : Chosen
        local : mapping of str to Tensor, shape (B', K, V)
            Unweighted log-scores of each next token.
        finals_bk : Tensor, shape (B', K), or None
            CTC's log-probability of each row as a whole utterance; None if CTC has no part.

        Returns
        -------
        Tensor, shape (B', K'), long
            The row that each new one extends.
        Tensor, shape (B', K'), long
            By which token.
        Tensor, shape (B'',), long
            The utterances that go on; all that the beams hold is theirs afterwards.
        """
        totals_bk, rows_bk, tokens_bk = chosen
        parts = {
            name: self._part(name).gather(1, rows_bk) + _at(scores_bkv, rows_bk, tokens_bk)
            for name, scores_bkv in local.items()
        }
        said_bkl = self.said_bkl.gather(1, rows_bk.unsqueeze(2).expand(-1, -1, self.tokens))
        ended_bk = (tokens_bk == END) & totals_bk.isfinite()
        if ended_bk.any():
            ctc = {} if finals_bk is None else {"ctc": finals_bk.gather(1, rows_bk)}
            self._finish(ended_bk, totals_bk, {**parts, **ctc}, said_bkl)
        totals_bk = totals_bk.masked_fill(ended_bk, -torch.inf)
        totals_bk = totals_bk.masked_fill(totals_bk <= self._threshold().unsqueeze(1), -torch.inf)
        # What lives moves to the front.
        live_bk = totals_bk.isfinite()
        order_bk = (~live_bk).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(live_bk.sum(dim=1).max())]
        rows_bk, tokens_bk = rows_bk.gather(1, order_bk), tokens_bk.gather(1, order_bk)
        said_bkl = said_bkl.gather(1, order_bk.unsqueeze(2).expand(-1, -1, self.tokens))
        active_b = live_bk.any(dim=1).nonzero().squeeze(1)
        self.totals_bk = totals_bk.gather(1, order_bk)[active_b]
        self.said_bkl = torch.cat((said_bkl, tokens_bk.unsqueeze(2)), dim=2)[active_b]
        self.parts = {name: part_bk.gather(1, order_bk)[active_b] for name, part_bk in parts.items()}
        self.least_b, self.most_b = self.least_b[active_b], self.most_b[active_b]
        self.active = [self.active[index] for index in active_b.tolist()]
        return rows_bk, tokens_bk, active_b

    def _part(self, name: str) -> Tensor:
        return self.parts.get(name, torch.zeros_like(self.totals_bk))

    def _finish(
        self, ended_bk: Tensor, totals_bk: Tensor, parts: Mapping[str, Tensor], said_bkl: Tensor
    ) -> None:
        """Write down the rows that end."""
        places = ended_bk.nonzero()
        scores = totals_bk[ended_bk].tolist()
        columns = {name: part_bk[ended_bk].tolist() for name, part_bk in parts.items()}
        symbols = self.tokens + 1 if self.options.length_normalization else 1
        for number, (index, tokens) in enumerate(
            zip(places[:, 0].tolist(), said_bkl[ended_bk].tolist(), strict=True)
        ):
            terms = {name: column[number] for name, column in columns.items()}
            finished = self.finished[self.active[index]]
            finished.append(Hypothesis(tuple(tokens), scores[number] / symbols, terms))
        for index in set(places[:, 0].tolist()):
            self.finished[self.active[index]].sort(key=lambda hypothesis: -hypothesis.score)

    def _threshold(self) -> Tensor:
        """What a row must exceed to matter; (B',), float64."""
        options = self.options
        wanted = options.beam_size if self.rising else options.nbest
        thresholds = []
        for found in (self.finished[index] for index in self.active):
            if len(found) < wanted:
                thresholds.append(-torch.inf)
            else:
                thresholds.append(torch.inf if self.rising else found[wanted - 1].score)
        return torch.tensor(thresholds, dtype=torch.float64, device=self.totals_bk.device)

    def results(self) -> list[list[Hypothesis]]:
        """The n best hypotheses of every utterance, best first.

        Returns
        -------
        list of list of Hypothesis
        """
        return [found[: self.options.nbest] for found in self.finished]


def _at(scores_bkv: Tensor, rows_bk: Tensor, tokens_bk: Tensor) -> Tensor:
    """Scores of some tokens behind some rows; (B, K'), float64."""
    flat_bk = rows_bk * scores_bkv.shape[2] + tokens_bk
    return scores_bkv.flatten(1).gather(1, flat_bk).double()
