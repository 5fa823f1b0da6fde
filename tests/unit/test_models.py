"""Encoder, decoder and the whole recogniser."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconformer.data.augment import SpecAugment
from hyperconformer.mixers.reference import reference
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.decoder import Decoder
from hyperconformer.models.encoder import Encoder
from hyperconformer.nn.positions import sinusoids
from hyperconformer.training.settings import load_settings
from tests.helpers import assert_same_with_gradients, randomise

PAPER = 7_924_832
ROOT = Path(__file__).parents[2]


def recipe(name: str) -> ModelConfig:
    return load_settings(str(ROOT / "hparams" / name), {}).model


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_8m_system_has_no_more_parameters_than_the_papers() -> None:
    assert parameters(ASR(recipe("hyperconformer.yaml"))) == PAPER


def test_the_equal_conformer_is_equal() -> None:
    conformer = ASR(recipe("conformer.yaml"))
    assert conformer.config.mixer == "attention"
    assert abs(parameters(conformer) / PAPER - 1) < 0.01


@pytest.mark.parametrize("mixer", ["hypermixing", "attention", "identity"])
def test_encoder_equals_its_layers_in_loops(mixer: str) -> None:
    encoder = randomise(Encoder(2, 8, 2, 16, 3, mixer=mixer).double())

    def slow(x_btd: Tensor) -> Tensor:
        x = x_btd[0]
        for layer in encoder.layers:
            x = x + layer.feedforward1(x) / 2
            x = x + reference(layer.mixer, layer.norm_mixer(x))
            x = x + layer.convolution(x.unsqueeze(0), None)[0]
            x = layer.norm_out(x + layer.feedforward2(x) / 2)
        return encoder.norm(x).unsqueeze(0)

    x = torch.randn(1, 5, 8, dtype=torch.float64)
    assert_same_with_gradients(encoder, lambda x: encoder(x, None), slow, x)


@pytest.mark.parametrize("frames", [1, 2, 5, 6])
def test_layers_at_half_the_rate_equal_loops(frames: int) -> None:
    encoder = randomise(Encoder(4, 8, 2, 16, 3, mixer="hypermixing", half_rate_layers=(2, 3)).double())
    first, *inner, last = encoder.layers

    def slow(x_btd: Tensor) -> Tensor:
        before = first(x_btd, None)
        x = torch.stack([before[:, t : t + 2].mean(dim=1) for t in range(0, frames, 2)], dim=1)
        for layer in inner:
            x = layer(x, None)
        x = torch.stack([before[:, t] + x[:, t // 2] for t in range(frames)], dim=1)
        return encoder.norm(last(x, None))

    x = torch.randn(2, frames, 8, dtype=torch.float64)
    assert_same_with_gradients(encoder, lambda x: encoder(x, None), slow, x)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6, 7])
def test_layers_at_half_the_rate_are_blind_to_padding(frames: int) -> None:
    encoder = randomise(Encoder(2, 8, 2, 16, 3, mixer="hypermixing", half_rate_layers=(1, 2)).double())
    x = torch.randn(2, 8, 8, dtype=torch.float64)
    padding = torch.arange(8).expand(2, 8) >= torch.tensor([[8], [frames]])
    torch.testing.assert_close(encoder(x, padding)[1, :frames], encoder(x[1:, :frames], None)[0])


@pytest.mark.parametrize("layers", [(0, 1), (2, 1), (1, 11)])
def test_layers_at_half_the_rate_must_be_there(layers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="half_rate_layers must be a first and a last one of the 10"):
        ModelConfig(output_neurons=9, half_rate_layers=layers)


@pytest.mark.parametrize("mixer", ["hypermixing", "attention", "summary"])
def test_a_new_encoder_hands_its_input_on(mixer: str) -> None:
    torch.manual_seed(1)
    encoder = ASR(ModelConfig(output_neurons=9, mixer=mixer)).encoder
    x = torch.randn(2, 50, 144)
    same = torch.cosine_similarity(encoder(x, None), x, dim=2)
    assert same.mean() > 0.9


@pytest.mark.parametrize("taps", [(), (1,), (2, 1), (1, 2, 3)])
def test_taps_are_the_layers_behind_the_final_norm(taps: tuple[int, ...]) -> None:
    encoder = randomise(Encoder(3, 8, 2, 16, 3).double())
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])

    def fast(x: Tensor) -> Tensor:
        last, tapped = encoder.tapped(x, padding, taps)
        assert len(tapped) == len(taps)
        return torch.stack([*tapped, last])

    def slow(x: Tensor) -> Tensor:
        outputs = []
        for number, layer in enumerate(encoder.layers, start=1):
            x = layer(x, padding)
            if number in taps:
                outputs.append(encoder.norm(x))
        return torch.stack([*outputs, encoder.norm(x)]) * ~padding.unsqueeze(2)

    x = torch.randn(2, 5, 8, dtype=torch.float64)
    assert_same_with_gradients(encoder, fast, slow, x)
    assert torch.equal(fast(x)[-1], encoder(x, padding))


def test_ctc_on_the_way_asks_only_the_layers_before_it() -> None:
    torch.manual_seed(0)
    config = ModelConfig(output_neurons=9, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=3)
    model = ASR(config).double().eval()
    inputs = torch.randn(2, 40, 80, dtype=torch.float64), torch.tensor([40, 31]), torch.tensor([[1], [1]])
    plain, tapped = model(*inputs), model(*inputs, (1,))
    assert plain.inter_ctc == () and torch.equal(plain.ctc_btv, tapped.ctc_btv)
    tapped.inter_ctc[0].square().sum().backward()
    learns = [any(weight.grad is not None for weight in layer.parameters()) for layer in model.encoder.layers]
    assert learns == [True, False, False]
    assert model.ctc_head.weight.grad is not None and model.encoder.norm.weight.grad is not None


def _slow_decoder(decoder: Decoder, tokens: list[int], memory_td: Tensor) -> Tensor:
    """Token by token, layer by layer, head by head; position t looks at positions 0 to t."""

    def attend(attention, query_d: Tensor, memory: Tensor) -> Tensor:
        size = query_d.shape[0] // attention.num_heads
        key, value = attention.key_value(memory).chunk(2, dim=-1)
        heads = []
        for h in range(attention.num_heads):
            part = slice(h * size, (h + 1) * size)
            weights = torch.softmax(key[:, part] @ attention.query(query_d)[part] / math.sqrt(size), 0)
            heads.append(weights @ value[:, part])
        return attention.out(torch.cat(heads))

    size = decoder.embedding.embedding_dim
    x = decoder.embedding.weight[tokens] * math.sqrt(size) + sinusoids(0, len(tokens), size, memory_td)
    for layer in decoder.layers:
        normed = layer.norm_self(x)
        rows = []
        for t in range(len(tokens)):
            row = x[t] + attend(layer.self_attention, normed[t], normed[: t + 1])
            row = row + attend(layer.memory_attention, layer.norm_memory(row), memory_td)
            rows.append(row + layer.feedforward(row))
        x = torch.stack(rows)
    return decoder.out(decoder.norm(x))


def test_decoder_equals_loops() -> None:
    decoder = randomise(Decoder(9, 2, 8, 2, 16, dropout=0.0).double())
    tokens = [1, 5, 3, 5]
    memory = torch.randn(1, 6, 8, dtype=torch.float64)
    assert_same_with_gradients(
        decoder,
        lambda m: decoder(torch.tensor([tokens]), m, None),
        lambda m: _slow_decoder(decoder, tokens, m[0]).unsqueeze(0),
        memory,
    )


def test_kept_keys_and_values_equal_the_whole_prefix() -> None:
    decoder = randomise(Decoder(9, 2, 8, 2, 16, dropout=0.1).double()).eval()
    memory = torch.randn(2, 6, 8, dtype=torch.float64)
    padding = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    tokens = torch.tensor([[1, 5, 3, 7], [1, 2, 2, 8]])
    whole = decoder(tokens, memory, padding)
    state = decoder.start(memory, padding)
    for step in range(4):
        logits, state = decoder.step(tokens[:, step : step + 1], state)
        torch.testing.assert_close(logits[:, 0], whole[:, step])
    assert state.tree.lengths_bk.tolist() == [[4], [4]]


def test_selected_hypotheses_go_on_as_if_alone() -> None:
    decoder = randomise(Decoder(9, 1, 8, 2, 16, dropout=0.0).double()).eval()
    memory = torch.randn(2, 6, 8, dtype=torch.float64)
    _, state = decoder.step(torch.tensor([[1], [1]]), decoder.start(memory, None))
    _, state = decoder.step(torch.tensor([[4, 5], [6, 7]]), state.select(torch.zeros(2, 2, dtype=torch.long)))
    chosen = state.select(torch.tensor([[1, 1, 0], [0, 1, 0]]))
    last = torch.tensor([[8, 4, 8], [3, 4, 5]])
    logits, _ = decoder.step(last, chosen.keep(torch.tensor([1, 0])).keep(torch.tensor([1, 0])))
    for utterance, pasts in enumerate([[5, 5, 4], [6, 7, 6]]):
        for row, past in enumerate(pasts):
            tokens = torch.tensor([[1, past, last[utterance, row]]])
            alone = decoder(tokens, memory[utterance : utterance + 1], None)
            torch.testing.assert_close(logits[utterance, row], alone[0, 2])


def test_ctc_log_probs_sum_to_one_in_float32_even_from_half_precision() -> None:
    model = ASR(ModelConfig(output_neurons=7, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1)).bfloat16()
    log_probs = model.ctc_log_probs(torch.randn(1, 3, 8, dtype=torch.bfloat16))
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(1, 3))


def test_config_refuses_unknown_keys_and_survives_json() -> None:
    with pytest.raises(ValueError, match="'nheads'"):
        ModelConfig.from_dict({"output_neurons": 9, "nheads": 4})
    config = ModelConfig(output_neurons=9, mixer_options={"tied": True}, frontend_channels=(8, 4))
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_defaults_are_the_recipes() -> None:
    assert ModelConfig(output_neurons=5000) == recipe("hyperconformer.yaml")
    assert SpecAugment() == load_settings(str(ROOT / "hparams" / "hyperconformer.yaml"), {}).augment


@pytest.mark.parametrize("key", ["nhead", "d_ffn", "num_encoder_layers", "num_decoder_layers", "kernel_size"])
def test_impossible_sizes_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} must lie between 1 and .*, got 0"):
        ModelConfig(output_neurons=9, **{key: 0})


def test_dropout_is_off_in_evaluation() -> None:
    model = ASR(ModelConfig(output_neurons=7, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1)).eval()
    samples, lengths = torch.randn(1, 4000), torch.tensor([4000])
    first, second = (model.encode(samples, lengths)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(model.train().encode(samples, lengths)[0], first)
    assert F.mse_loss(first, second) == 0
