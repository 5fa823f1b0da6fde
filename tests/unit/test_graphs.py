"""One graph for every batch and length: the encoder with its front-end, compiled and exported."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hyperconformer.mixers import MIXERS
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig

# FNet transforms every utterance at its own length, in a loop; MLPs over time cut their weights to it.
ANY_LENGTH = [name for name in MIXERS if name not in ("fourier", "mlp", "gmlp")]
DIALS = [
    ("hypermixing", {"half_rate_layers": (2, 2)}),
    ("hypermixing", {"mixer_options": {"positions": "convolution"}}),
    ("hypermixing", {"mixer_options": {"gate": True}}),
    ("hypermixing", {"mixer_options": {"out_bias": False, "positions": "none"}}),
]
SIZES = [(3, 40), (2, 57), (4, 31)]


class Encode(nn.Module):
    """Features to encoder output."""

    def __init__(self, mixer: str, **dials: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = ASR(
            ModelConfig(
                output_neurons=9, mixer=mixer, d_model=8, nhead=2, d_ffn=16, kernel_size=7, n_mels=16,
                num_encoder_layers=2, num_decoder_layers=1, frontend_channels=(4, 4), **dials,
            )
        ).eval()  # fmt: skip

    def forward(self, features_bfm: Tensor, frames_b: Tensor) -> Tensor:
        return self.model.encode_features(features_bfm, frames_b)[0]


def batch(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    lengths = torch.full((size[0],), size[1])
    lengths[1:] -= 7
    return torch.randn(*size, 16), lengths


@pytest.mark.parametrize(("mixer", "dials"), [*((mixer, {}) for mixer in ANY_LENGTH), *DIALS])
def test_one_exported_graph_takes_any_batch_and_length(mixer: str, dials: dict[str, Any]) -> None:
    module = Encode(mixer, **dials)
    count, frames = torch.export.Dim("count", min=2), torch.export.Dim("frames", min=9, max=1500)
    program = torch.export.export(module, batch(SIZES[0]), dynamic_shapes=({0: count, 1: frames}, {0: count}))
    for size in SIZES:
        inputs = batch(size)
        torch.testing.assert_close(program.module()(*inputs), module(*inputs))


def gradients(run: Callable[[Tensor, Tensor], Tensor], module: nn.Module, inputs: tuple[Tensor, Tensor]):
    out = run(*inputs)
    weights = list(module.model.front_end.parameters()) + list(module.model.encoder.parameters())
    return out, *torch.autograd.grad(out.square().sum(), weights)


class Tapped(Encode):
    """Features to the CTC logits of the last layer and of the first."""

    def forward(self, features_bfm: Tensor, frames_b: Tensor) -> Tensor:
        tokens_bl = torch.ones_like(frames_b).unsqueeze(1)
        outputs = self.model(features_bfm, frames_b, tokens_bl, (1,))
        return torch.cat([outputs.ctc_btv, *outputs.inter_ctc], dim=2)


@pytest.mark.parametrize("kind", [Encode, Tapped])
def test_one_compiled_graph_takes_any_batch_and_length(kind: type[Encode]) -> None:
    """Traced forward and backward; the code generator, which takes minutes, is left out."""
    module = kind("hypermixing").double()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for size in SIZES[:2]:
        features, lengths = batch(size)
        inputs = features.double(), lengths
        torch.testing.assert_close(gradients(compiled, module, inputs), gradients(module, module, inputs))
