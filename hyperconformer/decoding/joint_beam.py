"""Joint CTC/attention/language-model beam search over whole batches, exact and without waste."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding.beams import Beams
from hyperconformer.decoding.candidates import Extensions, SearchStats, choose
from hyperconformer.decoding.ctc_prefix import CTCPrefix
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.token_scorers import ScorerRows, TokenScorer
from hyperconformer.models.asr import ASR
from hyperconformer.models.decoder import DecoderState
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.nn.log_probs import log_probs
from hyperconformer.nn.masks import padding_mask
from hyperconformer.nn.prefix_tree import PrefixTree
from hyperconformer.types import Hypothesis


@dataclass(frozen=True)
class _States:
    """What each model keeps of the rows of a beam; None where a model has no part."""

    decoder: DecoderState | None
    lm: PrefixTree | None
    ctc: CTCPrefix | None
    scorers: ScorerRows

    def extend(self, rows_bk: Tensor, tokens_bk: Tensor) -> "_States":
        """Go on with these rows, each with one more token."""
        return _States(
            self.decoder and self.decoder.select(rows_bk).compact(),
            self.lm and self.lm.select(rows_bk).compact(),
            self.ctc and self.ctc.extend(rows_bk, tokens_bk),
            self.scorers.extend(rows_bk, tokens_bk),
        )

    def keep(self, index_b: Tensor) -> "_States":
        """Go on with these utterances."""
        return _States(
            self.decoder and self.decoder.keep(index_b),
            self.lm and self.lm.keep(index_b),
            self.ctc and self.ctc.keep(index_b),
            self.scorers.keep(index_b),
        )


class JointSearch:
    """Beam search over the sum of CTC, attention and language-model scores.

    A hypothesis is a sequence of tokens with the end symbol behind it. At every step the ``beam_size`` best
    extensions of all live hypotheses of an utterance are chosen, those by the end symbol included; these are
    finished and leave the beam. Scores, weights, temperatures, ratios and the threshold of the end symbol
    mean what they mean in SpeechBrain's ``S2SBeamSearcher``. What is an accident there is settled here so:

    - Scores only fall while a hypothesis grows. Therefore the search goes on until no live hypothesis can
      reach the ``nbest``-th of the finished ones, and no further; there it ends when ``beam_size`` are
      finished. With length normalisation, or scorers that give bonuses, scores may rise: it ends as there.
    - The limits are ratios of the utterance's own frames, not of the padded batch's, so that a result does
      not depend on its neighbours.
    - At the last step every live hypothesis ends, whatever ratio and threshold say, and so it does where no
      token is possible any more. There, unfinished ones count as finished without the cost of the end, and
      lose their last token.
    - Each hypothesis is listed once. Blank and the begin symbol are never tokens.

    CTC scores are worked out only for extensions that may be chosen: see
    :func:`~hyperconformer.decoding.candidates.choose`. The result is that of scoring everything.

    Parameters
    ----------
    model : ASR
        In evaluation mode.
    options : SearchOptions
    language_model : LanguageModel or None
        Over the same tokens; its weight is ``options.lm_weight``.
    scorers : mapping of str to TokenScorer
        Further scores, such as hotwords, by the name of their part.

    Attributes
    ----------
    stats : SearchStats
        Of all calls so far.

    Raises
    ------
    ValueError
        If a language model has a weight but is not given.

    References
    ----------
    Watanabe et al., Hybrid CTC/attention architecture for end-to-end speech recognition, 2017.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> config = ModelConfig(output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1,
    ...                      num_decoder_layers=1)
    >>> search = JointSearch(ASR(config).eval(), SearchOptions(beam_size=2, nbest=2))
    >>> found = search(torch.zeros(2, 6, 8), torch.tensor([6, 4]))
    >>> [len(nbest) for nbest in found], sorted(found[0][0].parts)
    ([2, 2], ['attention', 'ctc'])
    """

    def __init__(
        self,
        model: ASR,
        options: SearchOptions,
        language_model: LanguageModel | None = None,
        scorers: Mapping[str, TokenScorer] | None = None,
    ) -> None:
        if options.lm_weight and language_model is None:
            raise ValueError(f"lm_weight is {options.lm_weight} but there is no language model: give one")
        self.model, self.options, self.scorers = model, options, scorers or {}
        self.language_model = language_model if options.lm_weight else None
        self.stats = SearchStats()
        self._rising = options.word_bonus > 0 if set(self.scorers) <= {"ngram", "words"} else True

    @torch.no_grad()
    def __call__(self, memory_btd: Tensor, lengths_b: Tensor) -> list[list[Hypothesis]]:
        """Search.

        Parameters
        ----------
        memory_btd : Tensor, shape (B, T, D)
            Encoder output.
        lengths_b : Tensor, shape (B,), long
            Its valid frames.

        Returns
        -------
        list of list of Hypothesis
            The n best of each utterance, best first; at least one. The parts of a score are those of
            "attention", "ctc", "lm" and the scorers that have a weight.

        Raises
        ------
        ValueError
            If an utterance has no frames, or encoder output that is not finite.
        """
        valid_btd = memory_btd.masked_fill(padding_mask(lengths_b, memory_btd.shape[1]).unsqueeze(2), 0.0)
        if not valid_btd.isfinite().all() or not (lengths_b > 0).all():
            raise ValueError("every utterance needs a frame, and encoder output that is finite")
        states = self._start(memory_btd, lengths_b)
        beams = Beams.start(lengths_b, self.options, rising=self._rising)
        tokens_bk = torch.full_like(lengths_b, BEGIN).unsqueeze(1)
        while True:
            local, states = self._local(tokens_bk, states)
            extensions = self._extensions(local, states, beams)
            chosen = choose(
                extensions, states.ctc, self.options.ctc_weight, self.options.beam_size, self.stats
            )
            finals_bk = None if states.ctc is None else states.ctc.finals_bk
            rows_bk, tokens_bk, active_b = beams.advance(chosen, local, finals_bk)
            if not len(active_b):
                return beams.results()
            states = states.extend(rows_bk, tokens_bk)
            if len(active_b) < len(tokens_bk):
                states, tokens_bk = states.keep(active_b), tokens_bk[active_b]

    def _start(self, memory_btd: Tensor, lengths_b: Tensor) -> _States:
        padding = padding_mask(lengths_b, memory_btd.shape[1])
        attends, hears = self.options.ctc_weight < 1, self.options.ctc_weight > 0
        return _States(
            self.model.decoder.start(memory_btd, padding) if attends else None,
            None if self.language_model is None else self.language_model.start(len(lengths_b)),
            CTCPrefix.start(self.model.ctc_log_probs(memory_btd), lengths_b) if hears else None,
            ScorerRows.start(self.scorers, len(lengths_b), memory_btd.device),
        )

    def _local(self, tokens_bk: Tensor, states: _States) -> tuple[dict[str, Tensor], _States]:
        """Log-scores (B, K, V) of what follows each row by each model, and the models' next states."""
        local, decoder, lm = states.scorers.scores(), states.decoder, states.lm
        if decoder is not None:
            logits_bkv, decoder = self.model.decoder.step(tokens_bk, decoder)
            local["attention"] = log_probs(logits_bkv, self.options.temperature)
        if lm is not None and self.language_model is not None:
            logits_bkv, lm = self.language_model.step(tokens_bk, lm)
            local["lm"] = log_probs(logits_bkv, self.options.lm_temperature)
        return local, _States(decoder, lm, states.ctc, states.scorers)

    def _extensions(self, local: dict[str, Tensor], states: _States, beams: Beams) -> Extensions:
        """Weigh what each row may become."""
        options, rest_bk, ctc_ends_bk = self.options, beams.totals_bk, torch.zeros_like(beams.totals_bk)
        if states.ctc is not None:
            rest_bk = rest_bk - options.ctc_weight * states.ctc.scores_bk
            ctc_ends_bk = options.ctc_weight * states.ctc.finals_bk
        batch, rows = rest_bk.shape
        labels_bkv = torch.zeros(batch, rows, self.model.config.output_neurons, device=rest_bk.device)
        for name, scores_bkv in local.items():
            labels_bkv.add_(scores_bkv, alpha=options.weight(name))
        ends_bk = rest_bk + labels_bkv[:, :, END] + ctc_ends_bk
        labels_bkv[:, :, [BLANK, BEGIN, END]] = -torch.inf
        labels_bkv.masked_fill_(beams.last_b[:, None, None], -torch.inf)
        may_end_bk = beams.may_end_b.unsqueeze(1).expand(-1, rows)
        if options.eos_threshold is not None and "attention" in local:
            attention_bkv = local["attention"]
            threshold_bk = options.eos_threshold * attention_bkv.amax(dim=2)
            may_end_bk = may_end_bk & (attention_bkv[:, :, END] > threshold_bk)
        return Extensions(rest_bk, labels_bkv, ends_bk, may_end_bk)
