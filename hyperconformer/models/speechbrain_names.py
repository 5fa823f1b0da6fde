"""Which tensor of ours holds which of SpeechBrain's, and how the two differ in layout.

- Convolution kernels of the front-end are (frequency, time) there, (time, frequency) here.
- Queries, keys and values are joined head by head there, one after the other here.
- Rotary attention divides its scores by sqrt(D) there, by sqrt(D / H) here: the difference, 1 / sqrt(H), goes
  into the queries' weights, which rounds them unless H is a power of four.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperconformer.models.config import ModelConfig

Convert = Callable[..., tuple[Tensor, ...]]
_HYPER_PARTS = ("fc1_weights", "fc1_biases", "fc2_weights", "fc2_biases")


@dataclass(frozen=True)
class Rule:
    """Some of our tensors, the same content under SpeechBrain's names, and the way there and back.

    Attributes
    ----------
    ours, theirs : tuple of str
        Names; theirs begin with a role (cnn, transformer, seq, ctc) instead of an index.
    load, store : callable
        Their tensors to ours, and ours to theirs.

    Examples
    --------
    >>> rule = next(Rule.of(ModelConfig(output_neurons=30)))
    >>> rule.ours, rule.theirs
    (('front_end.first.conv.weight',), ('cnn.convblock_0.convs.conv_0.conv.weight',))
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    load: Convert
    store: Convert

    @staticmethod
    def of(config: ModelConfig) -> Iterator["Rule"]:
        """All that a model's tensors keep."""
        yield from _shared_rules()
        for number in range(config.num_encoder_layers):
            yield from _encoder_rules(number, config)
        for number in range(config.num_decoder_layers):
            yield from _decoder_rules(number)


