"""SpeechBrain's joint search, all its own: decoder, CTC prefix scores and language model, our weights."""

from collections.abc import Callable
from dataclasses import replace

import torch
from speechbrain.decoders.scorer import CTCScorer, ScorerBuilder, TransformerLMScorer
from speechbrain.decoders.seq2seq import S2STransformerBeamSearcher
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM
from torch import Tensor, nn

from hyperconformer.bench.decoding import Decoding, Found
from hyperconformer.bench.upstream import recogniser
from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.models.speechbrain_compat import to_speechbrain
from hyperconformer.models.speechbrain_lm import language_model_to_speechbrain


def decoder_of(model: ASR) -> tuple[TransformerASR, nn.Module, nn.Module]:
    """Build SpeechBrain's decoder with our weights.

    Parameters
    ----------
    model : ASR
        With any mixer: the encoder is left out.

    Returns
    -------
    TransformerASR, Module, Module
        Its Transformer, whose ``decode`` runs the decoder, the decoder's head and CTC's.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=9, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1))
    >>> transformer, _, _ = decoder_of(model)
    >>> transformer.decode(torch.tensor([[1, 5]]), torch.zeros(1, 3, 8))[0].shape
    torch.Size([1, 2, 8])
    """
    options = {"length_norm": "none", "positions": "sinusoid", "hypernet_size": model.config.d_ffn}
    config = replace(model.config, mixer="hypermixing", mixer_options=options, num_encoder_layers=1)
    carrier = ASR(config)
    carrier.decoder.load_state_dict(model.decoder.state_dict())
    carrier.ctc_head.load_state_dict(model.ctc_head.state_dict())
    parts = recogniser(config, "hypermixing")
    parts.load_state_dict(to_speechbrain(carrier))
    _, transformer, seq_lin, ctc_lin = parts.to(model.ctc_head.weight.device).eval()
    return transformer, seq_lin, ctc_lin


def language_model_of(model: LanguageModel) -> TransformerLM:
    """Build SpeechBrain's language model with our weights.

    It normalises where ours does: before each layer unless told otherwise; the published one, after it, at
    the same cost.

    Parameters
    ----------
    model : LanguageModel

    Returns
    -------
    TransformerLM
        In evaluation mode.

    Examples
    --------
    >>> from hyperconformer.models.config import LanguageModelConfig
    >>> ours = LanguageModel(LanguageModelConfig(output_neurons=9, d_model=8, nhead=2, d_ffn=16)).eval()
    >>> tokens = torch.tensor([[1, 5, 7]])
    >>> torch.allclose(language_model_of(ours)(tokens), ours(tokens), atol=1e-5)
    True
    """
    config = model.config
    theirs = TransformerLM(
        config.output_neurons,
        d_model=config.d_model,
        nhead=config.nhead,
        num_encoder_layers=config.num_layers,
        d_ffn=config.d_ffn,
        dropout=config.transformer_dropout,
        activation=nn.GELU,
        normalize_before=config.norm == "before",
    )
    theirs.load_state_dict(
        language_model_to_speechbrain(model) | {name: value for name, value in theirs.named_buffers()}
    )
    return theirs.to(model.embedding.weight.device).eval()


def make_search(
    model: ASR, language_model: LanguageModel | None, decoding: Decoding, frames: int
) -> Callable[[Tensor], Found]:
    """Build SpeechBrain's search as its recipes do: CTC and the language model score every token.

    Parameters
    ----------
    model : ASR
    language_model : LanguageModel or None
    decoding : Decoding
    frames : int
        Of the encoder output that is searched.

    Returns
    -------
    callable
        From encoder output (1, T, D) to what was found.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=9, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1)).eval()
    >>> search = make_search(model, None, Decoding(beam=2), frames=6)
    >>> search(torch.zeros(1, 6, 8)).score < 0
    True
    """
    transformer, seq_lin, ctc_lin = decoder_of(model)
    scorers: list[CTCScorer | TransformerLMScorer] = []
    weights = {"ctc": decoding.ctc_weight}
    if language_model is not None:
        scorers.append(TransformerLMScorer(language_model_of(language_model)))
        weights["transformerlm"] = decoding.lm_weight
    scorers.append(CTCScorer(ctc_fc=ctc_lin, blank_index=BLANK, eos_index=END))
    least, most = decoding.ratios(frames)
    search = S2STransformerBeamSearcher(
        modules=[transformer, seq_lin],
        bos_index=BEGIN,
        eos_index=END,
        min_decode_ratio=least,
        max_decode_ratio=most,
        beam_size=decoding.beam,
        using_eos_threshold=False,
        length_normalization=False,
        scorer=ScorerBuilder(full_scorers=scorers, weights=weights),
    )

    @torch.no_grad()
    def run(memory_btd: Tensor) -> Found:
        tokens, _, scores, _ = search(memory_btd, whole)
        return Found(tuple(tokens[0]), float(scores[0]))

    whole = torch.ones(1, device=model.ctc_head.weight.device)
    return run
