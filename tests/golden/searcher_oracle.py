"""SpeechBrain's beam search around our models: whole prefixes at every step, so that no cache of ours is asked."""

from typing import Any, NamedTuple

import torch
from speechbrain.decoders.scorer import BaseScorerInterface, CTCScorer, ScorerBuilder, TransformerLMScorer
from speechbrain.decoders.seq2seq import S2SBeamSearcher
from torch import Tensor

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel


class WholePrefixSearcher(S2SBeamSearcher):
    """SpeechBrain's search; its memory is every hypothesis' tokens so far."""

    def __init__(self, model: ASR, temperature: float, **options: Any) -> None:
        super().__init__(bos_index=BEGIN, eos_index=END, **options)
        self.model, self.temperature = model, temperature

    def set_n_out(self) -> int:
        return self.model.config.output_neurons

    def reset_mem(self, batch_size: int, device: str) -> None:
        return None

    def permute_mem(self, memory: Tensor, index: Tensor) -> Tensor:
        return memory[index]

    def forward_step(
        self, inp_tokens: Tensor, memory: Tensor | None, enc_states: Tensor, enc_lens: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        new = inp_tokens.unsqueeze(1)
        memory = new if memory is None else torch.cat((memory, new), dim=1)
        logits: Tensor = self.model.decoder(memory, enc_states, None)[:, -1]
        return (logits / self.temperature).log_softmax(dim=-1), memory, None


class Longs(torch.nn.Module):
    """Our language model for SpeechBrain's scorer, which joins its tokens to floats."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens.long())
        return logits


class Finding(NamedTuple):
    """What SpeechBrain's search says of one utterance: symbols (end included, if it came so far), best first."""

    symbols: list[tuple[int, ...]]
    scores: list[float]

    @property
    def finished(self) -> bool:
        """Whether the best hypothesis has ended; if not, its last token is lost there."""
        return self.symbols[0][-1] == END

    @property
    def tokens(self) -> tuple[int, ...]:
        """The best hypothesis as it is handed out."""
        return self.symbols[0][:-1]


@torch.no_grad()
def search(
    model: ASR, memory_td: Tensor, options: SearchOptions, language_model: LanguageModel | None = None
) -> Finding:
    """Search one utterance there with our options."""
    scorers: list[BaseScorerInterface] = [CTCScorer(ctc_fc=model.ctc_head, blank_index=BLANK, eos_index=END)]
    weights = {"ctc": options.ctc_weight}
    if language_model is not None:
        scorers.append(TransformerLMScorer(Longs(language_model), options.lm_temperature))
        weights["transformerlm"] = options.lm_weight
    searcher = WholePrefixSearcher(
        model,
        options.temperature,
        min_decode_ratio=options.min_decode_ratio,
        max_decode_ratio=options.max_decode_ratio,
        beam_size=options.beam_size,
        using_eos_threshold=options.eos_threshold is not None,
        eos_threshold=options.eos_threshold,
        length_normalization=options.length_normalization,
        scorer=ScorerBuilder(full_scorers=scorers, weights=weights),
        return_topk=True,
        topk=options.beam_size,
    )
    symbols, lengths, scores, _ = searcher(memory_td.unsqueeze(0), torch.ones(1))
    counts = (lengths[0] * symbols.shape[-1]).round().int().tolist()
    rows = zip(symbols[0].tolist(), counts, strict=True)
    return Finding([tuple(row[: count + 1]) for row, count in rows], scores[0].tolist())
