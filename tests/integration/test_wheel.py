"""A wheel built from this source and installed elsewhere does the work, from any folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hyperconformer.audio import SAMPLE_RATE
from hyperconformer.inference.transcriber import Transcriber

ROOT = Path(__file__).parents[2]
SOURCES = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE"]

pytestmark = pytest.mark.integration


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must end well."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves files behind, and picks up what an older one left."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "hyperconformer", source / "hyperconformer", ignore=shutil.ignore_patterns("__pycache__")
    )
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel installs."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--target", target, wheel, cwd=target)
    return target


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "hyperconformer").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    metadata = [name for name in names if ".dist-info/" in name]
    assert set(names) - set(metadata) == modules
    assert {"LICENSE", "NOTICE", "entry_points.txt"} <= {Path(name).name for name in metadata}


def test_the_installed_command_explains_itself(installed: Path, tmp_path: Path) -> None:
    said = run(sys.executable, "-m", "hyperconformer.cli", "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "transcribe" in said


def test_the_installed_package_transcribes_like_the_source(
    installed: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=SAMPLE_RATE)
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, noise, SAMPLE_RATE)
    here = {"cwd": tmp_path, "PYTHONPATH": str(installed)}
    where = run(sys.executable, "-c", "import hyperconformer; print(hyperconformer.__file__)", **here)
    assert Path(where.strip()).is_relative_to(installed)

    transcribe = [sys.executable, "-m", "hyperconformer.cli", "transcribe", "--model", tiny_bundle]
    expected = Transcriber.load(tiny_bundle).transcribe(tmp_path / "a.wav").text
    assert run(*transcribe, "a.wav", **here).rstrip("\n") == expected
    both = run(*transcribe, "a.wav", "b.flac", **here).splitlines()
    assert [line.split(":")[0] for line in both] == ["a.wav", "b.flac"]
