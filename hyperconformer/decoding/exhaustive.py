"""Every token sequence there is, scored one by one: the slow truth that the searches are held to."""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.types import Hypothesis

# Beyond this the enumeration would not come back.
MOST_SEQUENCES = 100_000


def log_sum(terms: Sequence[float]) -> float:
    """Logarithm of a sum, from the logarithms of its terms.

    Examples
    --------
    >>> log_sum([math.log(0.5), -math.inf, math.log(0.25)]) == math.log(0.75)
    True
    """
    top = max(terms)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(term - top) for term in terms))


def ctc_log_probability(log_probs_tv: Tensor, tokens: Sequence[int]) -> float:
    """CTC log-probability of exactly these tokens: the textbook's forward pass, in plain float64 loops.

    Parameters
    ----------
    log_probs_tv : Tensor, shape (T, V)
        Log-probabilities of one utterance's labels; label 0 is the blank.
    tokens : sequence of int

    Returns
    -------
    float
        In nats, over all paths; ``-inf`` if there are too few frames.

    References
    ----------
    Graves et al., Connectionist temporal classification, ICML 2006.

    Examples
    --------
    >>> even = torch.full((2, 3), 1 / 3).log()
    >>> round(math.exp(ctc_log_probability(even, [2])) * 9, 4)  # of nine paths: 22, 2-, -2
    3.0
    """
    labels = [BLANK, *itertools.chain.from_iterable((token, BLANK) for token in tokens)]
    alpha = [0.0] + [-math.inf] * (len(labels) - 1)
    for t, row in enumerate(log_probs_tv.double().tolist()):
        before, alpha = alpha, []
        for place, label in enumerate(labels):
            sources = [before[place]]
            # Before the first frame all paths stand on the first blank, which a path may skip.
            if place and (t or place == 1):
                sources.append(before[place - 1])
            if t and place > 1 and label not in (BLANK, labels[place - 2]):
                sources.append(before[place - 2])
            alpha.append(row[label] + log_sum(sources))
    return log_sum(alpha[-2:])


def ctc_prefix_scores(log_probs_tv: Tensor, tokens: Sequence[int]) -> Tensor:
    """CTC log-probability of everything that begins with these tokens and one more, for every one more.

    Parameters
    ----------
    log_probs_tv : Tensor, shape (T, V)
        Log-probabilities of one utterance's labels; label 0 is the blank.
    tokens : sequence of int
        The prefix.

    Returns
    -------
    Tensor, shape (V,), float64
        In nats; ``-inf`` for the blank. Begin and end are labels like any other.

    References
    ----------
    Watanabe et al., Hybrid CTC/attention architecture for end-to-end speech recognition, 2017.

    Examples
    --------
    >>> even = torch.full((2, 3), 1 / 3).log()
    >>> (ctc_prefix_scores(even, []).exp() * 9).round().tolist()  # of 1: 11, 1-, -1, 12
    [0.0, 4.0, 4.0]
    """
    rows = log_probs_tv.double()
    # Of each length of the prefix: log-probability that the frames so far say it, up to a blank or not.
    blank, other = [0.0] + [-math.inf] * len(tokens), [-math.inf] * (len(tokens) + 1)
    scores_v = rows.new_full((rows.shape[1],), -math.inf)
    for row_v, row in zip(rows, rows.tolist(), strict=True):
        room_v = row_v.new_full(row_v.shape, log_sum([blank[-1], other[-1]]))
        if tokens:
            room_v[tokens[-1]] = blank[-1]
        scores_v = torch.logaddexp(scores_v, room_v + row_v)
        for place in range(len(tokens), -1, -1):
            whole = log_sum([blank[place], other[place]])
            if place:
                fresh = [blank[place - 1]]
                if place < 2 or tokens[place - 1] != tokens[place - 2]:
                    fresh.append(other[place - 1])
                other[place] = row[tokens[place - 1]] + log_sum([other[place], *fresh])
            blank[place] = row[BLANK] + whole
    scores_v[BLANK] = -math.inf
    return scores_v


