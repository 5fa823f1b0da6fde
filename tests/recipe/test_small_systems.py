"""The two small recipes reach the WER that they promise: minutes of training each."""

from pathlib import Path

import pytest

from hyperconformer.training.command import CommandLine
from train import train

HPARAMS = Path(__file__).parents[2] / "hparams"

pytestmark = pytest.mark.slow


def word_error_rates(*arguments: str) -> dict[str, float]:
    """Train a recipe; returns the WER in percent by search."""
    import json

    bundle = train(CommandLine.parse([*arguments, "--noprogressbar"]))
    (rows,) = json.loads((bundle / "metrics.json").read_text())["splits"].values()
    return {search: row["wer"] for search, row in rows.items()}


def test_the_embedded_corpus(tmp_path: Path) -> None:
    folders = [f"--output_folder={tmp_path}/out", f"--data_folder={tmp_path}/mini"]
    rates = word_error_rates(str(HPARAMS / "mini.yaml"), *folders)
    assert rates["joint"] <= 5


def test_spoken_digits(shared_data: Path, tmp_path: Path) -> None:
    folders = [f"--output_folder={tmp_path}/out", f"--data_folder={shared_data}/digits"]
    rates = word_error_rates(str(HPARAMS / "digits.yaml"), *folders)
    assert rates["greedy"] <= 2 and rates["joint"] <= 2
