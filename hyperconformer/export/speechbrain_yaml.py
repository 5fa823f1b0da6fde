"""The ``hyperparams.yaml`` from which SpeechBrain's ``EncoderDecoderASR`` builds a model and its search.

It names SpeechBrain's own classes only: no Python file lies beside it, nothing is fetched from anywhere.
"""

import json
from collections.abc import Mapping

import numpy as np

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.export.speechbrain_search import TOLD
from hyperconformer.inference.speechbrain_sources import FIXED
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.speechbrain_compat import ATTENTION_TYPES

_HEAD = "# Written by `hyperconformer export speechbrain`, for speechbrain.inference.ASR.EncoderDecoderASR.\n"
_MODULES = """
features: !new:speechbrain.lobes.features.Fbank
  sample_rate: !ref <sample_rate>
  win_length: !ref <win_length>
  hop_length: !ref <hop_length>
  n_fft: !ref <n_fft>
  n_mels: !ref <n_mels>

normalizer: !new:speechbrain.processing.features.InputNormalization
  norm_type: global

CNN: !new:speechbrain.lobes.models.convolution.ConvolutionFrontEnd
  input_shape: [null, null, !ref <n_mels>]
  num_blocks: 2
  num_layers_per_block: 1
  out_channels: !ref <frontend_channels>
  kernel_sizes: [3, 3]
  strides: [2, 2]
  residuals: [False, False]

Transformer: !new:speechbrain.lobes.models.transformer.TransformerASR.TransformerASR
  tgt_vocab: !ref <output_neurons>
  input_size: !ref <input_size>
  d_model: !ref <d_model>
  nhead: !ref <nhead>
  num_encoder_layers: !ref <num_encoder_layers>
  num_decoder_layers: !ref <num_decoder_layers>
  d_ffn: !ref <d_ffn>
  dropout: !ref <transformer_dropout>
  activation: !name:torch.nn.GELU
  encoder_module: conformer
  attention_type: !ref <attention_type>
  kernel_size: !ref <kernel_size>
  normalize_before: True
  causal: False

seq_lin: !new:speechbrain.nnet.linear.Linear
  input_size: !ref <d_model>
  n_neurons: !ref <output_neurons>

ctc_lin: !new:speechbrain.nnet.linear.Linear
  input_size: !ref <d_model>
  n_neurons: !ref <output_neurons>

model: !new:torch.nn.ModuleList
  - [!ref <CNN>, !ref <Transformer>, !ref <seq_lin>, !ref <ctc_lin>]

encoder: !new:speechbrain.nnet.containers.LengthsCapableSequential
  features: !ref <features>
  normalizer: !ref <normalizer>
  CNN: !ref <CNN>

tokenizer: !new:sentencepiece.SentencePieceProcessor
"""
_CTC = """
ctc_scorer: !new:speechbrain.decoders.scorer.CTCScorer
  ctc_fc: !ref <ctc_lin>
  blank_index: !ref <blank_index>
  eos_index: !ref <eos_index>

scorer: !new:speechbrain.decoders.scorer.ScorerBuilder
  full_scorers: [!ref <ctc_scorer>]
  weights: {ctc: !ref <ctc_weight>}
"""
_SEARCH = """
decoder: !new:speechbrain.decoders.S2STransformerBeamSearcher
  modules: [!ref <Transformer>, !ref <seq_lin>]
  bos_index: !ref <bos_index>
  eos_index: !ref <eos_index>
  beam_size: !ref <beam_size>
  temperature: !ref <temperature>
  length_normalization: !ref <length_normalization>
  min_decode_ratio: !ref <min_decode_ratio>
  max_decode_ratio: !ref <max_decode_ratio>
  using_eos_threshold: !ref <using_eos_threshold>
  eos_threshold: !ref <eos_threshold>
  scorer: !ref <scorer>

transformer_beam_search: True

modules:
  encoder: !ref <encoder>
  transformer: !ref <Transformer>
  model: !ref <model>
  decoder: !ref <decoder>

pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables:
    model: !ref <model>
    normalizer: !ref <normalizer>
    tokenizer: !ref <tokenizer>
"""


def hyperparams(config: ModelConfig, tokenizer_size: int, options: SearchOptions) -> str:
    """Write down a model and its search in SpeechBrain's terms.

    Parameters
    ----------
    config : ModelConfig
        With a mixer of :data:`~hyperconformer.models.speechbrain_compat.ATTENTION_TYPES`.
    tokenizer_size : int
        Tokens of the tokenizer.
    options : SearchOptions
        Of the joint search; those of :data:`~hyperconformer.export.speechbrain_search.TOLD` are heeded.

    Returns
    -------
    str
        YAML for HyperPyYAML. Sizes and options stand at its top, so that SpeechBrain's ``overrides`` can
        change, say, ``beam_size``.

    Examples
    --------
    >>> written = hyperparams(ModelConfig(output_neurons=30), 28, SearchOptions(beam_size=66))
    >>> [line for line in written.splitlines() if line.startswith(("tokenizer_size", "beam", "attention"))]
    ['tokenizer_size: 28', 'attention_type: hypermixing', 'beam_size: 66']
    """
    sizes = {key: value for key, value in config.to_dict().items() if isinstance(value, int)}
    model = {
        **sizes,
        "tokenizer_size": tokenizer_size,
        "frontend_channels": list(config.frontend_channels),
        "input_size": -(-config.n_mels // 4) * config.frontend_channels[1],
        "attention_type": ATTENTION_TYPES[config.mixer],
        "transformer_dropout": config.transformer_dropout,
    }
    search: dict[str, object] = {name: getattr(options, name) for name in TOLD}
    # One who asks for the threshold by an override needs a number there; 1 is the least.
    search |= {
        "using_eos_threshold": options.eos_threshold is not None,
        "eos_threshold": options.eos_threshold or 1.0,
    }
    ctc = _CTC if options.ctc_weight else "\nscorer: null\n"
    tables = "\n".join(_lines(values) for values in (model, FIXED, search))
    return f"{_HEAD}{tables}{_MODULES}{ctc}{_SEARCH}"


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{name}: {_spelt(value)}\n" for name, value in values.items())


def _spelt(value: object) -> str:
    """A plain value; YAML 1.1 takes 1e-05 for text."""
    if isinstance(value, float):
        return np.format_float_positional(value, trim="0")
    return value if isinstance(value, str) else json.dumps(value)