def attention_log_probs(
    model: ASR, memory_td: Tensor, prefixes_nl: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """What the decoder says of every next symbol, from whole prefixes: nothing is kept between calls.

    Parameters
    ----------
    model : ASR
    memory_td : Tensor, shape (T, D)
        One utterance's encoder output, without padding.
    prefixes_nl : Tensor, shape (N, L), long
        Prefixes of one length, without a begin symbol.
    temperature : float
        Divides the logits.

    Returns
    -------
    Tensor, shape (N, L + 1, V), float64
        Log-probabilities of the first symbol, the second, ..., and of the one after the prefix.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> config = ModelConfig(output_neurons=6, d_model=8, nhead=2, num_encoder_layers=1, num_decoder_layers=1)
    >>> attention_log_probs(ASR(config).eval(), torch.zeros(9, 8), torch.tensor([[3, 5], [4, 4]])).shape
    torch.Size([2, 3, 6])
    """
    memory_ntd = memory_td.expand(len(prefixes_nl), -1, -1)
    logits: Tensor = model.decoder(F.pad(prefixes_nl, (1, 0), value=BEGIN), memory_ntd, None)
    return (logits.double() / temperature).log_softmax(dim=-1)


def language_model_log_probs(
    model: LanguageModel, prefixes_nl: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """What a language model says of every next symbol, as :func:`attention_log_probs`.

    Examples
    --------
    >>> from hyperconformer.models.config import LanguageModelConfig
    >>> config = LanguageModelConfig(output_neurons=6, d_model=8, nhead=2, d_ffn=16, num_layers=1)
    >>> language_model_log_probs(LanguageModel(config).eval(), torch.tensor([[3, 5], [4, 4]])).shape
    torch.Size([2, 3, 6])
    """
    logits: Tensor = model(F.pad(prefixes_nl, (1, 0), value=BEGIN))
    return (logits.double() / temperature).log_softmax(dim=-1)


def symbol_limits(frames: int, options: SearchOptions) -> tuple[int, int]:
    """Fewest tokens of a hypothesis, and most symbols of one, its end included.

    Examples
    --------
    >>> symbol_limits(10, SearchOptions(min_decode_ratio=0.25, max_decode_ratio=0.5))
    (2, 5)
    """
    return int(frames * options.min_decode_ratio), max(1, int(frames * options.max_decode_ratio))


def end_allowed(log_probs_nv: Tensor, options: SearchOptions) -> Tensor:
    """Where the attention (N, V) thinks well enough of the end for ``eos_threshold``; (N,), bool.

    Examples
    --------
    >>> log_probs = torch.tensor([[0.1, 0.1, 0.2, 0.6], [0.1, 0.1, 0.5, 0.3]]).log()
    >>> end_allowed(log_probs, SearchOptions(eos_threshold=1.5))
    tensor([False,  True])
    """
    if options.eos_threshold is None or options.ctc_weight == 1:
        return torch.ones(len(log_probs_nv), dtype=torch.bool, device=log_probs_nv.device)
    return log_probs_nv[:, END] > options.eos_threshold * log_probs_nv.amax(dim=-1)


def total(parts: dict[str, float], symbols: int, options: SearchOptions) -> float:
    """The score of a hypothesis by its parts; a part without weight counts nothing, even if it is ``-inf``.

    Examples
    --------
    >>> total({"attention": -1.0, "ctc": -2.0, "lm": -3.0}, 2, SearchOptions(ctc_weight=0.5, lm_weight=0.5))
    -3.0
    """
    weights = {"attention": 1 - options.ctc_weight, "ctc": options.ctc_weight, "lm": options.lm_weight}
    score = sum(weights[name] * part for name, part in parts.items() if weights[name])
    return score / symbols if options.length_normalization else score


class ExhaustiveSearch:
    """The best of all hypotheses that a joint search may return; for alphabets and utterances of a few.

    A hypothesis is tokens and then the end symbol, at most ``max(1, int(frames * max_decode_ratio))`` symbols
    and not more tokens than CTC can say in so few frames; frames are the utterance's own. Blank and begin are
    never among its tokens. It may end behind fewer than ``int(frames * min_decode_ratio)`` tokens, or against
    ``eos_threshold``, only where it is as long as may be: there every hypothesis ends. The threshold asks that
    the attention's log-probability of the end is above ``eos_threshold`` times that of the likeliest symbol,
    whichever that is; it asks nothing where attention has no weight.

    Its score is ``(1 - ctc_weight) * attention + ctc_weight * ctc + lm_weight * lm``, where attention and lm
    are log-probabilities of all symbols, the end too, at their temperatures, and ctc is the log-probability
    of exactly the tokens; with ``length_normalization`` it is divided by the number of symbols. A beam as
    wide as the whole tree must find the same. Nothing here is shared with the searches.

    Parameters
    ----------
    model : ASR
    options : SearchOptions
        ``beam_size`` says nothing here.
    language_model : LanguageModel, optional

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> config = ModelConfig(output_neurons=5, d_model=8, nhead=2, num_encoder_layers=1, num_decoder_layers=1)
    >>> search = ExhaustiveSearch(ASR(config).eval(), SearchOptions(nbest=9))
    >>> [len(hypotheses) for hypotheses in search(torch.zeros(2, 3, 8), torch.tensor([3, 2]))]
    [7, 3]
    """

    def __init__(
        self, model: ASR, options: SearchOptions, language_model: LanguageModel | None = None
    ) -> None:
        self.model, self.options, self.language_model = model, options, language_model

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
            The ``nbest`` best of each utterance, best first.

        Raises
        ------
        ValueError
            If there are too many hypotheses.
        """
        return [
            sorted(self._all(memory_td[:frames]), key=lambda h: h.score, reverse=True)[: self.options.nbest]
            for memory_td, frames in zip(memory_btd, lengths_b.tolist(), strict=True)
        ]

    def _all(self, memory_td: Tensor) -> Iterator[Hypothesis]:
        frames = len(memory_td)
        least, most = symbol_limits(frames, self.options)
        alphabet = [v for v in range(self.model.config.output_neurons) if v not in (BLANK, BEGIN, END)]
        if len(alphabet) ** (most - 1) > MOST_SEQUENCES:
            raise ValueError(f"{len(alphabet)} tokens and {most} symbols make more than {MOST_SEQUENCES}")
        longest = most - 1
        if self.options.ctc_weight:
            # A token that repeats itself needs a blank between.
            longest = min(longest, frames if len(alphabet) > 1 else (frames + 1) // 2)
        for length in range(min(least, longest), longest + 1):
            sequences = list(itertools.product(alphabet, repeat=length))
            hypotheses, allowed = self.scored(memory_td, sequences)
            for hypothesis, ends in zip(hypotheses, allowed, strict=True):
                if (ends or length == longest) and hypothesis.score > -math.inf:
                    yield hypothesis

    @torch.no_grad()
    def scored(
        self, memory_td: Tensor, sequences: Sequence[tuple[int, ...]]
    ) -> tuple[list[Hypothesis], list[bool]]:
        """Score token sequences of one length, whether they may end there or not.

        Parameters
        ----------
        memory_td : Tensor, shape (T, D)
            One utterance's encoder output, without padding.
        sequences : sequence of tuple of int

        Returns
        -------
        list of Hypothesis
            In the same order.
        list of bool
            Which of them ``eos_threshold`` lets end.
        """
        options = self.options
        prefixes_nl = torch.tensor(sequences, device=memory_td.device, dtype=torch.long)
        symbols_nl = F.pad(prefixes_nl, (0, 1), value=END).unsqueeze(-1)
        said_nlv = attention_log_probs(self.model, memory_td, prefixes_nl, temperature=options.temperature)
        columns = {"attention": said_nlv.gather(2, symbols_nl).sum(dim=(1, 2)).tolist()}
        if self.language_model is not None:
            lm_nlv = language_model_log_probs(
                self.language_model, prefixes_nl, temperature=options.lm_temperature
            )
            columns["lm"] = lm_nlv.gather(2, symbols_nl).sum(dim=(1, 2)).tolist()
        log_probs_tv = self.model.ctc_log_probs(memory_td)
        columns["ctc"] = [ctc_log_probability(log_probs_tv, tokens) for tokens in sequences]
        hypotheses = []
        for row, tokens in enumerate(sequences):
            parts = {name: column[row] for name, column in columns.items()}
            hypotheses.append(Hypothesis(tokens, total(parts, len(tokens) + 1, options), parts))
        return hypotheses, end_allowed(said_nlv[:, -1], options).tolist()
