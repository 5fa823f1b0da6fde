"""The recipes of text classification: mixing shows in seconds on a made task; the whole ones take minutes."""

import json
from pathlib import Path

import pytest

from hyperconformer.data.text_tasks import TASKS
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


def assert_chance(task: str, row: dict) -> None:
    """One in 30,000 guessers is farther from chance."""
    chance = TASKS[task].chance
    assert abs(row["accuracy"] / 100 - chance) <= 4.2 * (chance * (1 - chance) / row["texts"]) ** 0.5


def test_what_mixes_tokens_learns_to_count(tmp_path: Path) -> None:
    assert trained("count", tmp_path, **SMALL)["texts"]["length_1x"]["accuracy"] >= 97


@pytest.mark.parametrize("task", TASKS)
def test_what_mixes_nothing_guesses(task: str, tmp_path: Path) -> None:
    """So small a run learns by heart what it can: of other texts that says nothing."""
    tiny = {"task_texts": 400, "d_model": 16, "nhead": 2, "d_ffn": 32, "n_warmup_steps": 20}
    row = trained(task, tmp_path, mixer="identity", **tiny)["texts"]["length_1x"]
    assert_chance(task, row)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("mixer", ["hypermixing", "attention"])
def test_the_made_tasks_are_solved(mixer: str, task: str, tmp_path: Path) -> None:
    assert trained(task, tmp_path / "out", mixer=mixer)["texts"]["length_1x"]["accuracy"] >= 99


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_whole_runs_without_mixing_guess_as_well(task: str, tmp_path: Path) -> None:
    row = trained(task, tmp_path / "out", mixer="identity")["texts"]["length_1x"]
    assert_chance(task, row)


@pytest.mark.slow
def test_intents_are_told_apart_and_what_is_none_is_known(tmp_path: Path, shared_data: Path) -> None:
    metrics = trained("clinc150", tmp_path / "out", data_folder=shared_data / "text" / "clinc150")
    assert metrics["texts"]["test"]["accuracy"] >= 91 and metrics["strangers"]["test"]["auroc"] >= 90
