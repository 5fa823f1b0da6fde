"""SpeechBrain's Transformer language model: its tensors to ours and back."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from hyperconformer.errors import InputError
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.nn.initialise import without_weights

NHEAD = 12
"""Heads of the published model; no tensor tells."""
_EMBEDDING = "custom_src_module.emb.Embedding.weight"
_LAYER = "encoder.layers.{}.self_att.att.in_proj_weight"
_TABLE = "positional_encoding"

_PARTS = {
    "before": {
        "feedforward.norm": "norm2.norm",
        "feedforward.expand": "pos_ffn.ffn.0",
        "feedforward.project": "pos_ffn.ffn.3",
    },
    "after": {"out_norm": "norm2.norm", "expand": "pos_ffn.ffn.0", "project": "pos_ffn.ffn.3"},
}


def _modules(config: LanguageModelConfig) -> Iterator[tuple[str, str]]:
    """Modules whose weight and bias are the same on both sides."""
    for number in range(config.num_layers):
        parts = {"attention.out": "self_att.att.out_proj", "norm": "norm1.norm", **_PARTS[config.norm]}
        for ours, theirs in parts.items():
            yield f"layers.{number}.{ours}", f"encoder.layers.{number}.{theirs}"
    if config.norm == "after":
        yield "norm", "encoder.norm.norm"
        yield "head.0", "output_proj.layers.0.w"
        yield "head.1", "output_proj.layers.1.norm"
    else:
        yield "norm", "output_proj.layers.1.norm"
    yield "out", "output_proj.layers.2.w"


def _names(config: LanguageModelConfig) -> dict[str, str]:
    """Ours and theirs of every tensor that is the same."""
    same = {
        f"{ours}.{part}": f"{theirs}.{part}"
        for ours, theirs in _modules(config)
        for part in ("weight", "bias")
    }
    return {"embedding.weight": _EMBEDDING, **same}


def language_model_to_speechbrain(model: LanguageModel) -> dict[str, Tensor]:
    """Give a language model's tensors SpeechBrain's names.

    Where ours normalises before its layers, SpeechBrain's has one more projection and norm before the output:
    they are set to change nothing.

    Parameters
    ----------
    model : LanguageModel

    Returns
    -------
    dict of str to Tensor
        For a ``TransformerLM`` with GELU, whose ``normalize_before`` says where ours has its norms; its table
        of positions is not among them.

    Examples
    --------
    >>> config = LanguageModelConfig(output_neurons=9, d_model=8, nhead=2, d_ffn=16, num_layers=1)
    >>> language_model_to_speechbrain(LanguageModel(config))["output_proj.layers.2.w.weight"].shape
    torch.Size([9, 8])
    """
    ours = {name: value.detach() for name, value in model.state_dict().items()}
    embedding = ours["embedding.weight"]
    ours.setdefault("out.weight", embedding)
    ours.setdefault("out.bias", embedding.new_zeros(len(embedding)))
    theirs = {other: ours[name] for name, other in _names(model.config).items()}
    for number in range(model.config.num_layers):
        for part in ("weight", "bias"):
            joint = [ours[f"layers.{number}.attention.{name}.{part}"] for name in ("query", "key_value")]
            theirs[f"encoder.layers.{number}.self_att.att.in_proj_{part}"] = torch.cat(joint)
    if model.config.norm == "before":
        one, zero = torch.ones_like(ours["norm.bias"]), torch.zeros_like(ours["norm.bias"])
        theirs |= {"encoder.norm.norm.weight": one, "encoder.norm.norm.bias": zero}
        theirs |= {"output_proj.layers.0.w.weight": torch.diag(one), "output_proj.layers.0.w.bias": zero}
    return theirs


def language_model_from_speechbrain(
    state: Mapping[str, Tensor], *, nhead: int | None = None
) -> tuple[LanguageModelConfig, dict[str, Tensor]]:
    """Turn the state dict of a ``TransformerLM`` that normalises after its layers into ours.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of a model with GELU and ``normalize_before: False``, as that of the LibriSpeech recipes.
    nhead : int or None
        Heads; None: :data:`NHEAD`.

    Returns
    -------
    LanguageModelConfig
    dict of str to Tensor
        For ``LanguageModel(config).load_state_dict``.

    Raises
    ------
    InputError
        If a tensor is missing, unknown, of the wrong shape or not of finite numbers, or the heads
        do not fit.

    Examples
    --------
    >>> sizes = {"output_neurons": 9, "d_model": 8, "nhead": 2, "d_ffn": 16, "num_layers": 1}
    >>> config = LanguageModelConfig(**sizes, norm="after")
    >>> model = LanguageModel(config)
    >>> found, weights = language_model_from_speechbrain(language_model_to_speechbrain(model), nhead=2)
    >>> found == config, LanguageModel(found).load_state_dict(weights)
    (True, <All keys matched successfully>)
    """
    theirs = {name: value for name, value in state.items() if _TABLE not in name}
    for name, value in theirs.items():
        if value.layout != torch.strided or not value.is_floating_point() or not value.isfinite().all():
            raise InputError(f"{name!r} is not a dense tensor of finite numbers: copy it again")
    config = _config(theirs, NHEAD if nhead is None else nhead)
    with without_weights():
        shapes = {name: value.shape for name, value in LanguageModel(config).state_dict().items()}
    names = _names(config)
    weights = {name: theirs.pop(other) for name, other in names.items() if other in theirs}
    for number in range(config.num_layers):
        for part in ("weight", "bias"):
            joint = theirs.pop(f"encoder.layers.{number}.self_att.att.in_proj_{part}", None)
            if joint is not None and joint.shape[:1] == (3 * config.d_model,):
                query, key_value = joint.split([config.d_model, 2 * config.d_model])
                weights[f"layers.{number}.attention.query.{part}"] = query.contiguous()
                weights[f"layers.{number}.attention.key_value.{part}"] = key_value.contiguous()
    for name, shape in shapes.items():
        if name not in weights or weights[name].shape != shape:
            raise InputError(f"{names.get(name, name)!r} is missing or not of shape {tuple(shape)}")
    if theirs:
        raise InputError(f"{min(theirs)!r} has no place in SpeechBrain's TransformerLM: it cannot be read")
    return config, {name: value.float() for name, value in weights.items()}


def _config(theirs: Mapping[str, Tensor], nhead: int) -> LanguageModelConfig:
    """The sizes that the tensors show."""

    def shape(name: str) -> tuple[int, int]:
        value = theirs.get(name)
        if value is None or value.dim() != 2:
            raise InputError(f"{name!r} is missing or no matrix: these are not a TransformerLM's tensors")
        return value.shape[0], value.shape[1]

    output_neurons, d_model = shape(_EMBEDDING)
    num_layers = 0
    while _LAYER.format(num_layers) in theirs:
        num_layers += 1
    norm: Literal["after"] = "after"
    sizes: dict[str, Any] = {"output_neurons": output_neurons, "d_model": d_model, "num_layers": num_layers}
    try:
        d_ffn = shape("encoder.layers.0.pos_ffn.ffn.0.weight")[0]
        if nhead < 1 or d_model % nhead:
            raise ValueError(
                f"{nhead} heads do not divide d_model {d_model}: hyperparams.yaml must tell them"
            )
        return LanguageModelConfig(nhead=nhead, d_ffn=d_ffn, norm=norm, **sizes)
    except ValueError as error:
        raise InputError(f"the tensors make no language model: {error}") from error
