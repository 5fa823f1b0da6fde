"""Two hours in segments take no more memory than ten minutes, and an hour fits into one pass."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hyperconformer.inference.bundle import save_bundle
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import train_tokenizer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 8M system with random weights and few tokens."""
    scratch = tmp_path_factory.mktemp("large")
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["ONE TWO THREE FOUR FIVE"], scratch / "t.model", output_neurons=20)
    return save_bundle(
        scratch / "model", ASR(ModelConfig(output_neurons=20)), tokenizer, metrics={}, card="# 8M\n"
    )


def measured(bundle: Path, way: str, minutes: float, shared_data: Path) -> dict[str, float]:
    """What the measuring process prints."""
    asked = [bundle, way, minutes, shared_data / "digits" / "test-digits"]
    command = [sys.executable, "-m", "tests.recipe.longform_memory", *map(str, asked)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    print(done.stdout)
    row: dict[str, float] = json.loads(done.stdout)
    return row


def test_memory_of_segments_is_constant(bundle: Path, shared_data: Path) -> None:
    short, long = (measured(bundle, "segments", minutes, shared_data) for minutes in (10, 120))
    assert long["peak_mib"] <= 1.2 * short["peak_mib"]
    assert short["peak_mib"] > short["before_mib"] + 20, "the measurement sees nothing"
    assert long["words"] > 10 * short["words"] > 0


def test_an_hour_in_one_pass_takes_less_than_two_gigabytes(bundle: Path, shared_data: Path) -> None:
    row = measured(bundle, "pass", 60, shared_data)
    assert row["peak_mib"] - row["before_mib"] < 2000
    assert row["words"] > 0
