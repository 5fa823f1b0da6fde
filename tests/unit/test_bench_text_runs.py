"""Bench text from the command line to its tables: small trainings run in this process."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from hyperconformer.bench import child, runner
from hyperconformer.bench.text import child as text_child
from hyperconformer.bench.text import run as text
from hyperconformer.bench.text.found import TextFound
from hyperconformer.bench.text.sizes import TOLERANCE
from hyperconformer.bench.trainings import jobs
from hyperconformer.bench.trainings.runs import Run, RunStore
from hyperconformer.cli import main
from hyperconformer.data import text_corpora
from hyperconformer.data.labelled import LabelledCorpus
from hyperconformer.data.text_tasks import make_corpus
from hyperconformer.errors import InputError
from hyperconformer.training.progress import TooLittleMemory, TooManySkipped

TINY = ["--d_model=16", "--d_ffn=40", "--num_layers=1", "--number_of_epochs=1", "--task_texts=24"]


class Queue:
    """A pool without threads: training listens to signals, which only the main thread can."""

    def __init__(self, jobs: int) -> None:
        assert jobs == 1

    def __enter__(self) -> "Queue":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, launch: jobs.Launch, run: Run) -> Future:
        done: Future = Future()
        done.set_result(launch(run))
        return done


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Trainings and cases without processes of their own; the names of the trainings."""
    trained: list[str] = []
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def launch(self: jobs.Launcher, run: Run) -> TextFound:
        trained.append(run.name)
        overrides = {**run.overrides, "output_folder": str(self.folder / run.key)}
        options = {"device": "cpu", "precision": run.precision, "noprogressbar": True}
        asked = {"key": run.key, "recipe": run.recipe, "overrides": overrides, "run_options": options}
        try:
            return TextFound.from_dict(json.loads(json.dumps(vars(text_child.train(asked)))))
        except InputError as error:
            return TextFound(run.key, "fails", str(error))

    def small(task: str, *, train: int, seed: int) -> LabelledCorpus:
        corpus = make_corpus(task, train=train, seed=seed)
        tests = {name: texts[:20] for name, texts in corpus.tests.items()}
        return LabelledCorpus(corpus.train, corpus.valid[:20], tests)

    monkeypatch.setattr(text_corpora, "make_corpus", small)
    monkeypatch.setattr(jobs.Launcher, "__call__", launch)
    monkeypatch.setattr(jobs, "ThreadPoolExecutor", Queue)
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
    accuracy = json.loads((out / "accuracy.json").read_text())
    assert accuracy["hardware"][0].endswith("jobs: 1") and accuracy["hardware"][0] in results.read_text()
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

    monkeypatch.setattr(text_child, "run_task", diverge)
    recipe = ["hparams/text.yaml", *TINY, f"--output={tmp_path}"]
    given = ["bench", "text", *recipe, "--mixers=identity", "--trials=1", "--parts=tuning"]
    assert main(given) == 0 and main(given) == 0
    said = capsys.readouterr().out
    assert "identity, trial 0: diverged: 10 steps in a row" in said and len(in_this_process) == 1
    row = json.loads((tmp_path / "tuning.json").read_text())["rows"][0]
    assert (row["trials"], row["diverged"], row["best of 1 %"]) == ("1 of 1", "1", "0.00")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts=speed"], "--parts speed: choose from cost, accuracy, data, tuning, tasks"),
        (["--mixers=hypermixing:cross"], "compares two texts, and the recipe has one"),
        (["--mixers=identity", "--against=mlp"], "--against mlp is not measured"),
        (["--seeds=x"], "--seeds x: give numbers from 0"),
        (["--parts", "cost", "hparams/text.yaml"], "hparams/text.yaml: the recipe comes before all options"),
        (["--seeds=1.5"], "--seeds 1.5: give whole numbers"),
        (["--d_model=30"], "d_model 30 must be a multiple of num_heads 4"),
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


