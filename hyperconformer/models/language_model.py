"""A causal Transformer over tokens: a sentence at once for training, one by one from a cache for search."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.constants import BEGIN, END
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.decoder import EPS
from hyperconformer.nn.attention import Attention
from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.feedforward import FeedForward
from hyperconformer.nn.initialise import initialise, without_weights
from hyperconformer.nn.positions import sinusoids_at
from hyperconformer.nn.prefix_tree import KeysValues, PrefixTree


class LanguageModelLayer(nn.Module):
    """Pre-norm causal self-attention and feed-forward.

    Parameters
    ----------
    d_model, nhead, d_ffn : int
        Feature size D, heads, hidden size.
    dropout : float
        Probability on attention weights and on every residual branch.

    Examples
    --------
    >>> out, (key, value) = LanguageModelLayer(8, 2, 16, dropout=0.0)(torch.zeros(1, 3, 8), None, None)
    >>> out.shape, key.shape
    (torch.Size([1, 3, 8]), torch.Size([1, 2, 3, 4]))
    """

    def __init__(self, d_model: int, nhead: int, d_ffn: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model, eps=EPS)
        self.attention = Attention(d_model, nhead, dropout)
        self.feedforward = FeedForward(d_model, d_ffn, dropout=dropout, activation="gelu", eps=EPS)
        self.dropout = Dropout(dropout)

    def forward(
        self, x_bld: Tensor, before: KeysValues | None, seen: Tensor | None
    ) -> tuple[Tensor, KeysValues]:
        """New tokens, after those whose keys and values ``before`` holds.

        Parameters
        ----------
        x_bld : Tensor, shape (B, L, D)
            New tokens: a sentence, or one of each row of a beam.
        before : pair of Tensor, shape (B, H, N, E), or None
            Keys and values of the tokens before.
        seen : Tensor, shape (B, L, N + L), bool, or None
            Which tokens each new one follows; None for a sentence.

        Returns
        -------
        Tensor, shape (B, L, D)
        pair of Tensor, shape (B, H, N + L, E)
        """
        attended, said = self.attention.onwards(self.norm(x_bld), before, seen)
        x_bld = self.dropout.add(x_bld, attended)
        return self.dropout.add(x_bld, self.feedforward(x_bld)), said


class PostNormLayer(nn.Module):
    """The same with layer norms behind the residuals.

    Parameters
    ----------
    d_model, nhead, d_ffn, dropout
        As :class:`LanguageModelLayer` takes them.

    Examples
    --------
    >>> out, (key, value) = PostNormLayer(8, 2, 16, dropout=0.0)(torch.ones(1, 3, 8), None, None)
    >>> out.shape, key.shape, bool(out.mean(dim=2).abs().max() < 1e-6)
    (torch.Size([1, 3, 8]), torch.Size([1, 2, 3, 4]), True)
    """

    def __init__(self, d_model: int, nhead: int, d_ffn: int, *, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(d_model, nhead, dropout)
        self.norm = nn.LayerNorm(d_model, eps=EPS)
        self.expand = nn.Linear(d_model, d_ffn)
        self.project = nn.Linear(d_ffn, d_model)
        self.out_norm = nn.LayerNorm(d_model, eps=EPS)
        self.dropout = Dropout(dropout)

    def forward(
        self, x_bld: Tensor, before: KeysValues | None, seen: Tensor | None
    ) -> tuple[Tensor, KeysValues]:
        """As :meth:`LanguageModelLayer.forward`."""
        attended, said = self.attention.onwards(x_bld, before, seen)
        x_bld = self.norm(self.dropout.add(x_bld, attended))
        projected = self.project(self.dropout(F.gelu(self.expand(x_bld))))
        return self.out_norm(self.dropout.add(x_bld, projected)), said


LAYERS: dict[str, type[LanguageModelLayer] | type[PostNormLayer]] = {
    "before": LanguageModelLayer,
    "after": PostNormLayer,
}


class LanguageModel(nn.Module):
    """Token ids to logits over the next token; padding behind a sentence is seen by none of its tokens.

    Parameters
    ----------
    config : LanguageModelConfig
        Sizes.

    References
    ----------
    Vaswani et al., Attention is all you need, arXiv 1706.03762; tied embeddings: Press and Wolf,
    arXiv 1608.05859.

    Examples
    --------
    >>> config = LanguageModelConfig(output_neurons=30, d_model=8, nhead=2, d_ffn=16, num_layers=2)
    >>> model = LanguageModel(config).eval()
    >>> model(torch.tensor([[BEGIN, 5, 9]])).shape
    torch.Size([1, 3, 30])
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.output_neurons, config.d_model)
        self.dropout = Dropout(config.transformer_dropout)
        layer = LAYERS[config.norm]
        self.layers = nn.ModuleList(
            layer(config.d_model, config.nhead, config.d_ffn, dropout=config.transformer_dropout)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.d_model, eps=EPS)
        self.head = None
        if config.norm == "after":
            self.head = nn.Sequential(
                nn.Linear(config.d_model, config.d_model), nn.LayerNorm(config.d_model, eps=EPS)
            )
        self.out = None if config.tie_embeddings else nn.Linear(config.d_model, config.output_neurons)
        self.apply(initialise)

    def start(self, batch: int) -> PrefixTree:
        """Prepare a search: one row an utterance, which has consumed nothing yet."""
        return PrefixTree.start(batch, self.embedding.weight.device)

    def _run(
        self, tokens_bl: Tensor, positions: Tensor, pool: Sequence[KeysValues], seen: Tensor | None
    ) -> tuple[Tensor, list[KeysValues]]:
        """Logits of what follows each token, and each layer's keys and values of all tokens."""
        x_bld: Tensor = self.embedding(tokens_bl) * math.sqrt(self.config.d_model)
        x_bld = self.dropout(x_bld + sinusoids_at(positions, x_bld.shape[2], x_bld))
        said = []
        for number, layer in enumerate(cast(list[LanguageModelLayer | PostNormLayer], list(self.layers))):
            x_bld, keys_values = layer(x_bld, pool[number] if pool else None, seen)
            said.append(keys_values)
        x_bld = self.norm(x_bld)
        if self.head is not None:
            x_bld = self.head(x_bld)
        logits_blv = F.linear(x_bld, self.embedding.weight) if self.out is None else self.out(x_bld)
        return logits_blv, said

    def step(self, tokens_bk: Tensor, state: PrefixTree) -> tuple[Tensor, PrefixTree]:
        """Consume one more token of each hypothesis.

        Parameters
        ----------
        tokens_bk : Tensor, shape (B, K), long
            The last token of each row; the begin symbol to start with.
        state : PrefixTree
            What came before; rows may be of different lengths.

        Returns
        -------
        Tensor, shape (B, K, V)
            Logits of the next token.
        PrefixTree
        """
        logits_bkv, said = self._run(tokens_bk, state.lengths_bk, state.pool, state.seen_next())
        return logits_bkv, state.grow(said)

    def forward(self, tokens_bl: Tensor, order: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Tokens behind a begin symbol (B, L) -> logits of each one's next token (B, L, V).

        The tokens are a sentence, unless ``order`` tells the position of each (B, L) and which ones it
        follows, itself included (B, L, L).
        """
        positions = torch.arange(tokens_bl.shape[1], device=tokens_bl.device)
        positions, seen = (positions, None) if order is None else order
        return self._run(tokens_bl, positions, (), seen)[0]

    def score(self, tokens_bl: Tensor, lengths_b: Tensor) -> Tensor:
        """Log-probabilities of whole sentences.

        Parameters
        ----------
        tokens_bl : Tensor, shape (B, L), long
            Tokens without begin and end, anything beyond each sentence's length.
        lengths_b : Tensor, shape (B,), long
            Tokens of each sentence; may be zero.

        Returns
        -------
        Tensor, shape (B,)
            In nats, the end included.
        """
        given_bl, target_bl, beyond = framed(tokens_bl, lengths_b)
        return -token_losses(self(given_bl), target_bl, beyond).sum(dim=1)


def fit_width(model: LanguageModel, width: int) -> LanguageModel:
    """Bring a language model to a recogniser's number of output neurons; both know the same tokenizer.

    Either may have more neurons than the tokenizer has tokens, and those mean nothing.

    Parameters
    ----------
    model : LanguageModel
    width : int
        Output neurons V.

    Returns
    -------
    LanguageModel
        The same one, or one that shares its layers: ids from V on are left out of its distribution, and those
        that it lacked have probability zero.

    Examples
    --------
    >>> config = LanguageModelConfig(output_neurons=30, d_model=8, nhead=2, d_ffn=16, num_layers=2)
    >>> model = LanguageModel(config).eval()
    >>> wide = fit_width(model, 32)(torch.tensor([[BEGIN, 5]]))
    >>> wide[0, 0, 29:].isfinite().tolist(), fit_width(model, 20).config.output_neurons
    ([True, False, False], 20)
    """
    more = width - model.config.output_neurons
    if more == 0:
        return model
    weights = model.state_dict()
    # Only a bias can say never.
    tied = model.config.tie_embeddings and more < 0
    if not tied:
        table = weights["embedding.weight"]
        said = weights.get("out.weight", table), weights.get("out.bias", table.new_zeros(len(table)))
        weights["out.weight"] = F.pad(said[0], (0, 0, 0, more))
        weights["out.bias"] = F.pad(said[1], (0, more), value=-math.inf)
    weights["embedding.weight"] = F.pad(weights["embedding.weight"], (0, 0, 0, more))
    with without_weights():
        fitted = LanguageModel(replace(model.config, output_neurons=width, tie_embeddings=tied))
    fitted.load_state_dict(weights, assign=True)
    return fitted.train(model.training)


def framed(tokens_bl: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a language model is given, what it is to foretell, and where that ends.

    Parameters
    ----------
    tokens_bl : Tensor, shape (B, L), long
        Sentences without begin and end.
    lengths_b : Tensor, shape (B,), long

    Returns
    -------
    Tensor, shape (B, L + 1), long
        The sentences behind a begin symbol.
    Tensor, shape (B, L + 1), long
        The sentences before an end symbol.
    Tensor, shape (B, L + 1), bool
        True beyond the end symbol.

    Examples
    --------
    >>> framed(torch.tensor([[5, 6], [7, 0]]), torch.tensor([2, 1]))
    (tensor([[1, 5, 6],
            [1, 7, 0]]), tensor([[5, 6, 2],
            [7, 2, 0]]), tensor([[False, False, False],
            [False, False,  True]]))
    """
    longer = F.pad(tokens_bl, (0, 1))
    positions_l = torch.arange(longer.shape[1], device=tokens_bl.device)
    ends = lengths_b.unsqueeze(1)
    return (
        F.pad(tokens_bl, (1, 0), value=BEGIN),
        torch.where(positions_l == ends, END, longer),
        positions_l > ends,
    )


def token_losses(
    logits_blv: Tensor, target_bl: Tensor, beyond: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of every token, in float32 or better.

    Parameters
    ----------
    logits_blv : Tensor, shape (B, L, V)
    target_bl : Tensor, shape (B, L), long
    beyond : Tensor, shape (B, L), bool
        Where there is nothing to foretell.
    label_smoothing : float
        Share of the target given to all tokens alike.

    Returns
    -------
    Tensor, shape (B, L)
        In nats; zero beyond the sentences.

    Examples
    --------
    >>> _, target, beyond = framed(torch.tensor([[5, 6], [7, 0]]), torch.tensor([2, 1]))
    >>> token_losses(torch.zeros(2, 3, 8), target, beyond)  # log 8 each
    tensor([[2.0794, 2.0794, 2.0794],
            [2.0794, 2.0794, 0.0000]])
    """
    dtype = torch.promote_types(logits_blv.dtype, torch.float32)
    losses_bl = F.cross_entropy(
        logits_blv.to(dtype).transpose(1, 2), target_bl, reduction="none", label_smoothing=label_smoothing
    )
    return losses_bl.masked_fill(beyond, 0.0)
