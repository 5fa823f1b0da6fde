"""The Transformer decoder: all tokens at once for training, one at a time from a cache for search."""

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from hyperconformer.nn.attention import Attention
from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.feedforward import FeedForward
from hyperconformer.nn.positions import sinusoids_at
from hyperconformer.nn.prefix_tree import KeysValues, PrefixTree

EPS = 1e-6


@dataclass(frozen=True)
class DecoderState:
    """What a search keeps between two tokens.

    Attributes
    ----------
    memory : tuple of (Tensor, Tensor)
        Each layer's keys and values of the encoder output, (B, H, T, E); all rows of an utterance share them.
    visible : Tensor, shape (B, 1, 1, T), bool, or None
        True at valid encoder frames.
    tree : PrefixTree
        The tokens so far.

    Examples
    --------
    >>> decoder = Decoder(30, 1, 8, 2, 16, dropout=0.0).eval()
    >>> state = decoder.start(torch.zeros(2, 5, 8), None)
    >>> logits, state = decoder.step(torch.tensor([[1], [1]]), state)
    >>> logits.shape, state.select(torch.tensor([[0, 0, 0], [0, 0, 0]])).tree.rows_bkn.shape
    (torch.Size([2, 1, 30]), torch.Size([2, 3, 1]))
    """

    memory: tuple[KeysValues, ...]
    visible: Tensor | None
    tree: PrefixTree

    def select(self, index_bk: Tensor) -> "DecoderState":
        """Choose rows (B, K') of each utterance, in order; one may appear several times."""
        return replace(self, tree=self.tree.select(index_bk))

    def compact(self) -> "DecoderState":
        """Let go of tokens that no row holds, if they are many."""
        return replace(self, tree=self.tree.compact())

    def keep(self, index_b: Tensor) -> "DecoderState":
        """Choose utterances (B',)."""
        return DecoderState(
            tuple((key[index_b], value[index_b]) for key, value in self.memory),
            None if self.visible is None else self.visible[index_b],
            self.tree.keep(index_b),
        )


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, attention to the encoder output, feed-forward.

    Parameters
    ----------
    d_model, nhead, d_ffn : int
        Feature size D, heads, hidden size.
    dropout : float
        Probability on attention weights and on every residual branch.

    Examples
    --------
    >>> layer = DecoderLayer(8, 2, 16, dropout=0.0)
    >>> x, memory = torch.zeros(1, 3, 8), torch.zeros(1, 7, 8)
    >>> out, said = layer(x, layer.memory_attention.keys_values(memory), None, None, None)
    >>> out.shape, said[0].shape
    (torch.Size([1, 3, 8]), torch.Size([1, 2, 3, 4]))
    """

    def __init__(self, d_model: int, nhead: int, d_ffn: int, *, dropout: float) -> None:
        super().__init__()
        self.norm_self = nn.LayerNorm(d_model, eps=EPS)
        self.self_attention = Attention(d_model, nhead, dropout)
        self.norm_memory = nn.LayerNorm(d_model, eps=EPS)
        self.memory_attention = Attention(d_model, nhead, dropout)
        self.feedforward = FeedForward(d_model, d_ffn, dropout=dropout, activation="gelu", eps=EPS)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x_bld: Tensor,
        memory: KeysValues,
        visible: Tensor | None,
        before: KeysValues | None,
        seen: Tensor | None,
    ) -> tuple[Tensor, KeysValues]:
        """New tokens, after those whose keys and values ``before`` holds.

        Parameters
        ----------
        x_bld : Tensor, shape (B, L, D)
            New tokens: a sentence, or one of each row of a beam.
        memory : pair of Tensor, shape (B, H, T, E)
            Keys and values of the encoder output.
        visible : Tensor, shape (B, 1, 1, T), bool, or None
            True at valid encoder frames.
        before : pair of Tensor, shape (B, H, N, E), or None
            Keys and values of the tokens before.
        seen : Tensor, shape (B, L, N + L), bool, or None
            Which tokens each new one follows; None for a sentence.

        Returns
        -------
        Tensor, shape (B, L, D)
        pair of Tensor, shape (B, H, N + L, E)
        """
        attended, said = self.self_attention.onwards(self.norm_self(x_bld), before, seen)
        x_bld = self.dropout.add(x_bld, attended)
        attended = self.memory_attention(self.norm_memory(x_bld), *memory, visible=visible)
        x_bld = self.dropout.add(x_bld, attended)
        return self.dropout.add(x_bld, self.feedforward(x_bld)), said


class Decoder(nn.Module):
    """Token ids and encoder output to logits over the next token.

    Parameters
    ----------
    output_neurons : int
        Vocabulary V.
    num_layers, d_model, nhead, d_ffn : int
        Depth, feature size D, heads, hidden size.
    dropout : float
        Probability.

    References
    ----------
    Vaswani et al., Attention is all you need, arXiv 1706.03762.

    Examples
    --------
    >>> decoder = Decoder(30, 2, 8, 2, 16, dropout=0.1)
    >>> decoder(torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 9, 8), None).shape
    torch.Size([2, 4, 30])
    """

    def __init__(
        self, output_neurons: int, num_layers: int, d_model: int, nhead: int, d_ffn: int, *, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(output_neurons, d_model)
        self.layers = nn.ModuleList(
            DecoderLayer(d_model, nhead, d_ffn, dropout=dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model, eps=EPS)
        self.out = nn.Linear(d_model, output_neurons)

    def run(
        self, tokens_bl: Tensor, positions: Tensor, state: DecoderState, seen: Tensor | None
    ) -> tuple[Tensor, list[KeysValues]]:
        """Consume tokens after those of a state.

        Parameters
        ----------
        tokens_bl : Tensor, shape (B, L), long
        positions : Tensor, shape (L,) or (B, L), long
            Of each token in its sentence.
        state : DecoderState
            What came before.
        seen : Tensor, shape (B, L, N + L), bool, or None
            Which tokens each new one follows, itself included; None for a sentence.

        Returns
        -------
        Tensor, shape (B, L, V)
            Logits of what follows each token.
        list of (Tensor, Tensor)
            Each layer's keys and values of all tokens, (B, H, N + L, E).
        """
        x_bld: Tensor = self.embedding(tokens_bl) * math.sqrt(self.embedding.embedding_dim)
        x_bld = x_bld + sinusoids_at(positions, x_bld.shape[2], x_bld)
        said = []
        for number, layer in enumerate(self._stack()):
            before = state.tree.pool[number] if state.tree.pool else None
            x_bld, keys_values = layer(x_bld, state.memory[number], state.visible, before, seen)
            said.append(keys_values)
        return self.out(self.norm(x_bld)), said

    def _stack(self) -> list[DecoderLayer]:
        """The layers, by their type."""
        return cast(list[DecoderLayer], list(self.layers))

    def start(self, memory_btd: Tensor, padding: Tensor | None) -> DecoderState:
        """Prepare a search over encoder output.

        Parameters
        ----------
        memory_btd : Tensor, shape (B, T, D)
        padding : Tensor, shape (B, T), bool, or None

        Returns
        -------
        DecoderState
            One row an utterance, which has consumed nothing yet.
        """
        return DecoderState(
            tuple(layer.memory_attention.keys_values(memory_btd) for layer in self._stack()),
            None if padding is None else ~padding[:, None, None, :],
            PrefixTree.start(memory_btd.shape[0], memory_btd.device),
        )

    def step(self, tokens_bk: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Consume one more token of each hypothesis.

        Parameters
        ----------
        tokens_bk : Tensor, shape (B, K), long
            The last token of each row; the begin symbol to start with.
        state : DecoderState
            What came before.

        Returns
        -------
        Tensor, shape (B, K, V)
            Logits of the next token.
        DecoderState
        """
        logits_bkv, said = self.run(tokens_bk, state.tree.lengths_bk, state, state.tree.seen_next())
        return logits_bkv, replace(state, tree=state.tree.grow(said))

    def forward(
        self,
        tokens_bl: Tensor,
        memory_btd: Tensor,
        padding: Tensor | None,
        order: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Tokens (B, L), encoder output (B, T, D) and its padding (B, T) -> logits (B, L, V).

        The tokens are a sentence, unless ``order`` tells the position of each (B, L) and which ones it
        follows, itself included (B, L, L).
        """
        positions = torch.arange(tokens_bl.shape[1], device=tokens_bl.device)
        positions, seen = (positions, None) if order is None else order
        return self.run(tokens_bl, positions, self.start(memory_btd, padding), seen)[0]
