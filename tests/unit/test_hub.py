"""Models on the hub: fetched by a pinned revision, from the cache where it has them, pushed once checked."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hyperconformer.cli import main
from hyperconformer.errors import InputError
from hyperconformer.inference.hub import parse_name, resolve_model
from tests.hub_server import TOKEN, Hub, serving

ROOT = Path(__file__).parents[2]
FIVE = ["README.md", "config.json", "metrics.json", "model.safetensors", "tokenizer.model"]

# One process for several commands: its variables are read when the library is imported.
PROGRAM = """
import contextlib, io, json, os, sys
from pathlib import Path
from hyperconformer.cli import main
from hyperconformer.errors import InputError
from hyperconformer.inference.hub import parse_name, push, resolve_model

def called(function):
    try:
        print(function())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0

MORE = {
    "find": lambda name: called(lambda: resolve_model(name)),
    "copy": lambda folder, name: called(lambda: push(Path(folder), ["config.json"], parse_name(name))),
    "set": lambda name, value: os.environ.update({name: value}),
}
for name, *arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = MORE[name](*arguments) if name in MORE else main([name, *arguments])
    print(json.dumps([status or 0, out.getvalue(), err.getvalue()]))
"""


@dataclass
class Said:
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Its one line."""
        assert (self.status, self.out) == (2, ""), (self.out, self.err)
        line, end, rest = self.err.partition("\n")
        assert line.startswith("error: ") and end and not rest, self.err
        return line


