"""Fixtures that several test folders share: real speech beside the checkout, and a tiny corpus of tones."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.utils.importutils import LazyModule

from hyperconformer.decoding import options
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import train_tokenizer

# Hypothesis asks every loaded module for its file; SpeechBrain's lazy ones would import what is not there.
LazyModule.__file__ = None

_WORDS = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN")


class TinyLibriSpeech(Protocol):
    """Writes a corpus and returns its data_folder."""

    def __call__(self, splits: Mapping[str, int] = ..., seconds: float = ...) -> Path: ...


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real speech beside the checkout, or skip."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real speech in ../shared/data")
    return folder


@pytest.fixture
def tiny_librispeech(tmp_path_factory: pytest.TempPathFactory) -> TinyLibriSpeech:
    """Return a writer of LibriSpeech-layout folders: FLAC tones, two speakers a split, unique ids."""

    def write(splits: Mapping[str, int] | None = None, seconds: float = 1.0) -> Path:
        data_folder = tmp_path_factory.mktemp("tiny_librispeech")
        counts = {"train-tiny": 6, "test-tiny": 2} if splits is None else splits
        for number, (split, count) in enumerate(counts.items(), start=1):
            for index in range(count):
                _write_utterance(data_folder / split, f"{10 * number + index % 2}", index, seconds)
        return data_folder

    return write


def _write_utterance(split_folder: Path, speaker: str, index: int, seconds: float) -> None:
    chapter = split_folder / speaker / "1"
    chapter.mkdir(parents=True, exist_ok=True)
    identity = f"{speaker}-1-{index:04}"
    times = np.arange(int(seconds * 16_000)) / 16_000
    tone = 0.1 * np.sin(2 * np.pi * (200 + 50 * int(speaker) + 20 * index) * times)
    soundfile.write(chapter / f"{identity}.flac", tone, samplerate=16_000)
    words = " ".join(_WORDS[(index + step) % len(_WORDS)] for step in range(1 + index % 3))
    with (chapter / f"{speaker}-1.trans.txt").open("a") as transcript:
        transcript.write(f"{identity} {words}\n")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder with random weights that knows the words of the tiny corpus."""
    scratch = tmp_path_factory.mktemp("tiny_bundle")
    torch.manual_seed(0)
    tokenizer = train_tokenizer(_WORDS, scratch / "tokenizer.model", output_neurons=30)
    config = ModelConfig(
        output_neurons=30, d_model=16, nhead=2, d_ffn=32, num_encoder_layers=1, num_decoder_layers=1
    )
    return save_bundle(scratch / "model", ASR(config), tokenizer, metrics={}, card="# Tiny\n")


@pytest.fixture(scope="module")
def any_beam() -> Iterator[None]:
    """Let a beam be wide enough to hold every hypothesis there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "MOST_HYPOTHESES", 10**6)
        yield
