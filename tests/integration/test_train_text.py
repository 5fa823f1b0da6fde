"""A classifier's recipe on small texts: what it leaves, going on, processes that share, pairs, refusals."""

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from hyperconformer.class_scores import stranger_auroc
from hyperconformer.errors import InputError
from hyperconformer.inference.text_classifier import TextClassifier
from hyperconformer.training.command import CommandLine
from hyperconformer.training.loop import StepBrain
from hyperconformer.training.task import run_task
from hyperconformer.training.text import ClassificationTask
from hyperconformer.training.text_settings import classification_settings
from train import train

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "TextClassification" / "hparams"
SIZES = {
    "num_classes": 3,
    "d_model": 16,
    "nhead": 2,
    "d_ffn": 32,
    "output_neurons": 60,
    "transformer_dropout": 0.1,
    "number_of_epochs": 3,
    "max_batch_tokens": 200,
    "lr": 0.01,
    "n_warmup_steps": 20,
}
SMALL = [*(f"--{key}={value}" for key, value in SIZES.items()), "--device=cpu", "--noprogressbar"]
WORDS = {
    "music": ["play a song", "louder please", "next track"],
    "time": ["what time is it", "set an alarm", "how late is it"],
    "weather": ["will it rain", "how warm is it", "is it sunny"],
}
STRANGE = ["who won the match", "tell me a joke", "how do you spell match"]

pytestmark = pytest.mark.integration


def rows(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts of a grammar that a small model learns in no time, and their classes."""
    draw = random.Random(seed)
    labels = draw.choices(sorted(WORDS), k=count)
    starts, ends = ("", "hey ", "well "), ("", " now", " in rome")
    return [(draw.choice(starts) + draw.choice(WORDS[label]) + draw.choice(ends), label) for label in labels]


def write_table(path: Path, header: str, lines: list[tuple[str, ...]]) -> None:
    path.write_text("\n".join(["\t".join(line) for line in [tuple(header.split()), *lines]]) + "\n")


@pytest.fixture
def intents(tmp_path: Path) -> Path:
    """A folder in the form of CLINC150."""
    splits = {"train": rows(300, 1), "val": rows(60, 2), "test": rows(90, 3)}
    splits |= {name: [(text, "oos") for text in STRANGE] for name in ("oos_train", "oos_val", "oos_test")}
    (tmp_path / "intents").mkdir()
    (tmp_path / "intents" / "data_full.json").write_text(json.dumps(splits))
    return tmp_path / "intents"


@pytest.fixture
def run(tmp_path: Path, intents: Path):
    """Run CLINC150's recipe on these in a folder of its own; returns the output folder."""

    def call(*arguments: str, out: str = "out") -> Path:
        fixed = [f"--data_folder={intents}", f"--output_folder={tmp_path}/{out}"]
        train(CommandLine.parse([str(RECIPES / "clinc150.yaml"), *fixed, *SMALL, *arguments]))
        return tmp_path / (f"{out}_debug" if "--debug" in arguments else out)

    return call


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "model" / "metrics.json").read_text())


def test_a_run_learns_and_leaves_everything_behind(run, capsys) -> None:
    out = run("--number_of_epochs=6")
    said = capsys.readouterr().out
    names = {"train_log.txt", "hyperparams.yaml", "env.log", "log.txt", "model", "save", "tensorboard"}
    names |= {"accuracy_valid.txt", "accuracy_test.txt", "predictions_valid.tsv", "predictions_test.tsv"}
    assert names == {path.name for path in out.iterdir()}
    metrics = metrics_of(out)
    row, strange = metrics["texts"]["test"], metrics["strangers"]["test"]
    assert row["accuracy"] > 95 and row["low"] <= row["accuracy"] <= row["high"] and row["texts"] == 90
    assert (metrics["train_texts"], metrics["classes"], strange["texts"]) == (300, 3, 3)
    # The folder says of every text what the run said of it.
    classifier = TextClassifier.load(out / "model")
    found = classifier.classify([text for text, _ in rows(90, 3)])
    with (out / "predictions_test.tsv").open() as file:
        predictions = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [(one["text"], one["label"]) for one in predictions] == rows(90, 3)
    assert [one["predicted"] for one in predictions] == [one.label for one in found]
    assert [float(one["probability"]) for one in predictions] == pytest.approx(
        [one.probability for one in found], abs=1e-5
    )
    right = sum(one["label"] == one["predicted"] for one in predictions)
    assert row["accuracy"] == pytest.approx(100 * right / 90, abs=1e-3)
    unsure = [one.probability for one in classifier.classify(STRANGE)]
    area = stranger_auroc([one.probability for one in found], unsure)
    assert strange["auroc"] == pytest.approx(100 * area, abs=0.5) and area > 0.6
    line = next(line for line in said.splitlines() if line.startswith("test  "))
    assert line in (out / "model" / "README.md").read_text() and f"{row['accuracy']:.2f}" in line
    log = (out / "train_log.txt").read_text().splitlines()
    assert len(log) == 6 and "valid error" in log[0] and "audio" not in log[0]


