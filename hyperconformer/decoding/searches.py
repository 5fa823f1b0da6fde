"""The searches by their names, and what each of them needs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hyperconformer.decoding.fusion import Fusion, NGramFusion
from hyperconformer.decoding.greedy_logits import greedy_search
from hyperconformer.decoding.hotwords import Hotwords
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.decoding.ngram_tokens import NGramTokens
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.prefix_beam import prefix_beam_search
from hyperconformer.decoding.rescoring import rescore
from hyperconformer.decoding.token_scorers import TokenScorer
from hyperconformer.decoding.transformer_fusion import TransformerFusion
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel, fit_width
from hyperconformer.ngram.model import NGram
from hyperconformer.text import Tokenizer
from hyperconformer.types import Hypothesis

Search = Callable[[Tensor, Tensor], list[list[Hypothesis]]]
"""Encoder output (B, T, D) and its valid frames (B,) to the n best hypotheses of each utterance."""


@dataclass(frozen=True)
class Models:
    """What a search may ask.

    Attributes
    ----------
    asr : ASR
        In evaluation mode.
    language_model : LanguageModel or None
        With the recogniser's tokenizer; it is brought to the recogniser's output neurons.
    tokenizer : Tokenizer or None
        The recogniser's; words and hotwords need it.
    ngram : NGram or None
        Over words.
    hotwords : tuple of str
        Phrases to expect.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> Models(ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2))).language_model is None
    True
    """

    asr: ASR
    language_model: LanguageModel | None = None
    tokenizer: Tokenizer | None = None
    ngram: NGram | None = None
    hotwords: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.language_model is not None:
            fitted = fit_width(self.language_model, self.asr.config.output_neurons)
            object.__setattr__(self, "language_model", fitted)

    def words(self, options: SearchOptions) -> NGramFusion | None:
        """What scores words; None where nothing is asked of them."""
        if not (options.ngram_weight or options.word_bonus):
            return None
        if self.tokenizer is None:
            raise ValueError("scores of words need the tokenizer: give it")
        if options.ngram_weight and self.ngram is None:
            raise ValueError(f"ngram_weight is {options.ngram_weight} but there is no n-gram model: give one")
        return NGramFusion(self.ngram if options.ngram_weight else None, self.tokenizer)

    def expected(self, options: SearchOptions) -> Hotwords | None:
        """The hotwords; None where there are none, or they are worth nothing."""
        if not (self.hotwords and options.hotword_bonus):
            return None
        if self.tokenizer is None:
            raise ValueError("hotwords need the tokenizer: give it")
        width = self.asr.config.output_neurons
        return Hotwords(self.hotwords, self.tokenizer, options.hotword_bonus, output_neurons=width)


def _greedy(models: Models, options: SearchOptions) -> Search:
    def search(memory_btd: Tensor, lengths_b: Tensor) -> list[list[Hypothesis]]:
        return [[found] for found in greedy_search(models.asr.ctc_head, memory_btd, lengths_b)]

    return search


def _prefix(models: Models, options: SearchOptions) -> Search:
    words, hotwords = models.words(options), models.expected(options)
    fusion: list[Fusion] = [] if words is None else [words]
    if options.lm_weight and models.language_model is not None:
        fusion.append(TransformerFusion(models.language_model, options))

    def search(memory_btd: Tensor, lengths_b: Tensor) -> list[list[Hypothesis]]:
        log_probs_btv = models.asr.ctc_log_probs(memory_btd)
        return prefix_beam_search(log_probs_btv, lengths_b, options, fusion=fusion, hotwords=hotwords)

    return search


def _rescore(models: Models, options: SearchOptions) -> Search:
    # The first pass hears without the Transformer, and returns all that it kept.
    first = _prefix(models, replace(options, lm_weight=0.0, nbest=options.beam_size))

    def search(memory_btd: Tensor, lengths_b: Tensor) -> list[list[Hypothesis]]:
        nbest = first(memory_btd, lengths_b)
        return rescore(nbest, memory_btd, lengths_b, models.asr, options, models.language_model)

    return search


def _joint(models: Models, options: SearchOptions) -> Search:
    words, hotwords, width = models.words(options), models.expected(options), models.asr.config.output_neurons
    scorers: dict[str, TokenScorer] = {}
    if words is not None:
        parts = [part for part in words.parts if options.weight(part)]
        scorers |= {part: NGramTokens(words, part, width) for part in parts}
    if hotwords is not None:
        scorers["hotwords"] = hotwords
    return JointSearch(models.asr, options, models.language_model, scorers)


SEARCHES: dict[str, Callable[[Models, SearchOptions], Search]] = {
    "greedy": _greedy,
    "prefix": _prefix,
    "rescore": _rescore,
    "joint": _joint,
}


def make_search(name: str, models: Models, options: SearchOptions) -> Search:
    """Build a search.

    Parameters
    ----------
    name : str
        One of :data:`SEARCHES`.
    models : Models
    options : SearchOptions

    Returns
    -------
    callable
        Encoder output (B, T, D) and its valid frames (B,) to the n best hypotheses of each utterance, best
        first, at least one.

    Raises
    ------
    ValueError
        If there is no search of that name, or a model that has a weight is missing or does not fit.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> models = Models(ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2, num_encoder_layers=1)).eval())
    >>> search = make_search("greedy", models, SearchOptions())
    >>> [len(nbest) for nbest in search(torch.zeros(2, 6, 8), torch.tensor([6, 4]))]
    [1, 1]
    """
    if name not in SEARCHES:
        raise ValueError(f"search must be one of {sorted(SEARCHES)}, got {name!r}")
    if name != "greedy" and options.lm_weight and models.language_model is None:
        raise ValueError(f"lm_weight is {options.lm_weight} but there is no language model: give one")
    return torch.inference_mode()(SEARCHES[name](models, options))
