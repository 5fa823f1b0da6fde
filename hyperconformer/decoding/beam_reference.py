"""Joint CTC/attention beam search in plain steps that keep nothing: what the fast one is held to."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding.exhaustive import (
    attention_log_probs,
    ctc_log_probability,
    ctc_prefix_scores,
    end_allowed,
    language_model_log_probs,
    symbol_limits,
    total,
)
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.types import Hypothesis


@dataclass(frozen=True)
class _Live:
    """A hypothesis that has not ended; its score for the search, and the parts that add up symbol by symbol."""

    tokens: tuple[int, ...]
    score: float
    sums: dict[str, float]


class BeamReference:
    """A beam search with the hypotheses and scores of :class:`ExhaustiveSearch`, pruned step by step.

    At every step all live hypotheses are extended by every token and, where it is allowed or no token is
    possible behind any of them, by the end symbol; in place of the final CTC score an extension has the
    log-probability of all that begins with its tokens. The ``beam_size`` best extensions stay. Those that ended
    are finished, the others are live; at the step limit all end. Without length normalisation scores only fall,
    and what is not above the ``nbest``-th finished hypothesis is given up; with it, everything is when
    ``beam_size`` have finished. Every step recomputes everything, in float64 as far as the model gives it.

    Parameters
    ----------
    model : ASR
    options : SearchOptions
    language_model : LanguageModel, optional

    References
    ----------
    Watanabe et al., Hybrid CTC/attention architecture for end-to-end speech recognition, 2017.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> config = ModelConfig(output_neurons=9, d_model=8, nhead=2, num_encoder_layers=1, num_decoder_layers=1)
    >>> search = BeamReference(ASR(config).eval(), SearchOptions(beam_size=3, nbest=2))
    >>> [len(hypotheses) for hypotheses in search(torch.zeros(2, 6, 8), torch.tensor([6, 4]))]
    [2, 2]
    """

    def __init__(
        self, model: ASR, options: SearchOptions, language_model: LanguageModel | None = None
    ) -> None:
        self.model, self.options, self.language_model = model, options, language_model

    @torch.no_grad()
    def __call__(self, memory_btd: Tensor, lengths_b: Tensor) -> list[list[Hypothesis]]:
        """Search; as :meth:`ExhaustiveSearch.__call__`."""
        return [
            self._search(memory_td[:frames])
            for memory_td, frames in zip(memory_btd, lengths_b.tolist(), strict=True)
        ]

    def _search(self, memory_td: Tensor) -> list[Hypothesis]:
        options = self.options
        log_probs_tv = self.model.ctc_log_probs(memory_td)
        least, most = symbol_limits(len(memory_td), options)
        live, finished = [_Live((), 0.0, {})], list[Hypothesis]()
        for step in range(most):
            best = self._extensions(live, memory_td, log_probs_tv, least, last=step == most - 1)
            live = [found for found in best if isinstance(found, _Live)]
            finished += [found for found in best if isinstance(found, Hypothesis)]
            finished.sort(key=lambda hypothesis: hypothesis.score, reverse=True)
            live = [found for found in live if found.score > self._threshold(finished)]
            if not live:
                break
        return finished[: options.nbest]

    def _threshold(self, finished: list[Hypothesis]) -> float:
        options = self.options
        if options.length_normalization:
            return math.inf if len(finished) >= options.beam_size else -math.inf
        return finished[options.nbest - 1].score if len(finished) >= options.nbest else -math.inf

    def _extensions(
        self, live: list[_Live], memory_td: Tensor, log_probs_tv: Tensor, least: int, *, last: bool
    ) -> list[_Live | Hypothesis]:
        """The ``beam_size`` best of what the live ones can become."""
        options, step = self.options, len(live[0].tokens)
        prefixes_nl = torch.tensor([found.tokens for found in live], dtype=torch.long).to(memory_td.device)
        said = {
            "attention": attention_log_probs(
                self.model, memory_td, prefixes_nl, temperature=options.temperature
            )
        }
        if self.language_model is not None:
            said["lm"] = language_model_log_probs(
                self.language_model, prefixes_nl, temperature=options.lm_temperature
            )
        allowed = end_allowed(said["attention"][:, -1], options).tolist()
        longer: list[_Live | Hypothesis] = []
        ended: list[tuple[Hypothesis, bool]] = []
        for row, found in enumerate(live):
            rows = {name: of_nlv[row, -1].tolist() for name, of_nlv in said.items()}
            ctc = ctc_prefix_scores(log_probs_tv, found.tokens).tolist()
            ctc[END] = ctc_log_probability(log_probs_tv, found.tokens)
            for symbol in range(len(ctc)):
                sums = {name: found.sums.get(name, 0.0) + values[symbol] for name, values in rows.items()}
                parts = {**sums, "ctc": ctc[symbol]}
                score = total(parts, step + 1, options)
                if symbol == END:
                    ended.append((Hypothesis(found.tokens, score, parts), step >= least and allowed[row]))
                elif symbol not in (BLANK, BEGIN) and not last and score > -math.inf:
                    longer.append(_Live((*found.tokens, symbol), score, sums))
        extensions = longer + [found for found, may_end in ended if may_end or not longer]
        return sorted(extensions, key=lambda found: found.score, reverse=True)[: options.beam_size]
