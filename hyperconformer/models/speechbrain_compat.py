"""SpeechBrain's tensor names and ours, both ways: its Conformers become our models and go back.

A SpeechBrain recipe saves ``ModuleList([CNN, Transformer, seq_lin, ctc_lin])``, so its names begin with an
index. Which index is which is read from the names behind it; the two output layers look alike, and in every
recipe ``seq_lin`` comes before ``ctc_lin``. Tables of positions are part of a checkpoint there: they are
dropped on the way in and computed again on the way out. ``speechbrain_names`` tells what becomes of the rest.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hyperconformer.errors import InputError
from hyperconformer.mixers import HyperMixing
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.speechbrain_names import Rule
from hyperconformer.nn.initialise import without_weights
from hyperconformer.nn.positions import sinusoids

State = Mapping[str, Tensor]

ATTENTION_TYPES = {"hypermixing": "hypermixing", "relative": "RelPosMHAXL", "attention": "RoPEMHA"}
"""Our mixers and what SpeechBrain calls them."""

# Lengths of SpeechBrain's tables of positions: of the Transformer and of each HyperMixing layer.
_TABLE, _MIXER_TABLE = 2500, 3000
_TABLES = re.compile(r"positional_encoding(_decoder)?\.(pe|inv_freq)$")
_LAYER = "transformer.encoder.layers.0."
_INDICES = {"cnn": "0", "transformer": "1", "seq": "2", "ctc": "3"}
_TRANSFORMER = ("encoder", "decoder", "custom_src_module", "custom_tgt_module")


def _stored(ours: State, config: ModelConfig) -> dict[str, Tensor]:
    """Our tensors under SpeechBrain's names, with a role where its names have an index."""
    theirs: dict[str, Tensor] = {}
    for rule in Rule.of(config):
        theirs.update(zip(rule.theirs, rule.store(*(ours[name] for name in rule.ours)), strict=True))
    return theirs


def _roles(state: State) -> dict[str, str]:
    """Index in SpeechBrain's ModuleList by role, from the names behind each index."""
    found: dict[str, set[str]] = {"cnn": set(), "transformer": set(), "linear": set()}
    for key in state:
        index, _, rest = key.partition(".")
        if rest.startswith("convblock_"):
            found["cnn"].add(index)
        elif rest.split(".")[0] in _TRANSFORMER or _TABLES.match(rest):
            found["transformer"].add(index)
        elif rest in ("w.weight", "w.bias"):
            found["linear"].add(index)
        else:
            raise InputError(f"'{key}' has no place in SpeechBrain's Conformer recipe: it cannot be read")
    for role, name, wanted in (
        ("cnn", "CNN", 1),
        ("transformer", "Transformer", 1),
        ("linear", "seq_lin", 2),
    ):
        if len(found[role]) != wanted:
            what = "output layers (seq_lin, ctc_lin)" if wanted == 2 else f"modules like {name}"
            raise InputError(
                f"{len(found[role])} {what} instead of {wanted}: give [CNN, Transformer, seq_lin, ctc_lin]"
            )
    seq, ctc = sorted(found["linear"], key=lambda index: (len(index), index))
    return {"cnn": found["cnn"].pop(), "transformer": found["transformer"].pop(), "seq": seq, "ctc": ctc}


class _Theirs:
    """A SpeechBrain state by role instead of index; errors name the keys as they stand in the file."""

    def __init__(self, state: State) -> None:
        for key, value in state.items():
            dense = isinstance(value, Tensor) and value.layout == torch.strided and value.is_floating_point()
            if not dense:
                raise InputError(f"'{key}' is not a dense tensor of floating-point numbers: give model.ckpt")
        self.indices = _roles(state)
        roles = {index: role for role, index in self.indices.items()}
        self.tensors = {
            f"{roles[key.partition('.')[0]]}.{key.partition('.')[2]}": value
            for key, value in state.items()
            if not _TABLES.search(key)
        }

    def named(self, name: str) -> str:
        """Key of the file."""
        role, _, rest = name.partition(".")
        return f"{self.indices[role]}.{rest}"

    def shape(self, name: str, ndim: int) -> tuple[int, ...]:
        """Shape of a tensor that must be there."""
        if name not in self.tensors:
            raise InputError(f"'{self.named(name)}' is missing: only whole Conformers can be read")
        shape = tuple(self.tensors[name].shape)
        if len(shape) != ndim:
            raise InputError(f"'{self.named(name)}' has shape {shape}: expected {ndim} dimensions")
        return shape

    def depth(self, stack: str) -> int:
        """Number of layers of the encoder or decoder."""
        start = f"transformer.{stack}.layers."
        return len({name[len(start) :].split(".")[0] for name in self.tensors if name.startswith(start)})

    def check(self, expected: State) -> None:
        """Refuse the first tensor that is missing, unknown or of another shape."""
        for name, value in expected.items():
            if self.shape(name, value.ndim) != tuple(value.shape):
                shape = tuple(self.tensors[name].shape)
                raise InputError(f"'{self.named(name)}' has shape {shape}: expected {tuple(value.shape)}")
        if unknown := sorted(set(self.tensors) - set(expected)):
            raise InputError(f"'{self.named(unknown[0])}' has no place in our model: it cannot be read")


