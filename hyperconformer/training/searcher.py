"""Joint CTC/attention beam search: SpeechBrain's searcher around our decoder."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from speechbrain.decoders.scorer import CTCScorer, ScorerBuilder
from speechbrain.decoders.seq2seq import S2SBeamSearcher
from torch import Tensor

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.models.asr import ASR
from hyperconformer.models.decoder import DecoderState
from hyperconformer.nn.masks import padding_mask
from hyperconformer.training.settings import Settings
from hyperconformer.types import Hypothesis

Search = Callable[[Tensor, Tensor], list[Hypothesis]]


class _CachedSearcher(S2SBeamSearcher):
    """SpeechBrain's beam search, one token at a time through the decoder's kept keys and values."""

    def __init__(self, model: ASR, **options: Any) -> None:
        super().__init__(bos_index=BEGIN, eos_index=END, **options)
        self.decoder, self.output_neurons = model.decoder, model.config.output_neurons

    def set_n_out(self) -> int:
        return self.output_neurons

    def reset_mem(self, batch_size: int, device: str) -> None:
        return None

    def permute_mem(self, memory: DecoderState, index: Tensor) -> DecoderState:
        return memory.keep(index)

    def forward_step(
        self, inp_tokens: Tensor, memory: DecoderState | None, enc_states: Tensor, enc_lens: Tensor
    ) -> tuple[Tensor, DecoderState, None]:
        state = self.decoder.start(enc_states, None) if memory is None else memory
        logits_bkv, state = self.decoder.step(inp_tokens.unsqueeze(1), state)
        return logits_bkv[:, 0].float().log_softmax(dim=-1), state, None


class JointSearcher:
    """Beam search over the sum of CTC prefix and attention scores.

    Utterances are searched one by one, so a result never depends on the batch it came in (the step limits
    of SpeechBrain's searcher follow the padded length).

    Parameters
    ----------
    model : ASR
    beam_size : int
    ctc_weight : float
        Share of CTC in the score.
    max_decode_ratio : float
        Most tokens per encoder frame.
    length_normalization : bool
        Rank by score per token.

    References
    ----------
    Watanabe et al., Hybrid CTC/attention architecture for end-to-end speech recognition, 2017.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> config = ModelConfig(output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1,
    ...                      num_decoder_layers=1)
    >>> searcher = JointSearcher(ASR(config).eval(), beam_size=2, ctc_weight=0.4, max_decode_ratio=1.0)
    >>> len(searcher(torch.zeros(2, 6, 8), torch.tensor([6, 4])))
    2
    """

    def __init__(
        self,
        model: ASR,
        *,
        beam_size: int,
        ctc_weight: float,
        max_decode_ratio: float,
        length_normalization: bool = False,
    ) -> None:
        ctc = CTCScorer(ctc_fc=model.ctc_head, blank_index=BLANK, eos_index=END)
        self._search = _CachedSearcher(
            model,
            min_decode_ratio=0.0,
            max_decode_ratio=max_decode_ratio,
            beam_size=beam_size,
            using_eos_threshold=False,
            length_normalization=length_normalization,
            scorer=ScorerBuilder(full_scorers=[ctc], weights={"ctc": ctc_weight}),
        )

    @torch.no_grad()
    def __call__(self, memory_btd: Tensor, lengths_b: Tensor) -> list[Hypothesis]:
        """Search.

        Parameters
        ----------
        memory_btd : Tensor, shape (B, T, D)
            Encoder output.
        lengths_b : Tensor, shape (B,), long
            Its valid frames.

        Returns
        -------
        list of Hypothesis
            The best one of each utterance.
        """
        whole = torch.ones(1, device=memory_btd.device)
        hypotheses = []
        for memory_td, frames in zip(memory_btd.float(), lengths_b.tolist(), strict=True):
            tokens, _, scores, _ = self._search(memory_td[:frames].unsqueeze(0), whole)
            score = float(scores[0])
            hypotheses.append(Hypothesis(tuple(tokens[0]), score, {"joint": score}))
        return hypotheses


def make_searches(model: ASR, settings: Settings) -> dict[str, Search]:
    """Build the searches that a recipe's test asks for, in its order.

    Parameters
    ----------
    model : ASR
    settings : Settings
        ``decode`` names them.

    Returns
    -------
    dict of str to callable

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> settings = load_settings("hparams/mini.yaml", {})
    >>> list(make_searches(ASR(settings.model), settings))
    ['greedy', 'joint']
    """
    joint = JointSearcher(
        model,
        beam_size=settings.beam_size,
        ctc_weight=settings.ctc_weight_decode,
        max_decode_ratio=settings.max_decode_ratio,
        length_normalization=settings.length_normalization,
    )
    legal: dict[str, Search] = {"greedy": partial(greedy_search, model), "joint": joint}
    return {name: legal[name] for name in settings.decode}


def greedy_search(model: ASR, memory_btd: Tensor, lengths_b: Tensor) -> list[Hypothesis]:
    """Search greedily by CTC.

    Parameters
    ----------
    model : ASR
    memory_btd : Tensor, shape (B, T, D)
        Encoder output.
    lengths_b : Tensor, shape (B,), long
        Its valid frames.

    Returns
    -------
    list of Hypothesis

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2))
    >>> len(greedy_search(model, torch.zeros(2, 6, 8), torch.tensor([6, 4])))
    2
    """
    padding = padding_mask(lengths_b, memory_btd.shape[1])
    return ctc_greedy(model.ctc_log_probs(memory_btd), padding)
