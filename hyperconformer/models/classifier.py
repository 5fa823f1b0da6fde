"""A text classifier with its token mixer as a parameter: one text, or two that are compared."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from hyperconformer.constants import BLANK, END
from hyperconformer.mixers import HyperMixing, make_mixer
from hyperconformer.models.config import ClassifierConfig
from hyperconformer.nn.dropout import Dropout
from hyperconformer.nn.feedforward import FeedForward
from hyperconformer.nn.initialise import initialise
from hyperconformer.nn.masks import padding_mask, zero_padding
from hyperconformer.nn.positions import sinusoids


class Texts(NamedTuple):
    """A padded batch of token sequences.

    Attributes
    ----------
    tokens_bl : Tensor, shape (B, L), long
        Anything beyond each text's length.
    lengths_b : Tensor, shape (B,), long
        At least one.

    Examples
    --------
    >>> Texts(torch.tensor([[5, 6], [7, 0]]), torch.tensor([2, 1])).padding()
    tensor([[False, False],
            [False,  True]])
    """

    tokens_bl: Tensor
    lengths_b: Tensor

    def padding(self) -> Tensor:
        """(B, L) bool, True beyond each text."""
        return padding_mask(self.lengths_b, self.tokens_bl.shape[1])


def joined(first: Texts, second: Texts) -> tuple[Texts, Tensor]:
    """Set two texts behind each other, an end symbol between them.

    Parameters
    ----------
    first, second : Texts
        Of B pairs, L and M tokens long.

    Returns
    -------
    Texts
        As many tokens as the longest pair has, L + 1 + M at most.
    Tensor, of the same shape, long
        0 in the first text and its end symbol, 1 behind it.

    Examples
    --------
    >>> one = Texts(torch.tensor([[5, 6], [7, 0]]), torch.tensor([2, 1]))
    >>> both, part = joined(one, Texts(torch.tensor([[8], [9]]), torch.tensor([1, 1])))
    >>> both.tokens_bl, part
    (tensor([[5, 6, 2, 8],
            [7, 2, 9, 0]]), tensor([[0, 0, 0, 1],
            [0, 0, 1, 1]]))
    """
    ends_b1 = first.lengths_b.unsqueeze(1)
    lengths_b = first.lengths_b + 1 + second.lengths_b
    # The longest of both parts need not be of one pair.
    width = int(lengths_b.max())
    places_l = torch.arange(width, device=ends_b1.device).expand(len(ends_b1), width)
    part_bl = (places_l > ends_b1).long()
    of_first = first.tokens_bl.gather(1, places_l.clamp(max=first.tokens_bl.shape[1] - 1))
    of_second = (places_l - ends_b1 - 1).clamp(min=0, max=second.tokens_bl.shape[1] - 1)
    tokens_bl = torch.where(places_l < ends_b1, of_first, second.tokens_bl.gather(1, of_second))
    tokens_bl = tokens_bl.masked_fill(places_l == ends_b1, END)
    return Texts(tokens_bl.masked_fill(places_l >= lengths_b.unsqueeze(1), BLANK), lengths_b), part_bl


class ClassifierLayer(nn.Module):
    """Pre-norm token mixing, between two texts where there are two apart, and feed-forward.

    Parameters
    ----------
    d_model, nhead, d_ffn : int
        Feature size D, heads, hidden size.
    mixer : str
        Name of the token mixer.
    mixer_options : mapping
        Its further keyword options.
    across : bool
        Each of two texts also hears the other, by the query and key form of HyperMixing.
    dropout : float
        Probability on every residual branch, and on the feed-forward's hidden units.

    Examples
    --------
    >>> layer = ClassifierLayer(8, 2, 16, mixer="fourier", mixer_options={}, across=False, dropout=0.0)
    >>> layer([torch.zeros(2, 5, 8)], [torch.zeros(2, 5, dtype=torch.bool)])[0].shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        d_ffn: int,
        *,
        mixer: str,
        mixer_options: Mapping[str, Any],
        across: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm_mixer = nn.LayerNorm(d_model)
        self.mixer = make_mixer(mixer, d_model, nhead, mixer_options)
        self.norm_across = nn.LayerNorm(d_model) if across else None
        self.across = cast(HyperMixing, make_mixer(mixer, d_model, nhead, mixer_options)) if across else None
        self.feedforward = FeedForward(d_model, d_ffn, dropout=dropout, activation="gelu")
        self.dropout = Dropout(dropout)

    def forward(self, texts: list[Tensor], paddings: list[Tensor]) -> list[Tensor]:
        """One text or two, each (B, L, D) with its padding (B, L) -> the same shapes."""
        add = self.dropout.add
        texts = [
            add(x_bld, self.mixer(self.norm_mixer(x_bld), padding))
            for x_bld, padding in zip(texts, paddings, strict=True)
        ]
        if self.across is not None and self.norm_across is not None:
            one, other = (self.norm_across(x_bld) for x_bld in texts)
            heard = (
                self.across.cross(one, other, *paddings),
                self.across.cross(other, one, *reversed(paddings)),
            )
            texts = [add(x_bld, said) for x_bld, said in zip(texts, heard, strict=True)]
        return [add(x_bld, self.feedforward(x_bld)) for x_bld in texts]


