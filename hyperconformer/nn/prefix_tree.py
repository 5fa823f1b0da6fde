"""What the hypotheses of a search have said, each token kept once however many of them share it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

KeysValues = tuple[Tensor, Tensor]

SPARE = 64
"""Tokens that may be kept in vain before the pool is cleared."""


@dataclass(frozen=True)
class PrefixTree:
    """Keys and values of every token of a beam, and which of them each hypothesis consists of.

    The hypotheses of one utterance share most of what they say, so the tokens lie in one pool and a
    hypothesis, a *row*, is a mask over it: the memory grows with the tokens that differ, not with the beam
    times the length, and nothing is copied when a row is chosen, twice or not at all.

    Attributes
    ----------
    pool : tuple of (Tensor, Tensor)
        Each layer's keys and values, (B, H, N, E); empty before the first token.
    rows_bkn : Tensor, shape (B, K, N), bool
        True at the tokens of a row.
    lengths_bk : Tensor, shape (B, K), long
        Tokens of each row.
    longest : int
        At least the greatest of them.

    Examples
    --------
    >>> tree = PrefixTree.start(1)
    >>> grown = tree.grow([(torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4))])
    >>> chosen = grown.select(torch.tensor([[0, 0, 0]]))
    >>> chosen.rows_bkn.shape, chosen.tokens, chosen.lengths_bk.tolist()
    (torch.Size([1, 3, 1]), 1, [[1, 1, 1]])
    """

    pool: tuple[KeysValues, ...]
    rows_bkn: Tensor
    lengths_bk: Tensor
    longest: int

    @classmethod
    def start(cls, batch: int, device: torch.device | str = "cpu") -> "PrefixTree":
        """One row an utterance, without tokens."""
        return cls(
            (),
            torch.zeros(batch, 1, 0, dtype=torch.bool, device=device),
            torch.zeros(batch, 1, dtype=torch.long, device=device),
            0,
        )

    @property
    def tokens(self) -> int:
        """Tokens N that the pool holds for each utterance."""
        return self.rows_bkn.shape[2]

    def seen_next(self) -> Tensor:
        """What the next token of every row attends to: the row, and itself; (B, K, N + K), bool."""
        batch, rows, _ = self.rows_bkn.shape
        own = torch.eye(rows, dtype=torch.bool, device=self.rows_bkn.device).expand(batch, -1, -1)
        return torch.cat((self.rows_bkn, own), dim=2)

    def grow(self, pool: Sequence[KeysValues]) -> "PrefixTree":
        """Every row has got one more token.

        Parameters
        ----------
        pool : sequence of (Tensor, Tensor)
            Each layer's keys and values of the old tokens and behind them of the new ones, (B, H, N + K, E).

        Returns
        -------
        PrefixTree
        """
        return PrefixTree(tuple(pool), self.seen_next(), self.lengths_bk + 1, self.longest + 1)

    def select(self, index_bk: Tensor) -> "PrefixTree":
        """Choose rows.

        Parameters
        ----------
        index_bk : Tensor, shape (B, K'), long
            Rows of each utterance, in order; a row may appear several times.

        Returns
        -------
        PrefixTree
        """
        rows_bkn = self.rows_bkn.gather(1, index_bk.unsqueeze(2).expand(-1, -1, self.tokens))
        return PrefixTree(self.pool, rows_bkn, self.lengths_bk.gather(1, index_bk), self.longest)

    def join(self, newer: "PrefixTree") -> "PrefixTree":
        """These rows beside those that grew from this tree, or from rows of it.

        Parameters
        ----------
        newer : PrefixTree
            Its pool begins with this one's.

        Returns
        -------
        PrefixTree
            This one's rows, then the newer one's.
        """
        wider = torch.nn.functional.pad(self.rows_bkn, (0, newer.tokens - self.tokens))
        return PrefixTree(
            newer.pool,
            torch.cat((wider, newer.rows_bkn), dim=1),
            torch.cat((self.lengths_bk, newer.lengths_bk), dim=1),
            max(self.longest, newer.longest),
        )

    def keep(self, index_b: Tensor) -> "PrefixTree":
        """Choose utterances, by a tensor of shape (B',)."""
        return PrefixTree(
            tuple((key[index_b], value[index_b]) for key, value in self.pool),
            self.rows_bkn[index_b],
            self.lengths_bk[index_b],
            self.longest,
        )

    def compact(self) -> "PrefixTree":
        """Let go of tokens that no row holds, if they are many: the pool then at least halves.

        Returns
        -------
        PrefixTree
        """
        if self.tokens <= SPARE:
            return self
        held_bn = self.rows_bkn.any(dim=1)
        width = int(held_bn.sum(dim=1).max())
        if 2 * max(width, SPARE // 2) > self.tokens:
            return self
        order_bn = (~held_bn).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
        along = order_bn[:, None, :, None]
        return PrefixTree(
            tuple(
                (torch.take_along_dim(key, along, dim=2), torch.take_along_dim(value, along, dim=2))
                for key, value in self.pool
            ),
            torch.take_along_dim(self.rows_bkn, order_bn[:, None, :], dim=2),
            self.lengths_bk,
            self.longest,
        )