def test_a_run_that_is_stopped_goes_on_to_the_very_same_weights(
    run, intents: Path, tmp_path: Path, monkeypatch
) -> None:
    whole = run(out="whole")
    after = StepBrain._after_step

    class Killed(RuntimeError):
        pass

    def killing(brain: StepBrain, *, is_last: bool) -> None:
        after(brain, is_last=is_last)
        if brain.progress.step in kills:
            kills.remove(brain.progress.step)
            raise Killed

    kills = {4, 17}
    monkeypatch.setattr(StepBrain, "_after_step", killing)
    for _ in range(2):
        with pytest.raises(Killed):
            run("--ckpt_interval_steps=3", out="killed")
    path = intents / "data_full.json"
    before = path.read_text()
    path.write_text(before.replace("play a song", "play that song", 1))
    with pytest.raises(InputError, match="the training data is not what .* began with"):
        run("--ckpt_interval_steps=3", out="killed")
    path.write_text(before)
    killed = run("--ckpt_interval_steps=3", out="killed")
    assert not kills and weights(killed) == weights(whole)
    assert metrics_of(killed)["texts"] == metrics_of(whole)["texts"]
    with pytest.raises(InputError, match="was trained with train_share=1.0, not 0.5"):
        run("--train_share=0.5", out="killed")


def test_two_processes_learn_what_one_does(run, intents: Path, tmp_path: Path) -> None:
    same = ["--transformer_dropout=0.0", "--number_of_epochs=1"]
    alone = run(*same)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(ROOT / "train.py"), str(RECIPES / "clinc150.yaml"), *SMALL, *same]
    command += [f"--data_folder={intents}", f"--output_folder={tmp_path}/two"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = []
    for folder in (alone, tmp_path / "two"):
        with (folder / "predictions_test.tsv").open() as file:
            found.append(list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)))
    assert [one["text"] for one in found[0]] == [one["text"] for one in found[1]]
    probabilities = [[float(one["probability"]) for one in some] for some in found]
    assert probabilities[1] == pytest.approx(probabilities[0], abs=1e-3)


def test_testing_again_gives_the_same(run) -> None:
    out = run("--number_of_epochs=1")
    before = metrics_of(out), weights(out)
    run("--number_of_epochs=1", "--test_only")
    assert weights(out) == before[1] and metrics_of(out)["texts"] == before[0]["texts"]


def test_debug_takes_a_few_texts_of_everything(run) -> None:
    out = run("--debug", "--precision=bf16")
    assert not out.with_name("out").exists()
    assert metrics_of(out)["train_texts"] == 64


@pytest.mark.parametrize("pair", ["joined", "cross"])
def test_pairs_from_files(pair: str, tmp_path: Path) -> None:
    """Whether two words are the same: nothing that one of the two alone tells."""
    draw = random.Random(1)
    pairs = [(draw.choice("ABC"), draw.choice("ABC")) for _ in range(400)]
    lines = [(one, other, "same" if one == other else "another") for one, other in pairs]
    write_table(tmp_path / "train.tsv", "premise hypothesis kind", lines)
    write_table(tmp_path / "held.tsv", "premise hypothesis kind", lines[:100])
    own = {"texts": 2, "pair": pair, "num_classes": 2, "number_of_epochs": 12, "text_column": "premise"}
    own |= {
        "second_column": "hypothesis",
        "label_column": "kind",
        "output_neurons": 8,
        "data_folder": tmp_path,
    }
    own |= {f"{name}_texts": "[held.tsv]" for name in ("dev", "test")}
    own |= {"train_texts": "[train.tsv]", "average_checkpoints": 1, "output_folder": tmp_path / "out"}
    given = [f"--{key}={value}" for key, value in own.items()]
    train(CommandLine.parse([str(RECIPES / "files.yaml"), *SMALL, *given]))
    assert metrics_of(tmp_path / "out")["texts"]["held"]["accuracy"] == 100
    one, other = TextClassifier.load(tmp_path / "out" / "model").classify([("A", "A"), ("B", "A")])
    assert (one.label, other.label) == ("same", "another")


def test_programs_train_many_in_one_process(intents: Path, tmp_path: Path) -> None:
    def metrics(name: str, **changes: object) -> dict:
        values = {**SIZES, "data_folder": str(intents), "number_of_epochs": 1, "name": name, **changes}
        values["output_folder"] = f"{tmp_path}/{{name}}"
        settings = classification_settings(str(RECIPES / "clinc150.yaml"), values)
        return run_task(ClassificationTask, settings, {"device": "cpu", "noprogressbar": True})

    one, same, less = metrics("one"), metrics("same"), metrics("less", train_share=0.25, mixer="identity")
    assert one["texts"] == same["texts"] and weights(tmp_path / "one") == weights(tmp_path / "same")
    assert 73 <= less["train_texts"] <= 77 and less["mixer"] == "identity"
    assert less["parameters"] < one["parameters"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_classes=4"], r"num_classes is 4, but the .* 3 labels .music, time, weather.: write .* 3"),
        (["--texts=2"], "texts is 2, but the training texts are single: write texts: 1"),
        (["--corpus=clinc"], "corpus 'clinc' is not one of clinc150, "),
        (["--data_folder=nowhere"], "data_full.json"),
        (["--train_share=0"], "train_share must lie between"),
        (["--max_text_tokens=0"], "max_text_tokens must lie between"),
        (["--output_neurons=5"], "output_neurons 5 is too small"),
        (["--nhead=3"], "d_model 16 must be a multiple of num_heads 3"),
        (["--pair=cross"], "pair cross lets each of two texts hear the other: texts must be 2"),
        (["--texts=2", "--pair=cross", "--mixer=fourier"], "pair cross is HyperMixing's query and key form"),
        (["--mixer=mlp", "--mixer_options={max_frames: 3}"], "this mlp was made for 3: train it with"),
        (["--record=RESULTS.md"], "--record keeps word error rates"),
        (["--test_only"], "no checkpoint to test"),
    ],
)
def test_what_cannot_work_is_named(run, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        run(*arguments)
    assert "\n" not in str(raised.value)
