"""A whole recipe on a tiny corpus: everything it leaves behind, going on, testing again, and its refusals."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jiwer
import pytest
import torch

from hyperconformer.data.manifest import read_manifest
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.mixers import MIXERS
from hyperconformer.training.command import CommandLine
from hyperconformer.training.objectives import joint_loss
from train import train

ROOT = Path(__file__).parents[2]
SMALL = [
    "--train_splits=[train-tiny]",
    "--test_splits=[test-tiny]",
    "--d_model=16",
    "--nhead=2",
    "--d_ffn=32",
    "--num_encoder_layers=1",
    "--number_of_epochs=1",
    "--max_batch_length=3",
    "--beam_size=2",
    "--device=cpu",
    "--noprogressbar",
]

pytestmark = pytest.mark.integration


@pytest.fixture
def run(tiny_librispeech, tmp_path: Path):
    """Run a recipe on the tiny corpus, in a folder of its own; returns the output folder."""
    data_folder = tiny_librispeech(splits={"train-tiny": 12, "test-tiny": 3})

    def call(*arguments: str) -> Path:
        fixed = [f"--data_folder={data_folder}", f"--output_folder={tmp_path}/out", *SMALL]
        train(CommandLine.parse([str(ROOT / "hparams" / "digits.yaml"), *fixed, *arguments]))
        return tmp_path / ("out_debug" if "--debug" in arguments else "out")

    return call


def log_of(out: Path) -> list[str]:
    return (out / "train_log.txt").read_text().splitlines()


def test_a_run_leaves_everything_behind(run, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("--number_of_epochs=2")
    said = capsys.readouterr().out
    assert {"train_log.txt", "hyperparams.yaml", "env.log", "model", "save", "manifests"} <= {
        path.name for path in out.iterdir()
    }
    assert [line.split(",")[0] for line in log_of(out)] == ["epoch: 1", "epoch: 2"]
    metrics = json.loads((out / "model" / "metrics.json").read_text())
    assert set(metrics["splits"]["test-tiny"]) == {"greedy", "joint"}
    assert metrics["tokens"] < metrics["output_neurons"] == 30
    card = (out / "model" / "README.md").read_text()
    for search, row in metrics["splits"]["test-tiny"].items():
        line = next(line for line in said.splitlines() if line.split()[:2] == ["test-tiny", search])
        assert float(line.split()[2]) == pytest.approx(row["wer"], abs=0.0051) and line in card

    transcriber = Transcriber.load(out / "model")
    utterances = read_manifest(out / "manifests" / "test-tiny.csv")
    texts = [transcriber.transcribe(utterance.path).text for utterance in utterances]
    wer = 100 * jiwer.wer([utterance.words for utterance in utterances], texts)
    assert metrics["splits"]["test-tiny"]["greedy"]["wer"] == pytest.approx(wer)
    first = (out / "wer_test-tiny_greedy.txt").read_text().splitlines()[0]
    assert float(re.findall(r"%WER ([\d.]+)", first)[0]) == pytest.approx(wer, abs=0.0051)
    assert (out / "wer_test-tiny.txt").is_file()


def test_the_same_command_goes_on_where_it_stopped(run) -> None:
    out = run("--number_of_epochs=1")
    run("--number_of_epochs=3")
    assert [line.split(",")[0] for line in log_of(out)] == ["epoch: 1", "epoch: 2", "epoch: 3"]


def test_testing_again_gives_the_same_and_deletes_nothing(run) -> None:
    out = run("--number_of_epochs=2")
    metrics = (out / "model" / "metrics.json").read_text()
    checkpoints = sorted((out / "save").iterdir())
    run("--number_of_epochs=2", "--test_only")
    assert (out / "model" / "metrics.json").read_text() == metrics
    assert sorted((out / "save").iterdir()) == checkpoints and len(log_of(out)) == 2


@pytest.mark.parametrize("change", ["--lr=0.001", "--mixer=identity", "--speeds=[100]"])
def test_a_run_does_not_go_on_with_other_settings(run, change: str) -> None:
    out = run()
    record = (out / "hyperparams.yaml").read_text()
    with pytest.raises(InputError, match=f"was trained with {change[2:].split('=')[0]}=.*another --name"):
        run(change)
    assert (out / "hyperparams.yaml").read_text() == record


def test_debug_leaves_a_finished_run_alone(tiny_librispeech, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    data_folder = tiny_librispeech(splits={"train-tiny": 12, "test-tiny": 3})
    recipe = [str(ROOT / "hparams" / "digits.yaml"), f"--data_folder={data_folder}", *SMALL]
    bundles = [train(CommandLine.parse([*recipe, *more])) for more in ([], ["--debug"])]
    assert bundles == [Path("results/digits/7775/model"), Path("results/digits/7775_debug/model")]
    assert len(log_of(Path("results/digits/7775"))) == 1


def test_the_searches_are_reported_in_the_order_asked_for(run) -> None:
    out = run("--decode=[joint, greedy]")
    assert (out / "wer_test-tiny_joint.txt").is_file() and not (out / "wer_test-tiny_greedy.txt").exists()


def test_a_loss_that_is_not_a_number_poisons_nothing(run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def poisoned(*arguments, **options):
        loss = joint_loss(*arguments, **options)
        calls.append(1)
        return replace(loss, total_b=loss.total_b * torch.nan) if len(calls) == 2 else loss

    monkeypatch.setattr("hyperconformer.training.brain.joint_loss", poisoned)
    model, _ = load_bundle(run() / "model")
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("workers", [0, 1])
def test_audio_that_breaks_off_is_named_whoever_reads_it(
    tiny_librispeech, tmp_path: Path, workers: int
) -> None:
    data_folder = tiny_librispeech(splits={"train-tiny": 12, "test-tiny": 3})
    broken = sorted(data_folder.rglob("*.flac"))[-1]
    broken.write_bytes(broken.read_bytes()[:400])
    fixed = [f"--data_folder={data_folder}", f"--output_folder={tmp_path}/out", f"--num_workers={workers}"]
    with pytest.raises(InputError, match=broken.name) as raised:
        train(CommandLine.parse([str(ROOT / "hparams" / "digits.yaml"), *fixed, *SMALL]))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("mixer", MIXERS)
def test_debug_runs_every_mixer_in_half_precision(run, mixer: str) -> None:
    out = run(f"--mixer={mixer}", "--debug", "--precision=bf16", "--eval_precision=bf16")
    assert json.loads((out / "model" / "config.json").read_text())["model"]["mixer"] == mixer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--test_only"], "no checkpoint to test: train first"),
        (["--output_neurons=5"], "output_neurons 5 is too small"),
        (["--train_splits=[train-tinny]"], "train-tinny.*train-tiny"),
        (["--test_splits=[]"], "train_splits and test_splits need a split each"),
        (["--max_utterance_length=0.1"], "raise max_utterance_length"),
        (["--mixer=magic"], "mixer 'magic' is not one of"),
        (["--mixer_options={tide: true}"], "no option 'tide'"),
        (["--d_model=15"], "15"),
        (["--device=tpu0"], "tpu0"),
        (["--mixer_options={hypernet_size: big}"], "big|str"),
        (["--precision=fp16"], "fp16 needs a GPU"),
        (["--data_folder=/no/such"], "'/no/such' does not exist.*\n(.*\n)+.*mini.yaml"),
        (["--dev_splits=[train-tiny]"], "named twice"),
    ],
)
def test_what_cannot_work_is_named(run, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*arguments)


def test_without_data_three_commands_are_shown_and_the_status_is_not_zero(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), str(ROOT / "hparams" / "hyperconformer.yaml")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: data_folder is not set")
    assert [("python train.py" in line) for line in lines] == [False, True, True, True]
    assert not list(tmp_path.iterdir())