def test_pairs_are_read_as_one_sequence_or_across(
    tmp_path: Path, in_this_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{n} or not at all\t{('yes', 'no')[n % 2]} {n}\t{n % 2}" for n in range(20)]
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
    # As the longest pair needs it, whose texts are not both as long as the longest one.
    longest = runs["gmlp"]["max_text_tokens"]
    assert longest < runs["gmlp"]["mixer_options"]["max_frames"] < 2 * longest + 1
    assert "- gmlp" in capsys.readouterr().out


def test_a_system_that_does_not_fit_is_a_row_that_says_why(
    tmp_path: Path, in_this_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ["hparams/text.yaml", *TINY, f"--output={tmp_path}", f"--record={tmp_path}/RESULTS.md"]
    given = ["--mixers=gmlp,identity", "--seeds=1", "--parts=cost,accuracy", "--lengths=130"]
    assert main(["bench", "text", *recipe, *given, "--rounds=1", "--repeats=1", "--precision=bf16"]) == 0
    assert in_this_process == ["identity, seed 1"]
    rows = {row["system"]: row for row in json.loads((tmp_path / "accuracy.json").read_text())["rows"]}
    assert rows["gmlp"]["seeds"].startswith("unfit: gmlp for 130 tokens has") and rows["gmlp"]["d_ffn"] == "-"
    assert rows["identity"]["seeds"] == "1 of 1" and "unfit: gmlp" in (tmp_path / "RESULTS.md").read_text()
    cases = json.loads((tmp_path / "cost.json").read_text())["cases"]
    notes = {case["system"]: case["parts"]["forward"]["note"] for case in cases}
    assert notes["identity"] == "" and "gmlp for 130 tokens has" in notes["gmlp"]
    assert {case["precision"] for case in cases} == {"bf16"}
    capsys.readouterr()


def test_runs_of_another_machine_are_told_apart(
    tmp_path: Path, in_this_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["bench", "text", "hparams/text.yaml", *TINY, f"--output={tmp_path}", "--parts=accuracy"]
    assert main([*given, "--mixers=identity", "--seeds=1"]) == 0
    (line,) = map(json.loads, (tmp_path / "runs.jsonl").read_text().splitlines())
    (tmp_path / "runs.jsonl").write_text(
        json.dumps({**line, "hardware": "an abacus", "commit": "old"}) + "\n"
    )
    assert main([*given, "--mixers=identity,hypermixing", "--seeds=1"]) == 0
    assert in_this_process == ["identity, seed 1", "hypermixing, seed 1"]
    report = json.loads((tmp_path / "accuracy.json").read_text())
    assert report["hardware"][0] == f"an abacus, threads: {line['threads']}, jobs: 1"
    assert len(report["hardware"]) == len(report["commits"]) == 2
    assert report["notes"][:2] == [
        "guessing among 4 equally likely classes: 25.00 %",
        "fewer than 3 seeds: differences say little",
    ]
    assert "of 2 commits (old, " in report["notes"][2]
    assert "minutes are not comparable: an abacus" in capsys.readouterr().out


def test_want_of_memory_is_no_verdict(
    tmp_path: Path, in_this_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(*_: object) -> None:
        raise TooLittleMemory("10 steps in a row were skipped (not enough memory)")

    monkeypatch.setattr(text_child, "run_task", starve)
    given = ["bench", "text", "hparams/text.yaml", *TINY, f"--output={tmp_path}"]
    given += ["--mixers=identity", "--trials=1", "--parts=tuning"]
    assert main(given) == 1 and main(given) == 1
    # Tried again, and nothing is said about hyperparameters.
    assert len(in_this_process) == 2
    (row,) = json.loads((tmp_path / "tuning.json").read_text())["rows"]
    assert (row["trials"], row["best of 1 %"], row["the best trial"]) == ("0 of 1", "-", "-")


def test_a_request_to_end_reaches_the_trainings(tmp_path: Path) -> None:
    script = "trap 'touch stopped.$$; exit 1' TERM; touch begun.$$; while :; do sleep 0.05; done"
    launch = jobs.Launcher(tmp_path, 1, ["sh", "-c", f"cd {tmp_path}; {script}"], TextFound)
    runs = [Run(f"seed {seed}", "x.yaml", {}, "cpu", "fp32", {"seed": seed}) for seed in range(3)]

    def ask() -> None:
        while len(list(tmp_path.glob("begun.*"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(SystemExit) as ended, jobs.ending(launch.stop):
        jobs.train_all(runs, RunStore(tmp_path / "runs.jsonl", TextFound), 2, print, launch)
    asking.join()
    assert ended.value.code == 128 + signal.SIGTERM
    # Both have ended, the third was never begun, and nothing of them is taken for a result.
    assert len(list(tmp_path.glob("stopped.*"))) == len(list(tmp_path.glob("begun.*"))) == 2
    assert not (tmp_path / "runs.jsonl").exists() and launch(runs[2]).status == "fails"


def test_a_recipe_of_something_else_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "text", "hparams/mini.yaml"]) == 2
    assert "'hparams/mini.yaml' is not a text classification recipe" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "text", "--jobs=0"])
    assert "--jobs: '0' is not a whole number of at least 1" in capsys.readouterr().err
