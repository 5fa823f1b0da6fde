"""Curves as TensorBoard and W&B would show them, of a run that is interrupted and goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record
from wandb.sdk.internal.datastore import DataStore

from hyperconformer.errors import InputError
from hyperconformer.training import curves
from hyperconformer.training.curves import Curves


def shown(folder: Path, name: str) -> list[tuple[int, float]]:
    """Points of a curve that TensorBoard would draw."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def stored(folder: Path) -> list[dict[str, float]]:
    """Points that W&B keeps until it is told to sync them."""
    points = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        store = DataStore()
        store.open_for_scan(str(file))
        while (data := store.scan_data()) is not None:
            record = Record()
            record.ParseFromString(data)
            items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            if items:
                points.append({name: json.loads(value) for name, value in items.items()})
    return points


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B without a network and without words."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def test_a_continued_run_has_no_point_twice(tmp_path: Path) -> None:
    with Curves(tmp_path) as first:
        for step in range(5):
            first.add(step, {"train/loss": 10 - step, "valid/WER": step})
    with Curves(tmp_path, purge_step=3) as second:
        for step in range(3, 7):
            second.add(step, {"train/loss": 20 - step})
    assert shown(tmp_path, "train/loss") == [(0, 10), (1, 9), (2, 8), (3, 17), (4, 16), (5, 15), (6, 14)]
    assert shown(tmp_path, "valid/WER") == [(0, 0), (1, 1), (2, 2)]
    assert not (tmp_path / "wandb").exists()


def test_a_new_run_in_an_old_folder_shows_nothing_of_the_old_one(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        with Curves(tmp_path) as writer:
            writer.add(0, {"loss": value})
    assert shown(tmp_path, "loss") == [(0, 2)]


def test_points_are_kept_when_the_run_breaks_off(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Curves(tmp_path) as writer:
        writer.add(1, {"loss": 1.5})
        raise ZeroDivisionError
    assert shown(tmp_path, "loss") == [(1, 1.5)]


def test_wandb_goes_on_with_the_same_run(tmp_path: Path, offline: None) -> None:
    folder = tmp_path / "mini" / "7775"
    for start in (1, 3):
        with Curves(folder, wandb=True, purge_step=start, config={"lr": 0.5}) as writer:
            writer.add(start, {"train/loss": start})
            assert (wandb.run.project, wandb.run.name) == ("hyperconformer", "mini/7775")
            assert wandb.run.config["lr"] == 0.5
    wandb.teardown()  # waits until W&B's process has written everything
    points = stored(folder)
    assert [(point["_step"], point["train/loss"]) for point in points] == [(1, 1), (3, 3)]
    identity = (folder / "wandb_id").read_text().strip()
    assert len(list(folder.glob(f"wandb/offline-run-*-{identity}*"))) == 2
    assert shown(folder, "train/loss") == [(1, 1), (3, 3)]


def test_wandb_is_not_imported_unless_asked_for(tmp_path: Path) -> None:
    code = "import sys, pathlib; from hyperconformer.training.curves import Curves\n"
    code += "Curves(pathlib.Path(sys.argv[1])).close(); print({'wandb', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_missing_wandb_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"not installed: pip install 'hyperconformer\[wandb\]'"):
        Curves(tmp_path, wandb=True)
    assert not list(tmp_path.iterdir())


def test_a_wandb_that_refuses_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise wandb.errors.UsageError("no\n  API key")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(
        InputError, match=r"does not start \(no API key\): run 'wandb login', or set WANDB_MODE"
    ):
        Curves(tmp_path, wandb=True)