def run(folder: Path, address: str, *commands: list[str], **variables: str) -> list[Said]:
    """Run commands in a process whose hub and cache are these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    program = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [Said(*json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def files(tiny_bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tiny_bundle.iterdir()}


def test_a_model_is_fetched_once_by_its_commit(files: dict[str, bytes], tmp_path: Path) -> None:
    hub = Hub()
    oid = hub.commit("owner/name", files | {"evil.py": b"raise SystemExit", "sub/config.json": b"{}"})
    less = hub.commit("owner/less", {"config.json": files["config.json"]})
    name, main_branch = f"hf://owner/name@{oid}", "hf://owner/name@main"
    with serving(hub) as address:
        checked, moving, again, broken = run(
            tmp_path, address,
            ["check", name], ["find", main_branch], ["find", name], ["check", f"hf://owner/less@{less}"],
        )  # fmt: skip
        assert checked.status == 0 and checked.out.endswith("\nok\n") and checked.err == ""
        assert "has no model.safetensors" in broken.error
        folder = Path(again.out.strip())
        assert sorted(path.name for path in folder.iterdir()) == FIVE
        assert moving.out == again.out and again.err == ""
        assert moving.err == f"warning: {main_branch} may change: it is {name} today\n"
        asked = [each for each in hub.asked if "agent" not in each]
        (cached,) = run(tmp_path, address, ["find", name])
        assert cached == again
        offline, unseen, unsent = run(
            tmp_path, address,
            ["find", main_branch], ["find", f"hf://o/n@{oid}"], ["copy", str(folder), "hf://owner/name"],
            HF_HUB_OFFLINE="1",
        )  # fmt: skip
        assert offline.out == again.out and offline.err == moving.err
        assert "not in the cache, and the hub cannot be reached or HF_HUB_OFFLINE is set" in unseen.error
        assert "HF_HUB_OFFLINE is set: unset it" in unsent.error
        assert [each for each in hub.asked if "agent" not in each] == asked
    # Nobody answers any more.
    there, gone, unsent = run(
        tmp_path, address,
        ["find", name], ["find", "hf://owner/name@v2"], ["copy", str(folder), "hf://owner/name"],
    )  # fmt: skip
    assert there == again and "not in the cache, and the hub cannot be reached" in gone.error
    assert "the hub cannot be reached (" in unsent.error


def test_a_snapshot_that_is_there_in_part_is_completed(files: dict[str, bytes], tmp_path: Path) -> None:
    hub = Hub()
    oid = hub.commit("owner/name", files)
    snapshot = tmp_path / "hf" / "hub" / "models--owner--name" / "snapshots" / oid
    snapshot.mkdir(parents=True)
    with serving(hub) as address:
        (found,) = run(tmp_path, address, ["find", f"hf://owner/name@{oid}"])
    assert found.out.strip() == str(snapshot) and sorted(p.name for p in snapshot.iterdir()) == FIVE


def test_what_the_hub_refuses_is_said_in_one_line(files: dict[str, bytes], tmp_path: Path) -> None:
    hub = Hub(gated={"owner/gated"}, boasts={"model.safetensors": 10**12})
    hub.commit("owner/gated", files)
    hub.commit("owner/name", files)
    wanted = {
        "hf://owner/other@main": "no such repository",
        "hf://owner/gated@main": "must let you in",
        f"hf://owner/name@{'0' * 40}": "no such revision",
        "hf://owner/name@v7": "no such revision",
        "hf://owner/name@main": "model.safetensors has 1,000,000,000,000 bytes, more than",
    }
    with serving(hub) as address:
        said = run(tmp_path, address, *(["find", name] for name in wanted))
        evaluate = ["evaluate", "hf://owner/other@main", "--data_folder", "x", "--splits", "y"]
        said += run(tmp_path, address, evaluate)
    for found, (name, reason) in zip(said, [*wanted.items(), next(iter(wanted.items()))], strict=True):
        assert found.error.startswith(f"error: {name}: ") and reason in found.error
    assert not [asked for asked in hub.asked if "resolve" in asked]


def test_a_push_checks_and_makes_one_commit(
    tiny_bundle: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    hub, model, there = Hub(), str(tiny_bundle), "hf://owner/name"
    copy, broken = (Path(shutil.copytree(tiny_bundle, tmp_path / name)) for name in ("copy", "broken"))
    (copy / "secret.txt").write_text("not to be shared")
    (broken / "metrics.json").write_text("{")
    with serving(hub) as address:
        stranger, _, refused, first, second = run(
            tmp_path, address,
            ["push", model, there], ["set", "HF_TOKEN", TOKEN], ["push", str(broken), there],
            ["push", model, there, "--private"], ["push", str(copy), there],
        )  # fmt: skip
    assert "status 401: `hf auth login` with a token that may write there" in stranger.error
    assert "metrics.json cannot be used" in refused.error
    oid = hub.branches["owner/name"]["main"]
    assert (first.status, first.err) == (0, "") and second.out == first.out == f"hf://owner/name@{oid}\n"
    assert hub.commits[oid] == files and [made["visibility"] for made in hub.created] == ["private"]


def test_a_path_is_never_a_name_on_the_hub(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resolve_model("owner/name") == Path("owner/name")
    assert main(["check", "owner/name"]) == 2
    said = capsys.readouterr().err
    assert "'owner/name' is not a folder: give the 'model' folder that training wrote, or hf://owner/" in said


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://name", "hf://a/b/c", "hf://../b", "hf://a/..", "hf://a/b@", "hf://a/b@../x",
     "hf://a/b@x y", "hf:/a/b", "https://huggingface.co/a/b", "hf://a/b@x@y"],
)  # fmt: skip
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="names no repository: write hf://OWNER/NAME"):
        parse_name(text)


def test_a_command_that_knows_no_hub_says_which_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "speechbrain", "--model", "hf://owner/name@main", "--output", "x"]) == 2
    assert "only check, evaluate and transcribe fetch a model from the hub" in capsys.readouterr().err


def test_a_name_needs_a_revision_and_a_push_has_none(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "hf://owner/name"]) == 2
    assert "write hf://owner/name@REVISION" in capsys.readouterr().err
    assert main(["push", str(tiny_bundle), "hf://owner/name@main"]) == 2
    assert "leave out what follows @" in capsys.readouterr().err


def test_the_library_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"hf://owner/name@main: needs huggingface_hub: pip install"):
        resolve_model("hf://owner/name@main")