def _mixer(theirs: _Theirs) -> tuple[str, dict[str, Any], int | None]:
    """Name and options of the mixer, and its heads where they show."""
    names = theirs.tensors
    layer = f"{_LAYER}mha_layer."
    if f"{layer}hyper.w1_gen.fc1_weights" in names:
        heads, hidden, _ = theirs.shape(f"{layer}hyper.w1_gen.fc2_weights", 3)
        pairs = [(n, n.replace(".w1_gen.", ".w2_gen.")) for n in names if ".hyper.w1_gen." in n]
        tied = all(second in names and torch.equal(names[n], names[second]) for n, second in pairs)
        options = {
            "hypernet_size": heads * hidden,
            "tied": tied,
            "length_norm": "none",
            "positions": "sinusoid",
        }
        return "hypermixing", options, heads
    if f"{layer}linear_pos.weight" in names:
        return "relative", {}, theirs.shape(f"{layer}pos_bias_u", 2)[1]
    if f"{layer}in_proj_weight" in names:
        return "attention", {}, None
    kind = "regularMHA" if f"{layer}att.in_proj_weight" in names else "not known"
    key = theirs.named(layer.removesuffix("."))
    raise InputError(
        f"the attention of '{key}' is {kind}: only {', '.join(ATTENTION_TYPES.values())} can be read"
    )


def _config(theirs: _Theirs, nhead: int | None, n_fft: int) -> ModelConfig:
    """Read the sizes off the shapes."""
    vocabulary, d_model = theirs.shape("ctc.w.weight", 2)
    bands, first = theirs.shape("cnn.convblock_0.convs.norm_0.norm.weight", 2)
    mixer, options, heads = _mixer(theirs)
    if heads is None and nhead is None:
        raise InputError("the number of heads does not show in rotary attention: give --nhead")
    if None not in (heads, nhead) and heads != nhead:
        raise InputError(f"nhead {nhead} does not fit, the tensors have {heads} heads: leave it out")
    kernel = theirs.shape(f"{_LAYER}convolution_module.conv.weight", 3)[2]
    try:
        return ModelConfig(
            output_neurons=vocabulary,
            mixer=mixer,
            mixer_options=options,
            d_model=d_model,
            nhead=heads or nhead or 0,
            d_ffn=theirs.shape(f"{_LAYER}ffn_module1.1.ffn.0.weight", 2)[0],
            kernel_size=kernel,
            num_encoder_layers=theirs.depth("encoder"),
            num_decoder_layers=theirs.depth("decoder"),
            frontend_channels=(first, theirs.shape("cnn.convblock_1.convs.norm_0.norm.weight", 2)[1]),
            n_mels=2 * bands,
            n_fft=n_fft,
        )
    except ValueError as error:
        raise InputError(f"the tensors make no model: {error}") from error


