"""A language model's recipe on a small text: what it leaves, going on, processes that share, refusals."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hyperconformer.data.manifest import write_manifest
from hyperconformer.errors import InputError
from hyperconformer.inference.language_model_bundle import load_language_model
from hyperconformer.text import train_tokenizer
from hyperconformer.training.checkpoints import CheckpointStore
from hyperconformer.training.command import CommandLine
from hyperconformer.training.loop import StepBrain
from hyperconformer.types import Utterance
from train import train

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "LibriSpeech" / "LM" / "hparams"
SMALL = [
    "--d_model=16",
    "--nhead=2",
    "--d_ffn=32",
    "--num_layers=2",
    "--output_neurons=40",
    "--number_of_epochs=2",
    "--max_batch_tokens=100",
    "--lr=0.01",
    "--n_warmup_steps=10",
    "--device=cpu",
    "--noprogressbar",
]

pytestmark = pytest.mark.integration


def sentences(count: int, seed: int) -> list[str]:
    """Sentences of a grammar that a small model learns in no time."""
    draw = random.Random(seed)
    subjects, verbs, objects = ("THE CAT", "A DOG"), ("SEES", "HEARS"), ("THE MOUSE", "A BIRD", "NOBODY")
    return [" ".join(map(draw.choice, (subjects, verbs, objects))) for _ in range(count)]


@pytest.fixture
def run(tmp_path: Path):
    """Run the small recipe in a folder of its own; returns the output folder."""
    for name, count in (("text", 300), ("dev", 20), ("test", 30)):
        (tmp_path / f"{name}.txt").write_text("\n".join(sentences(count, len(name))) + "\n")

    def call(*arguments: str, out: str = "out") -> Path:
        fixed = [f"--{key}=[{tmp_path}/{key.split('_')[0]}.txt]" for key in ("text", "dev_text", "test_text")]
        fixed.append(f"--output_folder={tmp_path}/{out}")
        train(CommandLine.parse([str(RECIPES / "small.yaml"), *fixed, *SMALL, *arguments]))
        return tmp_path / (f"{out}_debug" if "--debug" in arguments else out)

    return call


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_run_learns_and_leaves_everything_behind(run, tmp_path: Path, capsys) -> None:
    out = run("--number_of_epochs=15", "--transformer_dropout=0.0")
    said = capsys.readouterr().out
    names = {"train_log.txt", "hyperparams.yaml", "env.log", "log.txt", "model", "save", "tensorboard"}
    assert names <= {path.name for path in out.iterdir()}
    metrics = json.loads((out / "model" / "metrics.json").read_text())
    row = metrics["texts"][f"{tmp_path}/test.txt"]
    model, tokenizer = load_language_model(out / "model")
    nats = tokens = words = 0
    for sentence in sentences(30, len("test")):
        ids = tokenizer.encode(sentence)
        nats -= model.score(torch.tensor([ids]), torch.tensor([len(ids)])).item()
        tokens, words = tokens + len(ids) + 1, words + len(sentence.split()) + 1
    assert row["nats"] == pytest.approx(nats, rel=1e-5)
    assert row["perplexity_token"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert row["perplexity_word"] == pytest.approx(math.exp(nats / words), rel=1e-5)
    # Twelve sentences of at most six words: the best there is, is the seventh root of twelve.
    assert 12 ** (1 / 7) < row["perplexity_word"] < 1.2 * 12 ** (1 / 5)
    card = (out / "model" / "README.md").read_text()
    line = next(line for line in said.splitlines() if line.startswith(f"{tmp_path}/test.txt  "))
    assert line in card and f"{row['perplexity_token']:.2f}" in line
    log = (out / "train_log.txt").read_text().splitlines()
    assert len(log) == 15 and "valid perplexity" in log[0] and "audio" not in log[0]


def test_a_run_that_is_stopped_goes_on_to_the_very_same_weights(run, tmp_path: Path, monkeypatch) -> None:
    whole = run("--transformer_dropout=0.1", out="whole")
    after = StepBrain._after_step

    class Killed(RuntimeError):
        pass

    def killing(brain: StepBrain, *, is_last: bool) -> None:
        after(brain, is_last=is_last)
        if brain.progress.step in kills:
            kills.remove(brain.progress.step)
            raise Killed

    kills = {7, 29}
    monkeypatch.setattr(StepBrain, "_after_step", killing)
    arguments = ("--transformer_dropout=0.1", "--ckpt_interval_steps=3")
    for _ in range(2):
        with pytest.raises(Killed):
            run(*arguments, out="killed")
    text = (tmp_path / "text.txt").read_text()
    (tmp_path / "text.txt").write_text(text + text.splitlines()[0] + "\n")
    with pytest.raises(InputError, match="the training data is not what .* began with"):
        run(*arguments, out="killed")
    (tmp_path / "text.txt").write_text(text)
    killed = run(*arguments, out="killed")
    assert not kills and weights(killed) == weights(whole)
    stores = [CheckpointStore(out / "save", keep_recent=1, keep_best=1).latest() for out in (whole, killed)]
    assert stores[0].meta["perplexity"] == stores[1].meta["perplexity"]
    with pytest.raises(InputError, match="was trained with transformer_dropout=0.1, not 0.3"):
        run("--transformer_dropout=0.3", out="killed")


def test_two_processes_learn_what_one_does(run, tmp_path: Path) -> None:
    alone = run("--transformer_dropout=0.0", "--number_of_epochs=1")
    texts = [f"--{key}=[{tmp_path}/{key.split('_')[0]}.txt]" for key in ("text", "dev_text", "test_text")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(ROOT / "train.py"), str(RECIPES / "small.yaml"), *texts, *SMALL]
    command += [f"--output_folder={tmp_path}/two", "--transformer_dropout=0.0", "--number_of_epochs=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [
        json.loads((folder / "model" / "metrics.json").read_text())["texts"]
        for folder in (alone, tmp_path / "two")
    ]
    for name, row in rows[0].items():
        assert rows[1][name]["tokens"] == row["tokens"] and rows[1][name]["words"] == row["words"]
        assert rows[1][name]["nats"] == pytest.approx(row["nats"], rel=1e-4)


def test_manifests_and_a_recognisers_tokenizer_and_no_text_to_validate_by(run, tmp_path: Path) -> None:
    rows = [Utterance(f"{n}", 1.0, "a.flac", "1", f"{s} {n % 9}") for n, s in enumerate(sentences(300, 1))]
    write_manifest(tmp_path / "train.csv", rows)
    given = train_tokenizer([row.words for row in rows], tmp_path / "asr.model", output_neurons=35)
    options = [f"--text=[{tmp_path}/train.csv]", "--dev_text=[]", f"--tokenizer={tmp_path}/asr.model"]
    out = run(*options, "--number_of_epochs=1", "--test_text=[]")
    _, tokenizer = load_language_model(out / "model")
    assert tokenizer.model_bytes == given.model_bytes
    facts = [
        json.loads((out / "save" / "text" / name / "facts.json").read_text()) for name in ("train", "valid")
    ]
    assert facts[0]["sentences"] + facts[1]["sentences"] == 300 and 0 < facts[1]["sentences"] < 60


def test_testing_again_gives_the_same(run) -> None:
    out = run()
    before = (out / "model" / "metrics.json").read_text(), weights(out)
    run("--test_only")
    again = json.loads((out / "model" / "metrics.json").read_text())
    assert weights(out) == before[1] and again["texts"] == json.loads(before[0])["texts"]


def test_debug_takes_a_few_sentences_of_everything(run) -> None:
    out = run("--debug", "--precision=bf16")
    assert not out.with_name("out").exists()
    assert json.loads((out / "model" / "metrics.json").read_text())["texts"]["valid"]["perplexity_token"] > 1


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_asks_for_a_text_before_anything_else(recipe: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ["--d_model=12", "--nhead=2", "--num_layers=1", "--device=cpu"]
    with pytest.raises(InputError, match=r"text is not given: give --text=\[FILE, ...\]"):
        train(CommandLine.parse([str(recipe), *sizes]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text=[no.txt]"], "text 'no.txt' cannot be read"),
        (["--dev_text=[no.txt]"], "text 'no.txt' cannot be read"),
        (["--text=3"], "--text must be a list such as .*, each item a text"),
        (["--tokenizer=no.model"], "tokenizer 'no.model' cannot be read"),
        (["--output_neurons=5"], "output_neurons 5 is too small"),
        (["--nhead=3"], "d_model 16 must be a multiple of num_heads 3"),
        (["--max_batch_tokens=0"], "max_batch_tokens must be at least 1"),
        (["--max_sentence_tokens=1"], "no sentence of the text can be used .all are too long"),
        (["--mixer=attention"], "no setting 'mixer'"),
        (["--task=juggling"], "task 'juggling', which is not one of asr, lm"),
        (["--record=RESULTS.md"], "--record keeps word error rates"),
        (["--test_only"], "no checkpoint to test"),
    ],
)
def test_what_cannot_work_is_named(run, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        run(*arguments)
    assert "\n" not in str(raised.value)


def test_a_text_too_short_to_hold_out_from_is_named(run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("ONE SENTENCE\n")
    with pytest.raises(InputError, match="too short to hold out a part of it: .* --dev_text"):
        run("--dev_text=[]")