class Classifier(nn.Module):
    """Token ids of a text, or of a pair, to logits over classes; padding is invisible.

    The layers are those of a pre-norm Transformer whose self-attention is the mixer. Their output is normed
    token by token, averaged over each text, and multiplied by the head: without a mixer a class is a sum of
    what single tokens say.

    Parameters
    ----------
    config : ClassifierConfig
        Sizes.

    References
    ----------
    Mai et al., HyperMixer, arXiv 2203.03691.

    Examples
    --------
    >>> config = ClassifierConfig(
    ...     output_neurons=30, num_classes=3, texts=1, d_model=8, nhead=2, d_ffn=16, num_layers=2
    ... )
    >>> model = Classifier(config).eval()
    >>> model(Texts(torch.tensor([[5, 9], [7, 0]]), torch.tensor([2, 1]))).shape
    torch.Size([2, 3])
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.apart = config.texts == 2 and config.pair == "cross"
        self.embedding = nn.Embedding(config.output_neurons, config.d_model)
        self.part = nn.Embedding(2, config.d_model) if config.texts == 2 and not self.apart else None
        self.dropout = Dropout(config.transformer_dropout)
        self.embedding.apply(initialise)
        self.layers = nn.ModuleList(
            ClassifierLayer(
                config.d_model,
                config.nhead,
                config.d_ffn,
                mixer=config.mixer,
                mixer_options=config.mixer_options,
                across=self.apart,
                dropout=config.transformer_dropout,
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model * (2 if self.apart else 1), config.num_classes)
        if self.part is not None:
            self.part.apply(initialise)

    def forward(self, first: Texts, second: Texts | None = None) -> Tensor:
        """Texts of B utterances, or B pairs of them -> logits (B, C).

        Raises
        ------
        ValueError
            If a classifier of single texts gets two, or one of pairs gets one.
        """
        given = 1 if second is None else 2
        if given != self.config.texts:
            raise ValueError(f"a classifier of {self.config.texts} texts was given {given}")
        part_bl = None
        if second is None:
            texts = [first]
        elif self.apart:
            texts = [first, second]
        else:
            both, part_bl = joined(first, second)
            texts = [both]
        paddings = [text.padding() for text in texts]
        x = [self._embed(text.tokens_bl, part_bl) for text in texts]
        for layer in self.layers:
            x = layer(x, paddings)
        pooled = [
            zero_padding(self.norm(x_bld), padding).sum(dim=1) / text.lengths_b.unsqueeze(1)
            for x_bld, padding, text in zip(x, paddings, texts, strict=True)
        ]
        logits_bc: Tensor = self.head(self.dropout(torch.cat(pooled, dim=1)))
        return logits_bc

    def _embed(self, tokens_bl: Tensor, part_bl: Tensor | None) -> Tensor:
        x_bld: Tensor = self.embedding(tokens_bl) * math.sqrt(self.config.d_model)
        if self.config.positions == "sinusoid":
            x_bld = x_bld + sinusoids(0, x_bld.shape[1], x_bld.shape[2], x_bld)
        if self.part is not None and part_bl is not None:
            x_bld = x_bld + self.part(part_bl) * math.sqrt(self.config.d_model)
        dropped: Tensor = self.dropout(x_bld)
        return dropped