def _as_is(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tensors


def _module(ours: str, theirs: str) -> Iterator[Rule]:
    """Weight and bias of a layer that is the same on both sides."""
    for name in ("weight", "bias"):
        yield Rule((f"{ours}.{name}",), (f"{theirs}.{name}",), _as_is, _as_is)


def _shared_rules() -> Iterator[Rule]:
    """Front-end, heads and what surrounds the layers."""

    def turn(kernel: Tensor) -> tuple[Tensor, ...]:
        return (kernel.transpose(2, 3),)

    for ours, theirs in (("first", "convblock_0"), ("second", "convblock_1")):
        conv, other = f"front_end.{ours}.conv", f"cnn.{theirs}.convs.conv_0.conv"
        yield Rule((f"{conv}.weight",), (f"{other}.weight",), turn, turn)
        yield Rule((f"{conv}.bias",), (f"{other}.bias",), _as_is, _as_is)
        yield from _module(f"front_end.{ours}.norm", f"cnn.{theirs}.convs.norm_0.norm")
    yield from _module("front_end.project", "transformer.custom_src_module.layers.0.w")
    yield from _module("encoder.norm", "transformer.encoder.norm.norm")
    yield from _module("decoder.norm", "transformer.decoder.norm.norm")
    yield from _module("ctc_head", "ctc.w")
    yield from _module("decoder.out", "seq.w")
    embedding = "transformer.custom_tgt_module.layers.0.emb.Embedding.weight"
    yield Rule(("decoder.embedding.weight",), (embedding,), _as_is, _as_is)


def _encoder_rules(number: int, config: ModelConfig) -> Iterator[Rule]:
    ours, theirs = f"encoder.layers.{number}", f"transformer.encoder.layers.{number}"
    for n in (1, 2):
        yield from _module(f"{ours}.feedforward{n}.norm", f"{theirs}.ffn_module{n}.0")
        yield from _module(f"{ours}.feedforward{n}.expand", f"{theirs}.ffn_module{n}.1.ffn.0")
        yield from _module(f"{ours}.feedforward{n}.project", f"{theirs}.ffn_module{n}.1.ffn.3")
    yield from _module(f"{ours}.norm_mixer", f"{theirs}.norm1.norm")
    yield from _module(f"{ours}.norm_out", f"{theirs}.norm2.norm")
    conv, other = f"{ours}.convolution", f"{theirs}.convolution_module"
    yield from _module(f"{conv}.norm", f"{other}.layer_norm")
    yield Rule(
        (f"{conv}.gate.weight",),
        (f"{other}.bottleneck.0.weight",),
        lambda kernel: (kernel.squeeze(2),),
        lambda matrix: (matrix.unsqueeze(2),),
    )
    yield Rule((f"{conv}.gate.bias",), (f"{other}.bottleneck.0.bias",), _as_is, _as_is)
    yield from _module(f"{conv}.depthwise", f"{other}.conv")
    yield from _module(f"{conv}.norm_after", f"{other}.after_conv.0")
    yield from _module(f"{conv}.project", f"{other}.after_conv.2")
    yield from _MIXER_RULES[config.mixer](f"{ours}.mixer", f"{theirs}.mha_layer", config)


def _hypermixing_rules(ours: str, theirs: str, config: ModelConfig) -> Iterator[Rule]:
    """Two hypernetworks there, one pair of stacked weights here; a tied one is written twice there."""
    names = [f"{theirs}.hyper.{net}.{part}" for net in ("w1_gen", "w2_gen") for part in _HYPER_PARTS]
    tied = bool(config.mixer_options.get("tied", False))

    def load(*parts: Tensor) -> tuple[Tensor, ...]:
        nets = (parts[:4],) if tied else (parts[:4], parts[4:])
        return (
            torch.cat([net[0].transpose(1, 2) for net in nets], dim=2),
            torch.cat([net[1].unsqueeze(1) for net in nets], dim=2),
            torch.stack([net[2].transpose(1, 2) for net in nets]),
            torch.stack([net[3].unsqueeze(1) for net in nets]),
        )

    def store(w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor) -> tuple[Tensor, ...]:
        inner = zip(w_in.chunk(len(w_out), dim=2), b_in.chunk(len(w_out), dim=2), w_out, b_out, strict=True)
        nets = [(w1.transpose(1, 2), b1[:, 0], w2.transpose(1, 2), b2[:, 0]) for w1, b1, w2, b2 in inner]
        return (*nets[0], *nets[-1])

    parts = ("weight_in", "bias_in", "weight_out", "bias_out")
    yield Rule(tuple(f"{ours}.{part}" for part in parts), tuple(names), load, store)
    yield from _module(f"{ours}.norm", f"{theirs}.layer_norm")


def _regrouped(ours: str, theirs: str, heads: int, query_scale: float) -> Rule:
    """Rows of the joint projection: (H, 3, E) there, (3, H, E) here."""

    def scaled(weight: Tensor, factor: float) -> Tensor:
        if factor == 1.0:
            return weight
        query, rest = weight.tensor_split([weight.shape[0] // 3])
        return torch.cat(((query.double() * factor).to(weight.dtype), rest))

    def load(weight: Tensor) -> tuple[Tensor, ...]:
        return (scaled(weight.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2), query_scale),)

    def store(weight: Tensor) -> tuple[Tensor, ...]:
        whole = scaled(weight, 1 / query_scale)
        return (whole.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2),)

    return Rule((f"{ours}.query_key_value.weight",), (f"{theirs}.in_proj_weight",), load, store)


def _rotary_rules(ours: str, theirs: str, config: ModelConfig) -> Iterator[Rule]:
    yield _regrouped(ours, theirs, config.nhead, config.nhead**-0.5)
    yield from _module(f"{ours}.out", f"{theirs}.out_proj")


def _relative_rules(ours: str, theirs: str, config: ModelConfig) -> Iterator[Rule]:
    """The two biases are declared (E, H) there but used as (H, E)."""
    yield _regrouped(ours, theirs, config.nhead, 1.0)
    yield from _module(f"{ours}.out", f"{theirs}.out_proj")
    yield Rule((f"{ours}.position.weight",), (f"{theirs}.linear_pos.weight",), _as_is, _as_is)
    for name, other in (("content_bias", "pos_bias_u"), ("position_bias", "pos_bias_v")):
        yield Rule(
            (f"{ours}.{name}",),
            (f"{theirs}.{other}",),
            lambda bias: (bias.reshape(bias.shape[::-1]),),
            lambda bias: (bias.reshape(bias.shape[::-1]),),
        )


_MIXER_RULES: Mapping[str, Callable[[str, str, ModelConfig], Iterator[Rule]]] = {
    "hypermixing": _hypermixing_rules,
    "relative": _relative_rules,
    "attention": _rotary_rules,
}


def _decoder_rules(number: int) -> Iterator[Rule]:
    ours, theirs = f"decoder.layers.{number}", f"transformer.decoder.layers.{number}"
    for name, other in (("self_attention", "self_attn"), ("memory_attention", "multihead_attn")):
        for part in ("weight", "bias"):
            yield Rule(
                (f"{ours}.{name}.query.{part}", f"{ours}.{name}.key_value.{part}"),
                (f"{theirs}.{other}.att.in_proj_{part}",),
                lambda joint: joint.tensor_split([joint.shape[0] // 3]),
                lambda query, key_value: (torch.cat((query, key_value)),),
            )
        yield from _module(f"{ours}.{name}.out", f"{theirs}.{other}.att.out_proj")
    yield from _module(f"{ours}.feedforward.expand", f"{theirs}.pos_ffn.ffn.0")
    yield from _module(f"{ours}.feedforward.project", f"{theirs}.pos_ffn.ffn.3")
    for name, other in (("norm_self", "norm1"), ("norm_memory", "norm2"), ("feedforward.norm", "norm3")):
        yield from _module(f"{ours}.{name}", f"{theirs}.{other}.norm")
