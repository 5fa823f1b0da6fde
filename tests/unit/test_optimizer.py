"""Which weights decay: matrices alone, in every model, each weight once."""

import pytest
import torch
from torch import nn

from hyperconformer.mixers import MIXERS
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.training.optimizer import parameter_groups


def tiny(mixer: str) -> ASR:
    return ASR(
        ModelConfig(
            output_neurons=9, mixer=mixer, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1,
            num_decoder_layers=1, frontend_channels=(4, 4),
        )
    )  # fmt: skip


@pytest.mark.parametrize("mixer", MIXERS)
def test_matrices_decay_and_nothing_else(mixer: str) -> None:
    model = tiny(mixer)
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = {
        group["weight_decay"]: [names.pop(id(weight)) for weight in group["params"]]
        for group in parameter_groups(model, 0.01)
    }
    assert not names and set(groups) == {0.01, 0.0}
    for name in groups[0.01]:
        assert not any(word in name for word in ("bias", "norm", "embedding")), name
    for name in groups[0.0]:
        assert any(word in name for word in ("bias", "norm", "embedding")), name


def test_biases_of_several_axes_are_biases() -> None:
    model = tiny("hypermixing")
    (_, rest) = parameter_groups(model, 0.01)
    mixer = model.encoder.layers[0].mixer
    assert mixer.bias_out.dim() == 4
    assert {id(mixer.bias_in), id(mixer.bias_out)} <= {id(weight) for weight in rest["params"]}


def test_frozen_and_shared_weights() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    (decays, rest) = parameter_groups(model, 0.1)
    assert len(decays["params"]) == len(rest["params"]) == 1
    model["b"].bias.requires_grad_(False)
    assert len(parameter_groups(model, 0.1)) == 1


def test_a_weight_shared_with_an_embedding_does_not_decay() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "out": nn.Linear(3, 5, bias=False)})
    model["out"].weight = model["embedding"].weight
    (only,) = parameter_groups(model, 0.1)
    assert only["weight_decay"] == 0.0


def test_adamw_draws_only_matrices_to_zero() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.5), lr=0.1)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.detach(), before[name] * (0.95 if name == "0.weight" else 1.0))
