"""The Transformer decoder: all tokens at once for training, one at a time from a cache for search."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hyperconformer.nn.attention import Attention
from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.feedforward import FeedForward
from hyperconformer.nn.positions import sinusoids

EPS = 1e-6
KeysValues = tuple[Tensor, Tensor]


@dataclass
class DecoderState:
    """What a search keeps between two tokens.

    Attributes
    ----------
    memory : list of (Tensor, Tensor)
        Each layer's keys and values of the encoder output, (B, H, T, E).
    visible : Tensor, shape (B, 1, 1, T), bool, or None
        True at valid encoder frames.
    prefix : list of (Tensor, Tensor)
        Each layer's keys and values of the tokens so far, (B, H, L, E); empty before the first.

    Examples
    --------
    >>> decoder = Decoder(30, 1, 8, 2, 16, dropout=0.0).eval()
    >>> state = decoder.start(torch.zeros(2, 5, 8), None)
    >>> _, state = decoder.step(torch.tensor([1, 1]), state)
    >>> state.length, state.select(torch.tensor([0, 0, 1])).prefix[0][0].shape[0]
    (1, 3)
    """

    memory: list[KeysValues]
    visible: Tensor | None
    prefix: list[KeysValues]

    @property
    def length(self) -> int:
        """Tokens consumed so far."""
        return self.prefix[0][0].shape[2] if self.prefix else 0

    def select(self, index: Tensor) -> "DecoderState":
        """Keep the hypotheses that survive.

        Parameters
        ----------
        index : Tensor, shape (B',), long
            Rows to keep, in order; a row may appear several times.

        Returns
        -------
        DecoderState
        """
        return DecoderState(
            [(key[index], value[index]) for key, value in self.memory],
            None if self.visible is None else self.visible[index],
            [(key[index], value[index]) for key, value in self.prefix],
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
    >>> out, prefix = layer(x, layer.memory_attention.keys_values(memory), None, None)
    >>> out.shape, prefix[0].shape
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
        self, x_bld: Tensor, memory: KeysValues, visible: Tensor | None, prefix: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """New tokens, after those whose keys and values ``prefix`` holds.

        Parameters
        ----------
        x_bld : Tensor, shape (B, L, D)
            New tokens: any number without a prefix, one with it.
        memory : pair of Tensor, shape (B, H, T, E)
            Keys and values of the encoder output.
        visible : Tensor, shape (B, 1, 1, T), bool, or None
            True at valid encoder frames.
        prefix : pair of Tensor, shape (B, H, P, E), or None
            Keys and values of the tokens before.

        Returns
        -------
        Tensor, shape (B, L, D)
        pair of Tensor, shape (B, H, P + L, E)
        """
        normed = self.norm_self(x_bld)
        key, value = self.self_attention.keys_values(normed)
        if prefix is not None:
            key, value = torch.cat((prefix[0], key), dim=2), torch.cat((prefix[1], value), dim=2)
        attended = self.self_attention(normed, key, value, causal=prefix is None)
        x_bld = self.dropout.add(x_bld, attended)
        attended = self.memory_attention(self.norm_memory(x_bld), *memory, visible=visible)
        x_bld = self.dropout.add(x_bld, attended)
        return self.dropout.add(x_bld, self.feedforward(x_bld)), (key, value)


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

    def _embed(self, tokens_bl: Tensor, start: int) -> Tensor:
        x_bld: Tensor = self.embedding(tokens_bl) * math.sqrt(self.embedding.embedding_dim)
        return x_bld + sinusoids(start, x_bld.shape[1], x_bld.shape[2], x_bld)

    def start(self, memory_btd: Tensor, padding: Tensor | None) -> DecoderState:
        """Prepare a search over encoder output.

        Parameters
        ----------
        memory_btd : Tensor, shape (B, T, D)
        padding : Tensor, shape (B, T), bool, or None

        Returns
        -------
        DecoderState
        """
        memory = [layer.memory_attention.keys_values(memory_btd) for layer in self._stack()]
        return DecoderState(memory, None if padding is None else ~padding[:, None, None, :], [])

    def _run(self, tokens_bl: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        x_bld = self._embed(tokens_bl, state.length)
        prefix = []
        for number, layer in enumerate(self._stack()):
            kept = state.prefix[number] if state.prefix else None
            x_bld, keys_values = layer(x_bld, state.memory[number], state.visible, kept)
            prefix.append(keys_values)
        return self.out(self.norm(x_bld)), DecoderState(state.memory, state.visible, prefix)

    def _stack(self) -> list[DecoderLayer]:
        """The layers, by their type."""
        return cast(list[DecoderLayer], list(self.layers))

    def step(self, tokens_b: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Consume one more token of each hypothesis.

        Parameters
        ----------
        tokens_b : Tensor, shape (B,), long
            The last token of each hypothesis.
        state : DecoderState
            What came before.

        Returns
        -------
        Tensor, shape (B, V)
            Logits of the next token.
        DecoderState
        """
        logits_blv, state = self._run(tokens_b.unsqueeze(1), state)
        return logits_blv[:, 0], state

    def forward(self, tokens_bl: Tensor, memory_btd: Tensor, padding: Tensor | None) -> Tensor:
        """Tokens (B, L), encoder output (B, T, D) and its padding (B, T) -> logits (B, L, V)."""
        logits_blv, _ = self._run(tokens_bl, self.start(memory_btd, padding))
        return logits_blv
