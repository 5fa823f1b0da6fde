"""A contest of seconds from the command line: stopped on its way, gone on with, told, and not done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = """
base: !include:{root}/hparams/base/small.yaml
name: contest_tiny
train_splits: [train-tiny]
test_splits: [test-tiny]
output_neurons: 20
d_model: 16
nhead: 2
d_ffn: 64
num_encoder_layers: 1
frontend_channels: [4, 4]
number_of_epochs: {epochs}
max_batch_length: 4.0
beam_size: 2
decode: [greedy, joint]
"""

pytestmark = pytest.mark.integration


def leave_contest(folder: Path, epochs: int) -> Path:
    """Write a contest of two systems, one of them SpeechBrain's."""
    folder.mkdir()
    (folder / "systems.yaml").write_text("ours: {}\nspeechbrain: {modules: speechbrain}\n")
    (folder / "budgets.yaml").write_text(
        "tiny: {seeds: [1, 2], parts: {tones: {recipe: tiny.yaml, folder: tones}}}\n"
    )
    (folder / "tiny.yaml").write_text(RECIPE.format(root=ROOT, epochs=epochs))
    return folder


def command(contest: Path, data_folder: Path, output: Path, *further: str) -> list[str]:
    given = [
        f"--recipes={contest}",
        "--budget=tiny",
        f"--data_folder={data_folder}",
        f"--output={output}",
        *further,
    ]
    return [sys.executable, "-m", "hyperconformer.cli", "bench", "contest", *given]


def begin(arguments: list[str]) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def whole(arguments: list[str]) -> tuple[str, str]:
    process = begin(arguments)
    said, progress = process.communicate()
    assert process.returncode == 0, progress
    return said, progress


def test_a_contest_is_stopped_goes_on_and_is_told(tiny_librispeech, tmp_path: Path) -> None:
    data_folder = tiny_librispeech(splits={"train-tiny": 8, "test-tiny": 4})
    contest, results = leave_contest(tmp_path / "contest", epochs=40), tmp_path / "RESULTS.md"
    output = tmp_path / "out"
    arguments = command(contest, data_folder, output, "--jobs=2", "--seeds=1", f"--record={results}")
    process = begin(arguments)
    while len(list(output.glob("runs/*/train_log.txt"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    logs = {log.parent.name: len(log.read_text().splitlines()) for log in output.glob("runs/*/train_log.txt")}
    assert not (output / "runs.jsonl").exists() and all(count < 40 for count in logs.values())
    said, _ = whole(arguments)
    lines = {line["run"]: line for line in map(json.loads, (output / "runs.jsonl").read_text().splitlines())}
    assert set(lines) == {"tones, ours, seed 1", "tones, speechbrain, seed 1"}
    assert {line["key"] for line in lines.values()} == logs.keys()
    for line in lines.values():
        assert (line["status"], len(line["epochs"])) == ("ok", 40) and line["steps"] >= 40
        assert len(line["splits"]["test-tiny"]["loss"]) == 4 and set(line["joined"]) == {
            "15",
            "30",
            "60",
            "120",
        }
        assert (
            line["splits"]["test-tiny"]["word_edits"].keys() == {"greedy", "joint"} and line["peak_mib"] > 100
        )
    sizes = [line["parameters"] for line in lines.values()]
    assert abs(sizes[1] / sizes[0] - 1) <= 0.03
    for heading in ("", ", joined recordings", ", speed", ", trainings", ", verdicts"):
        assert f"### tones, tiny{heading}" in said and f"### tones, tiny{heading}\n" in results.read_text()
    assert results.read_text().startswith("# Results\n\n## Contest\n")
    assert (output / "tones_length.svg").is_file() and (output / "tones_epochs.svg").is_file()
    again, progress = whole(arguments)
    # Encoders are timed anew, when nothing else runs.
    speed = "### tones, tiny, speed"
    assert progress.count("done before") == 2 and again.split(speed)[0] == said.split(speed)[0] != said
