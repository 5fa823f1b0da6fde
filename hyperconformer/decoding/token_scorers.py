"""Scores that depend on a hypothesis's tokens alone, such as hotwords: what a search asks of them."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from hyperconformer.constants import END


class TokenScorer(Protocol):
    """An automaton over tokens whose steps have scores.

    Examples
    --------
    >>> sorted(name for name in vars(TokenScorer) if name[0] != "_")
    ['advance', 'bonuses', 'finish', 'start']
    """

    def start(self) -> int:
        """The state before the first token."""
        ...

    def bonuses(self, state: int) -> Tensor:
        """The score of each next token; (V,), float32."""
        ...

    def advance(self, state: int, token: int) -> int:
        """The state behind a token."""
        ...

    def finish(self, state: int) -> float:
        """The score of ending here."""
        ...


class ScorerRows:
    """The states of some scorers at every row of a beam.

    Parameters
    ----------
    scorers : mapping of str to TokenScorer
        By the name of their part of a score.
    states : list of list of tuple of int
        Of every utterance and row, one a scorer.
    device : device
        Where scores are wanted.

    Examples
    --------
    >>> rows = ScorerRows.start({}, 2, torch.device("cpu"))
    >>> rows.scores(), rows.extend(torch.tensor([[0, 0], [0, 0]]), torch.tensor([[3, 4], [5, 6]])).states
    ({}, [[(), ()], [(), ()]])
    """

    def __init__(
        self, scorers: Mapping[str, TokenScorer], states: list[list[tuple[int, ...]]], device: torch.device
    ) -> None:
        self.scorers, self.states, self.device = scorers, states, device

    @classmethod
    def start(cls, scorers: Mapping[str, TokenScorer], batch: int, device: torch.device) -> "ScorerRows":
        """One row an utterance."""
        starts = tuple(scorer.start() for scorer in scorers.values())
        return cls(scorers, [[starts] for _ in range(batch)], device)

    def scores(self) -> dict[str, Tensor]:
        """Of each next token, by the scorer's name; (B, K, V), at the end symbol those of ending there."""
        return {
            name: self._scores(number, scorer) for number, (name, scorer) in enumerate(self.scorers.items())
        }

    def _scores(self, number: int, scorer: TokenScorer) -> Tensor:
        wanted = {states[number] for rows in self.states for states in rows}
        end = torch.tensor([END])
        known = {state: scorer.bonuses(state).index_fill(0, end, scorer.finish(state)) for state in wanted}
        stacked = [torch.stack([known[states[number]] for states in rows]) for rows in self.states]
        return torch.stack(stacked).to(self.device)

    def extend(self, rows_bk: Tensor, tokens_bk: Tensor) -> "ScorerRows":
        """Go on with these rows, each with one more token."""
        if not self.scorers:
            batch, rows = rows_bk.shape
            return ScorerRows({}, [[()] * rows for _ in range(batch)], self.device)
        states = [
            [
                tuple(
                    scorer.advance(state, token)
                    for scorer, state in zip(self.scorers.values(), before[row], strict=True)
                )
                for row, token in zip(rows, tokens, strict=True)
            ]
            for before, rows, tokens in zip(self.states, rows_bk.tolist(), tokens_bk.tolist(), strict=True)
        ]
        return ScorerRows(self.scorers, states, self.device)

    def keep(self, index_b: Tensor) -> "ScorerRows":
        """Choose utterances (B',)."""
        return ScorerRows(self.scorers, [self.states[number] for number in index_b.tolist()], self.device)
