"""Which weights decay: matrices alone, in every model, each weight once."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from hyperconformer.bench.upstream_asr import UpstreamASR
from hyperconformer.mixers import MIXERS
from hyperconformer.mixers.hypermixing import HyperMixing
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.language_model import LanguageModel, LanguageModelConfig
from hyperconformer.training.optimizer import hidden_matrices, make_optimizer, parameter_groups
from hyperconformer.training.settings import load_settings

MUON = load_settings(str(Path(__file__).parents[2] / "hparams" / "digits.yaml"), {})


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


def taught(model: ASR, optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for weight in model.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("mixer", MIXERS)
def test_every_weight_is_moved_by_one_optimizer(mixer: str) -> None:
    model = tiny(mixer)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = make_optimizer(model, MUON)
    own = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(own) == sorted(id(weight) for weight in model.parameters())
    taught(model, optimizer, 1)
    assert not any(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_output_layers_and_tables_are_no_hidden_matrices() -> None:
    model = tiny("attention")
    hidden = {id(weight) for weight in hidden_matrices(model)}
    for layer in (model.ctc_head, model.decoder.out, model.decoder.embedding):
        assert id(layer.weight) not in hidden
    assert id(model.encoder.layers[0].mixer.out.weight) in hidden
    # Whatever the number of tokens: as many rows make no output layer.
    rows = model.encoder.layers[0].mixer.out.weight.shape[0]
    same = ASR(replace(model.config, output_neurons=rows))
    assert len(hidden_matrices(same)) == len(hidden)
    theirs = UpstreamASR(model.config)
    others = {id(weight) for weight in hidden_matrices(theirs)}
    assert others and not others & {id(theirs.seq_head.weight), id(theirs.ctc_head.weight)}
    # A kernel of one frame is a matrix.
    assert id(theirs.transformer.encoder.layers[0].convolution_module.bottleneck[0].weight) in others


def test_the_layer_before_a_language_models_output_is_hidden() -> None:
    config = LanguageModelConfig(output_neurons=9, d_model=8, nhead=2, d_ffn=16, num_layers=1, norm="after")
    model = LanguageModel(config)
    hidden = {id(weight) for weight in hidden_matrices(model)}
    assert id(model.head[0].weight) in hidden and id(model.out.weight) not in hidden


@pytest.mark.parametrize("mixer", ["mlp", "gmlp"])
def test_tables_of_positions_are_no_matrices(mixer: str) -> None:
    model = tiny(mixer)
    rows = max(weight.shape[0] for weight in model.encoder.layers[0].mixer.parameters())
    assert rows > 100 and all(max(weight.shape) < 100 for weight in hidden_matrices(model))


def test_heads_hold_matrices_and_convolutions_none() -> None:
    model = tiny("hypermixing")
    hidden = {id(weight) for weight in hidden_matrices(model)}
    for module in model.modules():
        if isinstance(module, HyperMixing):
            assert {id(module.weight_in), id(module.weight_out)} <= hidden
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            assert id(module.weight) not in hidden


def test_a_matrix_moves_along_all_its_directions_alike() -> None:
    model = tiny("attention")
    matrix = model.encoder.layers[0].feedforward1.expand.weight
    before = matrix.detach().clone()
    taught(model, make_optimizer(model, MUON), 1)
    stretched = torch.linalg.svdvals(matrix.detach() - before)
    assert stretched.max() / stretched.min() < 3


def test_optimizers_together_go_on_as_if_never_stopped() -> None:
    torch.manual_seed(1)
    model = tiny("hypermixing")
    optimizer = make_optimizer(model, MUON)
    taught(model, optimizer, 3)
    other = tiny("hypermixing")
    other.load_state_dict(model.state_dict())
    resumed = make_optimizer(other, MUON)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for going_on in (optimizer, resumed):
        for group in going_on.param_groups:
            group["lr"] = 0.3
    taught(model, optimizer, 2)
    taught(other, resumed, 2)
    assert all(map(torch.equal, model.parameters(), other.parameters()))
