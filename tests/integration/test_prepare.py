"""The whole command, from a server or a folder to a recipe that trains on what it wrote."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hyperconformer.cli import main
from hyperconformer.data.archives import ARCHIVES, Archive
from hyperconformer.data.librispeech import scan_split
from hyperconformer.data.manifest import read_manifest
from tests.http_server import Manners, serving

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.integration


@pytest.fixture
def openslr(tiny_librispeech, monkeypatch: pytest.MonkeyPatch) -> Manners:
    """A server with a tiny mini-LibriSpeech, whose connections break."""
    folder = tiny_librispeech(splits={"train-clean-5": 12, "dev-clean-2": 3})
    files = {}
    for split, count in (("train-clean-5", 12), ("dev-clean-2", 3)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            tar.add(folder / split, f"LibriSpeech/{split}")
        files[f"/31/{split}.tar.gz"] = buffer.getvalue()
        known = Archive(31, f"md5:{hashlib.md5(buffer.getvalue()).hexdigest()}", count)
        monkeypatch.setitem(ARCHIVES, split, known)
    return Manners(files, cuts=[2000])


def test_download_prepare_report(
    openslr: Manners, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(openslr) as mirror:
        command = ["prepare", "librispeech", "--data_folder", str(tmp_path), "--download", "--mirror", mirror]
        command += ["--splits", "train-clean-5", "dev-clean-2", "--decode", "--noprogressbar"]
        assert main(command) == 0
        said = capsys.readouterr()
        assert "train-clean-5: 12 utterances, 0.00 h, 2 speakers" in said.out and said.err == ""
        manifest = tmp_path / "manifests" / "dev-clean-2.csv"
        assert f"-> {manifest}" in said.out
        assert read_manifest(manifest) == scan_split(tmp_path, "dev-clean-2")
        asked, before = len(openslr.asked), manifest.read_bytes()
        assert main(command) == 0 and manifest.read_bytes() == before
    assert asked == 3 == len(openslr.asked)


def test_a_server_that_lacks_it_is_one_line(
    openslr: Manners, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    openslr.files.clear()
    with serving(openslr) as mirror:
        command = ["prepare", "librispeech", "--data_folder", str(tmp_path / "new"), "--download"]
        assert main([*command, "--mirror", mirror, "--splits", "dev-clean-2"]) == 2
    said = capsys.readouterr()
    assert (
        said.out == "" and said.err.startswith("error: the server answers 404") and said.err.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["librispeech", "--data_folder", "/nowhere", "--download"],
            "--download needs --splits: name some of",
        ),
        (["librispeech", "--data_folder", "."], "holds no split, .* fetch some of dev-clean"),
        (["custom", "no.csv", "--output", "out"], "'no.csv' does not exist"),
        (
            ["custom", ".", "--output", "out", "--columns", "sound=a"],
            "--columns sound=a: write WHAT=NAME, WHAT",
        ),
        (["custom", ".", "--output", "out", "--columns", "audio"], "--columns audio=: write"),
    ],
)
def test_wrong_arguments_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == 2
    said = capsys.readouterr().err
    assert re.search(complaint, said) and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_real_speech_by_another_way_gives_the_same_manifest(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(shared_data / "digits")
    assert main(["prepare", "librispeech", "--data_folder", folder, "--output", str(tmp_path)]) == 0
    splits = {split: read_manifest(tmp_path / f"{split}.csv") for split in ("train-digits", "test-digits")}
    assert "555 utterances, 0.44 h, 6 speakers" in capsys.readouterr().out
    table = tmp_path / "test.jsonl"
    keys = ("id", "duration", "audio_filepath", "speaker", "text")
    rows = [dict(zip(keys, vars(u).values(), strict=True)) for u in splits["test-digits"]]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for source in (table, tmp_path / "test-digits.csv"):
        out = tmp_path / source.stem
        assert main(["prepare", "custom", str(source), "--output", str(out), "--split", "test-digits"]) == 0
        assert (out / "test-digits.csv").read_bytes() == (tmp_path / "test-digits.csv").read_bytes()


def test_a_recipe_trains_on_prepared_manifests(tiny_librispeech, tmp_path: Path) -> None:
    data = tiny_librispeech(splits={"train-tiny": 12, "test-tiny": 3})
    for split in ("train-tiny", "test-tiny"):
        flat = tmp_path / "in" / split
        for utterance in scan_split(data, split):
            target = flat / utterance.speaker / Path(utterance.path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(utterance.path).rename(target)
            target.with_suffix(".txt").write_text(utterance.words.capitalize() + ".")
        options = ["--split", split.removesuffix("-tiny"), "--upper", "--strip_punctuation"]
        assert main(["prepare", "custom", str(flat), "--output", str(tmp_path / "ready"), *options]) == 0
    train = [
        sys.executable,
        "train.py",
        "hparams/digits.yaml",
        "--corpus=manifests",
        "--noprogressbar",
        "--debug",
    ]
    train += [
        f"--data_folder={tmp_path / 'ready'}",
        f"--output_folder={tmp_path / 'run'}",
        "--decode=[greedy]",
    ]
    train += ['--train_splits=["train"]', '--test_splits=["test"]', "--number_of_epochs=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(train, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test: 3 utterances" in done.stdout
    assert read_manifest(tmp_path / "run_debug" / "manifests" / "test.csv") == read_manifest(
        tmp_path / "ready" / "test.csv"
    )