def from_speechbrain(
    state: State, *, nhead: int | None = None, n_fft: int = 400
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Turn a SpeechBrain state dict into ours.

    Parameters
    ----------
    state : mapping of str to Tensor
        ``ModuleList([CNN, Transformer, seq_lin, ctc_lin]).state_dict()`` with a Conformer encoder whose
        attention is hypermixing, RelPosMHAXL or RoPEMHA.
    nhead : int or None
        Heads; needed for RoPEMHA only, whose tensors do not tell.
    n_fft : int
        Points of the Fourier transform, which no tensor tells.

    Returns
    -------
    ModelConfig
        With HyperMixing as it is there: sums over the utterance that are not divided by its length.
    dict of str to Tensor
        For ``ASR(config).load_state_dict``; the normalizer, which is another file there, leaves features as
        they are.

    Raises
    ------
    InputError
        If a tensor is missing, unknown or of the wrong shape, or the heads are not known.

    References
    ----------
    Mai et al., HyperConformer, arXiv 2305.18281.

    Examples
    --------
    >>> model = ASR(ModelConfig(output_neurons=12, mixer="relative", d_model=8, nhead=2, d_ffn=16,
    ...                         num_encoder_layers=1, num_decoder_layers=1))
    >>> found, weights = from_speechbrain(to_speechbrain(model))
    >>> found == model.config, ASR(found).load_state_dict(weights)
    (True, <All keys matched successfully>)
    >>> from_speechbrain({"0.colour": torch.zeros(1)})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: '0.colour' has no place in SpeechBrain's Conformer recipe: it cannot \
be read
    """
    theirs = _Theirs(state)
    config = _config(theirs, nhead, n_fft)
    try:
        with without_weights():
            shapes = ASR(config).state_dict()
    except ValueError as error:
        raise InputError(f"the tensors make no model: {error}") from error
    theirs.check(_stored(shapes, config))
    weights: dict[str, Tensor] = {}
    for rule in Rule.of(config):
        weights.update(
            zip(rule.ours, rule.load(*(theirs.tensors[name] for name in rule.theirs)), strict=True)
        )
    plain = {"normalizer.mean": torch.zeros(config.n_mels), "normalizer.std": torch.ones(config.n_mels)}
    return config, plain | weights


def _refuse(model: ASR) -> None:
    """Say what SpeechBrain's modules have no room for, and how to train what they have."""
    config = model.config
    if config.mixer not in ATTENTION_TYPES:
        names = ", ".join(ATTENTION_TYPES)
        raise InputError(f"SpeechBrain has no mixer '{config.mixer}': train with --mixer one of {names}")
    if config.half_rate_layers is not None:
        raise InputError("SpeechBrain's layers all have one rate: train with --half_rate_layers=null")
    for mixer in (module for module in model.modules() if isinstance(module, HyperMixing)):
        size = mixer.num_heads * mixer.weight_out.shape[-1]
        dials = {"length_norm": mixer.length_norm, "positions": mixer.positions, "gate": mixer.gated}
        found = {**dials, "out_bias": mixer.bias_out is not None, "hypernet_size": size}
        wanted = {"length_norm": "none", "positions": "sinusoid", "gate": False}
        wanted |= {"out_bias": True, "hypernet_size": config.d_ffn}
        if wrong := [name for name in found if found[name] != wanted[name]]:
            has = " and no ".join(f"{name} '{found[name]}'" for name in wrong)
            options = ", ".join(f"{name}: {wanted[name]}" for name in wrong)
            raise InputError(
                f"SpeechBrain's hypermixing has no {has}: train with --mixer_options='{{{options}}}' or "
                "--mixer=attention"
            )


def _tables(config: ModelConfig) -> dict[str, Tensor]:
    """Tables of positions as SpeechBrain's modules register them."""
    like = torch.empty(0)
    # Copies: the tables themselves are kept for all.
    table = sinusoids(0, _TABLE, config.d_model, like).unsqueeze(0).clone()
    if config.mixer == "hypermixing":
        layer = sinusoids(0, _MIXER_TABLE, config.d_model, like).unsqueeze(0).clone()
        layers = [f"transformer.encoder.layers.{n}.mha_layer" for n in range(config.num_encoder_layers)]
        return {"transformer.positional_encoding.pe": table} | {
            f"{name}.positional_encoding.pe": layer for name in layers
        }
    decoder = {"transformer.positional_encoding_decoder.pe": table}
    if config.mixer == "attention":
        return {"transformer.positional_encoding.pe": table} | decoder
    exponents = torch.arange(0, config.d_model, 2, dtype=torch.float32)
    frequencies = torch.exp(exponents * -(math.log(10_000.0) / config.d_model))
    return {"transformer.positional_encoding.inv_freq": frequencies} | decoder


def to_speechbrain(model: ASR) -> dict[str, Tensor]:
    """Turn a model into SpeechBrain's state dict.

    Parameters
    ----------
    model : ASR

    Returns
    -------
    dict of str to Tensor
        What ``ModuleList([CNN, Transformer, seq_lin, ctc_lin])`` of SpeechBrain's recipes loads strictly. The
        normalizer is another file there.

    Raises
    ------
    InputError
        If SpeechBrain has no such mixer, or not with these options.

    Examples
    --------
    >>> options = {"length_norm": "sqrt"}
    >>> to_speechbrain(ASR(ModelConfig(output_neurons=12, mixer_options=options, d_model=8, nhead=2)))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: SpeechBrain's hypermixing has no length_norm 'sqrt' and no \
hypernet_size '32': train with --mixer_options='{length_norm: none, hypernet_size: 576}' or --mixer=attention
    """
    _refuse(model)
    state = {name: value.detach() for name, value in model.state_dict().items()}
    named = _stored(state, model.config) | _tables(model.config)
    theirs = {}
    for name, value in named.items():
        role, _, rest = name.partition(".")
        theirs[f"{_INDICES[role]}.{rest}"] = value.contiguous()
    return theirs
