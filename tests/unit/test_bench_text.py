"""Bench text: equal sizes, honest statistics, nothing done twice; small trainings run in this process."""

import itertools
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hyperconformer.bench import child, runner, text, text_child, text_jobs
from hyperconformer.bench.cases import Case
from hyperconformer.bench.checks import CheckFailed, check
from hyperconformer.bench.text_cost import plan_cost
from hyperconformer.bench.text_runs import RunStore, TextFound, TextRun
from hyperconformer.bench.text_scores import score_systems
from hyperconformer.bench.text_sizes import DEFAULT, SYSTEMS, TOLERANCE, count_weights, equal_config
from hyperconformer.bench.text_tuning import SPACE, draw_trial, expected_best
from hyperconformer.cli import main
from hyperconformer.errors import InputError
from hyperconformer.mixers import Fourier
from hyperconformer.models.classifier import Classifier
from hyperconformer.models.config import ClassifierConfig
from hyperconformer.scoring import score
from hyperconformer.significance import compare_runs
from hyperconformer.training.progress import TooManySkipped
from hyperconformer.types import Utterance

MODEL = ClassifierConfig(output_neurons=2000, num_classes=150)
TINY = ["--d_model=16", "--d_ffn=16", "--num_layers=1", "--number_of_epochs=1", "--task_texts=24"]


def run_of(seed: int) -> TextRun:
    return TextRun(f"seed {seed}", "x.yaml", {}, "cpu", "fp32", {"seed": seed, "name": "any"})


def marked(*rows: str, texts: str = "t") -> list[TextFound]:
    """Runs with these right and wrong texts."""
    return [TextFound(row, "ok", correct={"test": row}, texts={"test": texts}) for row in rows]


@pytest.mark.parametrize("longest", [28, 130])
@pytest.mark.parametrize("system", SYSTEMS)
def test_all_systems_are_equally_large(system: str, longest: int) -> None:
    model = replace(MODEL, texts=2 if SYSTEMS[system].pair == "cross" else 1)
    wanted = count_weights(equal_config(model, "hypermixing", longest))
    config = equal_config(model, system, longest)
    weights = sum(weight.numel() for weight in Classifier(config).parameters())
    assert abs(weights / wanted - 1) <= TOLERANCE
    assert (config.mixer, config.d_model, config.num_layers) == (SYSTEMS[system].mixer, 128, 2)


def test_a_mixer_with_too_many_weights_is_refused() -> None:
    with pytest.raises(InputError, match="gmlp for 600 tokens has .* leave it out of --mixers"):
        equal_config(MODEL, "gmlp", 600)


def test_options_of_the_recipe_hold_for_its_own_mixer() -> None:
    template = replace(MODEL, mixer_options={"init": "fan"})
    assert equal_config(template, "hypermixing:tied", 9).mixer_options["init"] == "fan"
    assert "init" not in equal_config(template, "attention", 9).mixer_options


def test_the_expected_best_is_the_mean_over_all_draws() -> None:
    scores = [0.2, 0.9, 0.5, 0.5]
    for step in expected_best(scores):
        best = [max(draw) for draw in itertools.product(scores, repeat=step.trials)]
        assert step.mean == pytest.approx(np.mean(best)) and step.spread == pytest.approx(np.std(best))


def test_trials_are_drawn_over_the_whole_space() -> None:
    trials = [draw_trial(0, number) for number in range(200)]
    assert 2e-4 <= min(t["lr"] for t in trials) < 3e-4 and 1.5e-2 < max(t["lr"] for t in trials) <= 2e-2
    # As many below the middle of the logarithms as above it.
    assert 70 < sum(t["lr"] < 2e-3 for t in trials) < 130
    assert {t["num_layers"] for t in trials} == {1, 2, 3, 4} and set(trials[0]) == set(SPACE)


