"""Scores that depend on a hypothesis's tokens alone, such as hotwords: what a search asks of them."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hyperconformer.constants import END


class TokenScorer(Protocol):
    """An automaton over tokens whose steps have scores.

    Attributes
    ----------
    name : str
        Of its part in a hypothesis's score.
    weight : float
        Of that part.
    """

    name: str
    weight: float

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
    scorers : sequence of TokenScorer
    states : list of list of tuple of int
        Of every utterance and row, one a scorer.
    device : device
        Where scores are wanted.

    Examples
    --------
    >>> rows = ScorerRows.start([], 2, torch.device("cpu"))
    >>> rows.scores(), rows.extend(torch.tensor([[0, 0], [0, 0]]), torch.tensor([[3, 4], [5, 6]])).states
    ({}, [[(), ()], [(), ()]])
    """

    def __init__(
        self, scorers: Sequence[TokenScorer], states: list[list[tuple[int, ...]]], device: torch.device
    ) -> None:
        self.scorers, self.states, self.device = scorers, states, device

    @classmethod
    def start(cls, scorers: Sequence[TokenScorer], batch: int, device: torch.device) -> "ScorerRows":
        """One row an utterance."""
        return cls(scorers, [[tuple(scorer.start() for scorer in scorers)] for _ in range(batch)], device)

    def scores(self) -> dict[str, Tensor]:
        """Of each next token, by the scorer's name; (B, K, V), at the end symbol those of ending there."""
        return {scorer.name: self._scores(number, scorer) for number, scorer in enumerate(self.scorers)}

    def _scores(self, number: int, scorer: TokenScorer) -> Tensor:
        known = {
            states[number]: scorer.bonuses(states[number]).index_fill(
                0, torch.tensor([END]), scorer.finish(states[number])
            )
            for rows in self.states
            for states in rows
        }
        stacked = [torch.stack([known[states[number]] for states in rows]) for rows in self.states]
        return torch.stack(stacked).to(self.device)

    def extend(self, rows_bk: Tensor, tokens_bk: Tensor) -> "ScorerRows":
        """Go on with these rows, each with one more token."""
        if not self.scorers:
            return ScorerRows((), [[()] * rows_bk.shape[1] for _ in range(rows_bk.shape[0])], self.device)
        states = [
            [
                tuple(
                    scorer.advance(state, token)
                    for scorer, state in zip(self.scorers, before[row], strict=True)
                )
                for row, token in zip(rows, tokens, strict=True)
            ]
            for before, rows, tokens in zip(self.states, rows_bk.tolist(), tokens_bk.tolist(), strict=True)
        ]
        return ScorerRows(self.scorers, states, self.device)

    def keep(self, index_b: Tensor) -> "ScorerRows":
        """Choose utterances (B',)."""
        return ScorerRows(self.scorers, [self.states[number] for number in index_b.tolist()], self.device)
