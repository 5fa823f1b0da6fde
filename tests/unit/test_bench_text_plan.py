"""What bench text plans: systems that fit, what decides a training, what a share of the texts is given."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hyperconformer.bench.cases import Case
from hyperconformer.bench.checks import check
from hyperconformer.bench.systems import build
from hyperconformer.bench.text.cost import plan_cost
from hyperconformer.bench.text.plan import Ground, Planner, look_at, look_at_tasks, read_settings
from hyperconformer.bench.text.scores import score_systems
from hyperconformer.bench.text.sizes import DEFAULT, SYSTEMS
from hyperconformer.cli import main
from hyperconformer.data.text_tasks import TASKS
from hyperconformer.models.config import ClassifierConfig
from tests.unit.test_bench_text import marked

RECIPES = "recipes/TextClassification/hparams"
SMALL = ClassifierConfig(output_neurons=30, num_classes=2, d_model=16, nhead=2, d_ffn=200, num_layers=1)
CASE = Case("text", "identity", "forward", seconds=1.0, batch_size=1, repeats=1)


def ground_of(recipe: str, longest: int) -> Ground:
    """A recipe as if its texts had been looked at."""
    values, settings = read_settings(f"{RECIPES}/{recipe}.yaml", {})
    return Ground(recipe, {}, values, settings, "texts", longest, longest)


def tables(folder: Path, texts: int = 40) -> dict[str, list[str]]:
    """Overrides of the recipe ``files`` with tables that lie in a folder."""
    for name in ("train", "dev", "test"):
        rows = [f"word {n} {('yes', 'no')[n % 2]}\t{n % 2}" for n in range(texts)]
        (folder / f"{name}.tsv").write_text("\n".join(["text\tlabel", *rows, ""]))
    return {f"{name}_texts": [str(folder / f"{name}.tsv")] for name in ("train", "dev", "test")}


@pytest.mark.parametrize(("recipe", "longest"), [*((task, 130) for task in TASKS), ("clinc150", 41)])
def test_all_usual_systems_fit_the_recipes(recipe: str, longest: int) -> None:
    planner, ground = Planner(DEFAULT, [1], "cpu", "fp32"), ground_of(recipe, longest)
    assert [one.unfit for one in planner.accuracy(ground)] == [""] * len(DEFAULT)
    # What the default command measures at its shortest length is no longer.
    assert plan_cost(CASE, ground.settings.model, DEFAULT, [32], 64)[1] == []


def test_made_texts_are_as_long_as_the_recipes_were_sized_for() -> None:
    # Of the main recipe, which may be of anything, only what is meant for the tasks counts.
    given = {"max_text_tokens": 40, "d_model": 8, "lr": 9.0, "task_texts": 24, "number_of_epochs": 2}
    for task, ground in look_at_tasks(list(TASKS), given).items():
        assert (ground.longest, ground.places, ground.settings.corpus) == (130, 130, task)
        assert (ground.settings.model.d_model, ground.settings.task_texts) == (64, 24)
        assert ground.settings.number_of_epochs == 2 and ground.settings.lr < 1


def test_a_system_that_does_not_fit_leaves_the_others_alone() -> None:
    ground = ground_of("clinc150", 600)
    planned = Planner(["hypermixing", "gmlp"], [1], "cpu", "fp32").accuracy(ground)
    assert planned[0].unfit == "" and planned[1].unfit.startswith("gmlp for 600 tokens has")
    cases, unfit = plan_cost(CASE, ground.settings.model, ["hypermixing", "gmlp"], [600], 600)
    assert {case.system for case in cases} == {"hypermixing"}
    assert [outcome.note for outcome in unfit] == [planned[1].unfit] * 2


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_other_texts_or_labels_are_another_training(split: str, tmp_path: Path) -> None:
    given = {**tables(tmp_path), "output_neurons": 30}
    planner, keys = Planner(["identity"], [1], "cpu", "fp32"), []
    for _ in range(2):
        (planned,) = planner.accuracy(look_at(f"{RECIPES}/files.yaml", given))
        keys.append(planned.run.key)
        file = tmp_path / f"{split}.tsv"
        file.write_text(
            file.read_text().replace("\t0\n", "\t2\n").replace("\t1\n", "\t0\n").replace("\t2\n", "\t1\n")
        )
    assert keys[0] != keys[1]


def test_shares_have_as_many_steps_and_cut_no_text(tmp_path: Path) -> None:
    given = {**tables(tmp_path, 400), "output_neurons": 200, "number_of_epochs": 6}
    planner = Planner(["mlp"], [1, 2], "cpu", "fp32")
    ground = look_at(f"{RECIPES}/files.yaml", given)
    planned = planner.data(ground, [5, 50, 100])
    epochs = [(one.row, one.run.decided["number_of_epochs"]) for one in planned]
    assert epochs == [("5", 120), ("5", 120), ("50", 12), ("50", 12), ("100", 6), ("100", 6)]
    lengths = [one.run.decided["max_text_tokens"] for one in planned]
    assert lengths[0] == lengths[1] > lengths[4] == lengths[5] == ground.longest
    assert planned[0].run.decided["mixer_options"]["max_frames"] == lengths[0]
    assert planned[4].run.key == planner.accuracy(ground)[0].run.key


@pytest.mark.parametrize("system", ["hypermixing:cross", "hypermixing", "mlp", "gmlp"])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_pairs_have_a_cost_however_short(system: str, length: int) -> None:
    cases, unfit = plan_cost(CASE, replace(SMALL, texts=2), [system], [length], 4 * length)
    assert unfit == [] and [case.system for case in cases] == [system] * 2
    check(cases[0])
    load = build(cases[0])
    first, first_b, second, second_b = load.inputs
    assert first.shape[1] + 1 + second.shape[1] == max(3, length) and load.forward().shape == (4, 2)
    assert (first_b == first.shape[1]).all() and (second_b == second.shape[1]).all()


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_passes_its_check(system: str) -> None:
    texts = 2 if SYSTEMS[system].pair == "cross" else 1
    (case, _), _ = plan_cost(CASE, replace(SMALL, texts=texts), [system], [32], 64)
    check(case)


@pytest.mark.parametrize("system", ["mlp", "gmlp"])
@pytest.mark.parametrize("length", [1, 3, 8])
def test_texts_shorter_than_those_of_the_check(system: str, length: int) -> None:
    (case, _), _ = plan_cost(CASE, SMALL, [system], [length], length)
    check(case)


def test_cost_alone_needs_no_texts_and_any_folder_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(Path(f"{RECIPES}/files.yaml").resolve())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hyperconformer.bench.text.run.run_rounds", lambda cases, *_: [])
    given = ["--parts=cost", "--mixers=gmlp", "--lengths=2000", "--d_model=16", "--d_ffn=16"]
    assert main(["bench", "text", recipe, *given]) == 0
    assert "gmlp for 2000 tokens has" in capsys.readouterr().out
    assert look_at_tasks(["order"], {"task_texts": 24})["order"].settings.corpus == "order"


def test_seeds_of_made_texts_are_drawn_before_their_texts() -> None:
    rows = ["1" * 200, "1" * 200, "10" * 100]
    found = [run for texts, row in zip("xyz", rows, strict=True) for run in marked(row, texts=texts)]
    score = score_systems({"a": found}, "test", "a")["a"]
    # Seeds differ by far more than texts do; what is drawn stays an accuracy.
    assert score.mean.value == pytest.approx(5 / 6) and score.mean.low < 0.6 and score.mean.high == 1.0
    one = score_systems({"a": marked("1" * 100), "b": marked("10" * 50)}, "test", "a")["b"]
    assert one.mean.low == pytest.approx(0.5 - 1.96 * np.sqrt(0.25 / 100), abs=0.02)


def test_intervals_on_shared_texts_stay_within_all_and_none() -> None:
    score = score_systems({"a": marked("1" * 100, "1" * 100, "10" * 50)}, "test", "a")["a"]
    assert score.mean.low >= 0 and score.mean.high == 1.0


def test_made_texts_are_paired_seed_by_seed() -> None:
    rng = np.random.default_rng(0)
    runs: dict[str, list] = {"a": [], "b": []}
    for seed, right in enumerate((0.5, 0.7, 0.9)):
        marks = rng.random(400) < right
        for system, wrong in (("a", 0), ("b", 20)):
            row = "".join(str(int(mark and n >= wrong)) for n, mark in enumerate(marks))
            runs[system] += marked(row, texts=f"seed {seed}")
    score = score_systems(runs, "test", "a")["b"]
    # Both are as good and as bad with the same seeds, so the difference is surer than either.
    assert score.against is not None and score.against.high < 0
    assert score.against.high - score.against.low < 0.2 * (score.mean.high - score.mean.low)


def test_every_system_can_be_told_from_the_others() -> None:
    planner = Planner(list(SYSTEMS), [1], "cpu", "fp32")
    ground = ground_of("mnli", 60)
    keys = [one.run.key for one in planner.accuracy(ground)]
    assert len(set(keys)) == len(SYSTEMS)
