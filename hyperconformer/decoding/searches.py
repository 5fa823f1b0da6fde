"""The searches by their names, and what each of them needs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.nn.masks import padding_mask
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
        Over the same tokens.

    Raises
    ------
    ValueError
        If the vocabularies differ.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> Models(ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2))).language_model is None
    True
    """

    asr: ASR
    language_model: LanguageModel | None = None

    def __post_init__(self) -> None:
        if self.language_model is not None:
            theirs, ours = self.language_model.config.output_neurons, self.asr.config.output_neurons
            if theirs != ours:
                raise ValueError(
                    f"the language model has {theirs} output neurons and the recogniser {ours}: they need the "
                    "same tokenizer"
                )


def _greedy(models: Models, options: SearchOptions) -> Search:
    @torch.no_grad()
    def search(memory_btd: Tensor, lengths_b: Tensor) -> list[list[Hypothesis]]:
        padding = padding_mask(lengths_b, memory_btd.shape[1])
        return [[found] for found in ctc_greedy(models.asr.ctc_log_probs(memory_btd), padding)]

    return search


def _joint(models: Models, options: SearchOptions) -> Search:
    return JointSearch(models.asr, options, models.language_model)


SEARCHES: dict[str, Callable[[Models, SearchOptions], Search]] = {"greedy": _greedy, "joint": _joint}


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
    return SEARCHES[name](models, options)
