"""Weights that lie as a search reads them say the same."""

import pytest
import torch

from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.nn.layout import lay_for_search


@pytest.mark.parametrize("tie_embeddings", [False, True])
def test_a_language_model_says_the_same(tie_embeddings: bool) -> None:
    torch.manual_seed(3)
    config = LanguageModelConfig(
        output_neurons=40, d_model=16, nhead=4, d_ffn=32, num_layers=2, tie_embeddings=tie_embeddings
    )
    model = LanguageModel(config).eval()
    tokens = torch.tensor([[1, 7, 9, 30], [1, 8, 8, 3]])
    before, kept = model(tokens), {name: value.clone() for name, value in model.state_dict().items()}

    assert lay_for_search(model) is model

    torch.testing.assert_close(model(tokens), before, rtol=1e-5, atol=1e-5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name]), name
    assert model.layers[0].feedforward.expand.weight.stride() == (1, 32)
    assert model.embedding.weight.is_contiguous()


def test_half_precision_and_weights_without_memory_lie_as_they_did() -> None:
    half = lay_for_search(torch.nn.Linear(3, 5).bfloat16())
    with torch.device("meta"):
        unreal = lay_for_search(torch.nn.Linear(3, 5))
    assert half.weight.is_contiguous() and unreal.weight.is_contiguous()
