"""The doctor names all that is wrong with a machine; each fault here is made on purpose."""

import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hyperconformer.cli import main
from hyperconformer.data.librispeech import scan_split
from hyperconformer.data.manifest import write_manifest
from hyperconformer.doctor import codecs, command, inputs, libraries, machine
from hyperconformer.doctor.findings import GIBIBYTE, Finding

ROOT = Path(__file__).parents[2]
GPU = {"name": "A100", "total": 40 * GIBIBYTE, "free": 39 * GIBIBYTE, "capability": "8.0", "bf16": True}
Usage = namedtuple("Usage", "total used free")


def by_subject(findings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def test_a_machine_that_tests_pass_on_has_no_fault(
    tiny_bundle: Path, tiny_librispeech, capsys: pytest.CaptureFixture[str]
) -> None:
    data_folder = tiny_librispeech()
    assert main(["doctor", f"--model={tiny_bundle}", f"--data_folder={data_folder}"]) == 0
    said = capsys.readouterr().out
    assert "FAULT" not in said
    for line in ("torchaudio", "speechbrain", "m4a decoded", "opens and hears", "test-tiny: 2 utterances"):
        assert line in said


def broken(folder: Path, **packages: str) -> subprocess.CompletedProcess[str]:
    """Run the doctor where some packages are broken in a way of their own."""
    for name, code in packages.items():
        (folder / f"{name}.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}
    doctor = [sys.executable, "-m", "hyperconformer.cli", "doctor", f"--model={folder}"]
    return subprocess.run(doctor, cwd=folder, env=environment, capture_output=True, text=True)


def test_libraries_that_do_not_import_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    done = broken(
        tmp_path,
        torch="raise ImportError('libcudart.so.13: cannot open\\nshared object file')",
        torchaudio="import os, signal\nos.kill(os.getpid(), signal.SIGILL)",
        speechbrain="print('hello')\nimport os\nos._exit(3)",
    )
    assert done.returncode == 1 and done.stderr == ""
    found = {line[9:23].strip(): line for line in done.stdout.splitlines() if not line.startswith(" ")}
    reason = "ImportError: libcudart.so.13: cannot open shared object file"
    assert found["torch"] == f"FAULT    torch          cannot be imported ({reason})"
    assert "dies of SIGILL" in found["torchaudio"] and "ends with status 3" in found["speechbrain"]
    assert found["GPU"].startswith("warning") and found["model"].startswith(
        "FAULT    model          not tried"
    )
    assert found["codecs"].startswith("ok") and found["memory"] and found["disk"]
    assert done.stdout.count("-> ") >= 5 and done.stdout.splitlines()[-1].startswith("faults: 4, warnings: 1")


def test_requirements_that_are_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch>=2.11", "numpy>=99", "no-such-thing>=1", "matplotlib; extra == 'bench'"]
    wanted += ["no-such-extra; extra == 'more'", "pytest; extra == 'test'", "tomli; python_version < '3.11'"]
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    about = {"Provides-Extra": ["bench", "more", "test"]}
    fake = type("Fake", (), {"get_all": lambda self, name: about[name]})
    monkeypatch.setattr(metadata, "metadata", lambda _: fake())
    found = by_subject(libraries.requirements())
    assert found.keys() == {"numpy", "no-such-thing", "libraries", "extra bench", "extra more"}
    assert found["numpy"].level == "warning" and found["numpy"].remedy == "pip install 'numpy>=99'"
    assert found["no-such-thing"].level == "FAULT" and found["libraries"].said.startswith("torch 2.")
    assert found["extra bench"].said.startswith("matplotlib 3.")
    assert (
        found["extra more"].level == "ok" and "pip install 'hyperconformer[more]'" in found["extra more"].said
    )


def test_a_checkout_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> list[str]:
        raise metadata.PackageNotFoundError("hyperconformer")

    monkeypatch.setattr(metadata, "requires", missing)
    [finding] = libraries.requirements()
    assert finding.level == "warning" and "pip install" in finding.remedy


@pytest.mark.parametrize(
    ("facts", "driver", "hidden", "level", "said"),
    [
        (
            {"gpus": [GPU], "cuda": "13.0"},
            "580.1",
            None,
            "ok",
            "39.0 GiB of 40.0 GiB free, capability 8.0, bf16",
        ),
        ({"gpus": [GPU | {"bf16": False}], "cuda": "13.0"}, "", None, "ok", "no bf16, driver unknown"),
        (
            {"gpus": [GPU | {"free": GIBIBYTE}], "cuda": "13.0"},
            "580.1",
            None,
            "warning",
            "1.0 GiB of 40.0 GiB",
        ),
        ({"gpus": [GPU | {"error": "no kernel image"}], "cuda": "13.0"}, "1", None, "FAULT", "not multiply"),
        (
            {"gpus": [], "cuda": "13.0"},
            "535.2",
            None,
            "FAULT",
            "driver 535.2 is there, but PyTorch (built for",
        ),
        ({"gpus": [], "cuda": None}, "535.2", None, "FAULT", "built without CUDA"),
        ({"gpus": [], "cuda": "13.0"}, "535.2", "", "ok", "CUDA_VISIBLE_DEVICES=''"),
        ({"gpus": [], "cuda": "13.0"}, "", None, "ok", "everything runs on the CPU"),
        ({}, "535.2", None, "warning", "PyTorch cannot be imported"),
    ],
)
def test_gpus(facts, driver, hidden, level, said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "driver_version", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    [finding] = machine.gpus(facts)
    assert finding.level == level and said in finding.said and bool(finding.remedy) == (level != "ok")


def test_the_driver_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 580.65.06\necho 580.65.06\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.driver_version() == "580.65.06"


def test_a_container_with_less_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    free, cores = machine.free_memory(), machine.usable_cores()
    for name, text in {
        "cpu.max": "50000 100000", "memory.max": str(3 * GIBIBYTE), "memory.current": str(2 * GIBIBYTE),
        "memory.stat": f"anon 5\ninactive_file {GIBIBYTE // 2}\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text + "\n")
    assert free > machine.free_memory() == GIBIBYTE * 3 // 2
    assert cores > machine.usable_cores() == 0.5
    assert by_subject(machine.memory())["memory"].level == "warning"
    threads = by_subject(machine.cores({"threads": 8}))["threads"]
    assert threads.level == "warning" and "OMP_NUM_THREADS=1" in threads.remedy
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.usable_cores() == cores and machine.free_memory() > 2 * GIBIBYTE


def test_a_processor_without_avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_flags", lambda: {"sse2"})
    found = by_subject(machine.cores({}))
    assert found["processor"].level == "warning" and "threads" not in found


@pytest.mark.parametrize(
    ("free", "shm", "disk"),
    [(0.06, "warning", "FAULT"), (5, "ok", "warning"), (50, "ok", "ok")],
)
def test_little_room(
    free: float, shm: str, disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = Usage(100 * GIBIBYTE, 0, int(free * GIBIBYTE))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    assert by_subject(machine.memory())["shared memory"].level == shm
    [finding] = machine.disk(tmp_path / "not" / "yet")
    assert finding.level == disk and not list(tmp_path.iterdir())


def test_codecs_that_are_missing_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    write = soundfile.write

    def partly(path: Path, samples: np.ndarray, *arguments: int, **options: str) -> None:
        if path.suffix == ".mp3":
            raise ValueError("Unknown format: 'MP3'")
        tone = np.cos(np.arange(len(samples))) if path.suffix == ".flac" else samples
        write(path, tone[: len(tone) // 2] if path.suffix == ".ogg" else tone, *arguments, **options)

    monkeypatch.setattr(soundfile, "write", partly)
    levels = [(finding.level, finding.said.split(":")[0]) for finding in codecs.check()]
    assert [level for level, _ in levels] == ["FAULT", "warning", "warning", "ok"]
    assert [said for _, said in levels[:3]] == ["flac", "ogg", "mp3"] and levels[3][1].startswith(
        "wav, opus, m4a dec"
    )


def test_without_pyav_the_rest_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs.importlib.util, "find_spec", lambda name: None)
    [finding] = codecs.check()
    assert finding.level == "ok" and "mp3 decoded" in finding.said and "no PyAV: no m4a" in finding.said


def test_audio_without_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    [finding] = codecs.check()
    assert finding.level == "FAULT" and "soundfile" in finding.said and "pip install" in finding.remedy


def test_models_and_data_that_are_broken(tiny_librispeech, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    [finding] = inputs.model(tmp_path)
    assert finding.level == "FAULT" and "has no model.safetensors" in finding.said
    data_folder = tiny_librispeech()
    next((data_folder / "test-tiny").rglob("*.flac")).write_bytes(b"no audio")
    found = list(inputs.data(data_folder))
    assert [finding.level for finding in found] == ["FAULT", "ok"] and "cannot be decoded" in found[0].said
    [finding] = inputs.data(tmp_path)
    assert "holds no split" in finding.said


def test_manifests_are_read_and_an_utterance_of_each_is_decoded(tiny_librispeech, tmp_path: Path) -> None:
    utterances = scan_split(tiny_librispeech(), "train-tiny")
    Path(utterances[0].path).rename(tmp_path / "here.flac")
    write_manifest(tmp_path / "near.csv", [replace(utterances[0], path="here.flac")])
    write_manifest(tmp_path / "good.csv", utterances[1:])
    write_manifest(tmp_path / "void.csv", [])
    write_manifest(tmp_path / "gone.csv", [replace(utterances[0], path=str(tmp_path / "gone.flac"))])
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n")
    broken, gone, good, near, void = inputs.data(tmp_path)
    assert broken.level == "FAULT" and "broken.csv" in broken.said
    assert gone.level == "FAULT" and "does not exist" in gone.said
    assert str(good) == "ok       data           good: 5 utterances, 0.00 h, 2 speakers"
    assert near.level == "ok" and (void.level, void.said) == ("FAULT", "void: no utterances")


def test_a_check_that_breaks_does_not_end_the_visit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks() -> None:
        raise RuntimeError("never seen before")

    monkeypatch.setattr(machine, "memory", breaks)
    monkeypatch.setattr(command.libraries, "import_large", lambda: {"torch": {"error": "left out"}})
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "FAULT    memory         could not be looked at (RuntimeError: never seen before)" in said
    assert "codecs" in said and said.splitlines()[-1] == "faults: 2, warnings: 1"
