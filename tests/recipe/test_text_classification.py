"""The recipes of text classification: mixing shows in seconds on a made task; the whole ones take minutes."""

import json
from pathlib import Path

import pytest

from hyperconformer.training.command import CommandLine
from train import train

RECIPES = Path(__file__).parents[2] / "recipes" / "TextClassification" / "hparams"
SMALL = {
    "task_texts": 4000,
    "d_model": 64,
    "d_ffn": 64,
    "number_of_epochs": 5,
    "lr": 0.004,
    "n_warmup_steps": 50,
}


def trained(recipe: str, folder: Path, **values: object) -> dict:
    """Metrics of a recipe's run."""
    keys = [f"--{key}={value}" for key, value in values.items()]
    line = [str(RECIPES / f"{recipe}.yaml"), f"--output_folder={folder}", "--device=cpu", "--noprogressbar"]
    bundle = train(CommandLine.parse([*line, *keys]))
    return json.loads((bundle / "metrics.json").read_text())


def test_what_mixes_tokens_learns_to_count_and_what_does_not_guesses(tmp_path: Path) -> None:
    accuracy = {
        mixer: trained("count", tmp_path / mixer, mixer=mixer, **SMALL)["texts"]["length_1x"]["accuracy"]
        for mixer in ("hypermixing", "identity")
    }
    assert accuracy["hypermixing"] >= 97
    # Chance is 25 %, and one in a thousand guessers of a thousand texts is beyond four more.
    assert abs(accuracy["identity"] - 25) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("task", ["match", "order", "count"])
def test_the_made_tasks_are_solved(task: str, tmp_path: Path) -> None:
    assert trained(task, tmp_path / "out")["texts"]["length_1x"]["accuracy"] >= 99


@pytest.mark.slow
def test_intents_are_told_apart_and_what_is_none_is_known(tmp_path: Path, shared_data: Path) -> None:
    metrics = trained("clinc150", tmp_path / "out", data_folder=shared_data / "text" / "clinc150")
    assert metrics["texts"]["test"]["accuracy"] >= 91 and metrics["strangers"]["test"]["auroc"] >= 90