def test_the_store_forgets_what_a_power_cut_tore_and_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    store = RunStore(path)
    for seed in (1, 2):
        store.add(run_of(seed), TextFound(run_of(seed).key, "ok", train_seconds=seed))
    store.add(run_of(3), TextFound(run_of(3).key, "fails", "out of memory"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    again = RunStore(path)
    assert list(again.found) == [run_of(1).key]
    again.add(run_of(2), store.found[run_of(2).key])
    assert path.read_bytes() == whole
    path.write_text("[]\n")
    with pytest.raises(InputError, match="line 1 is no run of bench text"):
        RunStore(path)


def test_what_decides_a_run_is_its_key() -> None:
    run = run_of(1)
    assert replace(run, decided={**run.decided, "name": "other"}, name="x").key == run.key
    others = [run_of(2), replace(run, device="cuda"), replace(run, precision="bf16")]
    assert len({run.key, *(other.key for other in others)}) == 4


def test_only_what_is_missing_is_trained_and_jobs_go_side_by_side(tmp_path: Path) -> None:
    together, launched, said = threading.Barrier(2, timeout=20), [], []

    def launch(run: TextRun) -> TextFound:
        launched.append(run.name)
        together.wait()
        status = "fails" if run.name == "seed 2" else "ok"
        return TextFound(run.key, status, "bad luck", accuracy={"valid": 0.5})

    runs = [run_of(seed) for seed in (1, 2, 1)]
    store = RunStore(tmp_path / "runs.jsonl")
    found = text_jobs.train_all(runs, store, 2, said.append, launch)
    assert sorted(launched) == ["seed 1", "seed 2"] and found[run_of(2).key].note == "bad luck"
    launched.clear()
    together = threading.Barrier(1)
    text_jobs.train_all(runs, RunStore(store.path), 2, said.append, launch)
    assert launched == ["seed 2"] and "done before: valid 50.00 %" in said[2]


def test_a_process_that_dies_is_a_note(tmp_path: Path) -> None:
    launch = text_jobs.launcher(tmp_path, 1, ["sh", "-c", "kill -9 $$"])
    found = launch(run_of(1))
    assert (found.status, found.note) == ("fails", "killed by signal 9")


def test_differences_are_those_of_compare() -> None:
    rng = np.random.default_rng(0)
    rows = {
        system: ["".join(map(str, (rng.random(60) < right).astype(int))) for _ in range(3)]
        for system, right in (("a", 0.6), ("b", 0.8))
    }
    reports = {
        system: [
            score([(Utterance(f"{n:02}", 1.0, "", f"{n:02}", "YES"), "YES" if mark == "1" else "NO")
                   for n, mark in enumerate(row)], "test")
            for row in of
        ]
        for system, of in rows.items()
    }  # fmt: skip
    truth = compare_runs(reports["a"], reports["b"])
    scores = score_systems({system: marked(*of) for system, of in rows.items()}, "test", "a")
    against = scores["b"].against
    assert against is not None and scores["a"].against is None
    assert against == pytest.approx((-truth.difference, -truth.high, -truth.low))
    assert scores["b"].mean.value == pytest.approx(1 - truth.wer_b)
    assert scores["b"].mean.low < scores["b"].mean.value < scores["b"].mean.high
    assert scores["b"].spread == pytest.approx(np.std([row.count("1") / 60 for row in rows["b"]], ddof=1))


def test_made_texts_differ_from_seed_to_seed_and_only_equal_ones_are_compared() -> None:
    one, two = marked("1100", texts="x"), marked("1110", texts="y")
    better = [*marked("1111", texts="x"), *marked("1111", texts="y")]
    scores = score_systems({"a": [*one, *two], "b": better, "c": one}, "test", "a")
    assert scores["b"].against is not None and scores["b"].against.value == 0.375
    assert scores["c"].against is None and scores["c"].mean.value == 0.5


def test_texts_grow_and_the_rest_of_a_classifier_stays() -> None:
    template = Case("text", "identity", "forward", seconds=1.0, batch_size=1)
    cases = plan_cost(template, replace(MODEL, texts=2), ["gmlp", "hypermixing:cross"], [16, 64], 32)
    assert [case.name for case in cases[::2]] == [
        "text gmlp 16 tokens forward",
        "text gmlp 64 tokens forward",
    ]
    short, long = (case.classifier() for case in cases[::2])
    assert short.d_ffn == long.d_ffn and long.mixer_options == {"max_frames": 64}
    assert (cases[0].batch_size, cases[2].batch_size, Case.from_json(cases[2].to_json())) == (2, 1, cases[2])


def test_a_classifier_that_hears_padding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (case, _) = plan_cost(
        Case("text", "identity", "forward", seconds=1.0, batch_size=1), MODEL, ["fourier"], [16], 32
    )
    correct = Fourier.forward
    monkeypatch.setattr(Fourier, "forward", lambda self, x, padding=None: correct(self, x))
    with pytest.raises(CheckFailed, match="text fourier 16 tokens forward: a text differs alone"):
        check(case)


class Queue:
    """A pool without threads: training listens to signals, which only the main thread can."""

    def __init__(self, jobs: int) -> None:
        assert jobs == 1

    def __enter__(self) -> "Queue":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, launch: text_jobs.Launch, run: TextRun) -> Future:
        done: Future = Future()
        done.set_result(launch(run))
        return done


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Trainings and cases without processes of their own; the names of the trainings."""
    trained: list[str] = []
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def launcher(folder: Path, threads: int) -> text_jobs.Launch:
        def launch(run: TextRun) -> TextFound:
            trained.append(run.name)
            overrides = {**run.overrides, "output_folder": str(folder / run.key)}
            options = {"device": "cpu", "noprogressbar": True}
            asked = {"key": run.key, "recipe": run.recipe, "overrides": overrides, "run_options": options}
            return TextFound.from_dict(json.loads(json.dumps(vars(text_child.train(asked)))))

        return launch

    monkeypatch.setattr(text, "launcher", launcher)
    monkeypatch.setattr(text_jobs, "ThreadPoolExecutor", Queue)
    monkeypatch.setattr(text, "run_rounds", partial(runner.run_rounds, launch=child.examine))
    yield trained
    root.handlers[:], root.level = handlers, level


def test_all_parts(tmp_path: Path, in_this_process: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out, results = tmp_path / "out", tmp_path / "RESULTS.md"
    for name, texts in (("train", 24), ("dev", 6), ("test", 10)):
        rows = [f"word {number} {('yes', 'no')[number % 2]}\t{number % 2}" for number in range(texts)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *rows, ""]))
    files = [f"--{name}_texts=[{tmp_path / name}.tsv]" for name in ("train", "dev", "test")]
    recipe = ["recipes/TextClassification/hparams/files.yaml", *files, "--output_neurons=30"]
    given = ["bench", "text", *recipe, *TINY, f"--output={out}", f"--record={results}"]
    given += ["--mixers=hypermixing,identity", "--seeds=1", "--shares=50,100", "--trials=2", "--tasks=order"]
    given += ["--lengths=8", "--batch_tokens=16", "--repeats=1", "--rounds=1"]
    assert main(given) == 0
    said = capsys.readouterr().out
    # The whole of the training texts was trained on for the accuracy already.
    assert len(in_this_process) == 2 + 2 + 4 + 2
    for heading in (
        "Accuracy at equal parameters",
        "Accuracy against the training data",
        "Tuning",
        "Made tasks",
    ):
        assert f"### {heading}" in said and f"### {heading}" in results.read_text()
    assert "### Text" in results.read_text() and "forward+backward ms" in said
    figures = {"time", "memory", "accuracy", "data", "tuning", "tasks"}
    assert {path.stem for path in out.glob("*.svg")} == figures
    rows = json.loads((out / "accuracy.json").read_text())["rows"]
    first = [row for row in rows if row["test"] == "test"]
    assert [(row["system"], row["seeds"]) for row in first] == [
        ("hypermixing", "1 of 1"),
        ("identity", "1 of 1"),
    ]
    assert [row["- hypermixing"] == "-" for row in first] == [True, False]
    weights = [int(row["weights"].replace(",", "")) for row in first]
    assert abs(weights[1] / weights[0] - 1) < TOLERANCE
    shares = {row["share %"]: row["texts"] for row in json.loads((out / "data.json").read_text())["rows"]}
    assert shares == {"50": "12", "100": "24"}
    task = json.loads((out / "tasks.json").read_text())["rows"][0]
    assert (task["task"], task["chance %"]) == ("order", "50.00") and "length_4x % (least)" in task
    tuned = json.loads((out / "tuning.json").read_text())["rows"][0]
    assert float(tuned["best of 1 %"]) <= float(tuned["best of 2 %"]) and "lr 0.0" in tuned["the best trial"]
    in_this_process.clear()
    assert main([*given, "--parts", "accuracy", "tuning"]) == 0
    assert in_this_process == [] and "### Tuning" in capsys.readouterr().out


def test_a_training_that_diverges_is_a_trial_that_got_nothing(
    tmp_path: Path,
    in_this_process: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def diverge(*_: object) -> None:
        raise TooManySkipped("10 steps in a row were skipped")

    monkeypatch.setattr(text_child, "train_classifier", diverge)
    recipe = ["hparams/text.yaml", *TINY, f"--output={tmp_path}"]
    given = ["bench", "text", *recipe, "--mixers=identity", "--trials=1", "--parts=tuning"]
    assert main(given) == 0 and main(given) == 0
    said = capsys.readouterr().out
    assert "identity, trial 0: diverged: 10 steps in a row" in said and len(in_this_process) == 1
    row = json.loads((tmp_path / "tuning.json").read_text())["rows"][0]
    assert (row["trials"], row["diverged"], row["best of 1 %"]) == ("1", "1", "0.00")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts=speed"], "--parts speed: choose from cost, accuracy, data, tuning, tasks"),
        (["--mixers=hypermixing:cross"], "compares two texts, and the recipe has one"),
        (["--mixers=identity", "--against=mlp"], "--against mlp is not measured"),
        (["--seeds=x"], "--seeds x: give numbers from 0"),
        (["--parts=data", "--shares=0"], "--shares 0: give numbers from 0.1 to 100"),
        (["--parts=tasks", "--tasks=sums"], "--tasks sums: choose from match, order, count"),
        (["--mixer=mlp"], "--mixer is not for bench text"),
        (["--debug"], "--debug is an option of train.py"),
        (["--mixxers=mlp"], "has no setting 'mixxers'"),
        (["--num_classes=3"], "num_classes is 3, but the training texts have 4"),
    ],
)
def test_bad_arguments_are_answered_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["bench", "text", "hparams/text.yaml", f"--output={tmp_path}", "--task_texts=24", *arguments]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_the_usual_systems_are_there() -> None:
    assert set(DEFAULT) <= set(SYSTEMS) and {"relative", "hypermixing:cross"} == set(SYSTEMS) - set(DEFAULT)


def test_pairs_are_read_as_one_sequence_or_across(
    tmp_path: Path, in_this_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{n} or not\t{('yes', 'no')[n % 2]} {n}\t{n % 2}" for n in range(20)]
    (tmp_path / "pairs.tsv").write_text("\n".join(["text\tother\tlabel", *rows, ""]))
    pairs = [f"--train_texts=[{tmp_path}/pairs.tsv]", f"--test_texts=[{tmp_path}/pairs.tsv]", "--texts=2"]
    recipe = ["recipes/TextClassification/hparams/files.yaml", *pairs, "--second_column=other", *TINY]
    given = [
        "--output_neurons=30",
        "--d_ffn=99",
        "--mixers=gmlp,hypermixing:cross",
        "--seeds=1",
        "--parts=accuracy",
    ]
    assert main(["bench", "text", *recipe, *given, f"--output={tmp_path}"]) == 0
    rows = json.loads((tmp_path / "accuracy.json").read_text())["rows"]
    assert [(row["system"], row["seeds"]) for row in rows] == [
        ("gmlp", "1 of 1"),
        ("hypermixing:cross", "1 of 1"),
    ]
    lines = map(json.loads, (tmp_path / "runs.jsonl").read_text().splitlines())
    runs = {line["decided"]["mixer"]: line["decided"] for line in lines}
    assert (runs["gmlp"]["pair"], runs["hypermixing"]["pair"]) == ("joined", "cross")
    assert runs["gmlp"]["mixer_options"]["max_frames"] == 2 * runs["gmlp"]["max_text_tokens"] + 1
    assert "- gmlp" in capsys.readouterr().out
