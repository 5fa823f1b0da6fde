"""Where HyperMixing starts, on real inputs: the first layer's, from the embedded corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hyperconformer.data.mini import MiniCorpus, prepare_mini
from hyperconformer.feature_statistics import FeatureStatistics
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig

pytestmark = pytest.mark.integration


class FirstMixer:
    """The 8M model's first mixer and what it is given."""

    def __init__(self, clips: list[Tensor], seed: int) -> None:
        torch.manual_seed(seed)
        self.model = ASR(ModelConfig(output_neurons=5000)).eval()
        statistics = FeatureStatistics(80)
        for clip in clips:
            statistics.update(*self.model.log_mel(clip[None], torch.tensor([len(clip)])))
        self.model.normalizer.set_statistics(statistics.mean, statistics.std)
        self.layer = self.model.encoder.layers[0]
        self.mixer = self.layer.mixer

    def inputs(self, clip: Tensor) -> Tensor:
        features, frames = self.model.features(clip[None], torch.tensor([len(clip)]))
        x, _ = self.model.front_end(features, frames)
        return self.layer.norm_mixer(x + 0.5 * self.layer.feedforward1(x))

    def before_gelu(self, x: Tensor) -> float:
        """Root mean square of what the token-mixing MLP's GELU is given, W1 written out."""
        mixer = self.mixer
        hidden = mixer._hidden(x, slice(mixer.weight_in.shape[1]))
        write1 = torch.matmul(hidden, mixer.weight_out[0].unsqueeze(1)) + mixer.bias_out[0].unsqueeze(1)
        pooled = write1.transpose(2, 3) @ mixer._heads(x)
        return (pooled / x.shape[1]).square().mean().sqrt().item()


def share_of_the_mean(y_td: Tensor) -> float:
    """Variance of the mean over time as a share of all variance."""
    return (y_td.mean(0).var() / y_td.var()).item()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Tensor]:
    folder = tmp_path_factory.mktemp("start") / "mini"
    prepare_mini(folder, progress=False, corpus=MiniCorpus(voices=(8, 1, 1), sentences=(6, 1, 1)))
    paths = sorted(Path(folder / "train-mini").rglob("*.flac"))
    return [torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in paths]


@torch.no_grad()
def test_less_than_half_of_the_output_is_the_same_for_all_tokens(clips: list[Tensor]) -> None:
    shares = []
    for seed in range(3):
        first = FirstMixer(clips, seed)
        shares += [share_of_the_mean(first.mixer(first.inputs(clip))[0]) for clip in clips[::2]]
    assert np.mean(shares) < 0.45


@torch.no_grad()
def test_long_utterances_start_with_the_statistics_of_short_ones(clips: list[Tensor]) -> None:
    joined = torch.cat(clips * 2)
    for seed in range(3):
        first = FirstMixer(clips, seed)
        short, long = (
            first.before_gelu(first.inputs(joined[: (4 * frames - 1) * 160 - 1])) for frames in (50, 1500)
        )
        assert max(short, long) / min(short, long) < 1.5
