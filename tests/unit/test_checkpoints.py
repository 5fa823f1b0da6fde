"""Checkpoints: whole or passed over, never lost to a write that fails."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from hyperconformer.errors import InputError
from hyperconformer.training.checkpoints import Checkpoint, CheckpointStore, load_average


def save(store: CheckpointStore, step: int, wer: float | None = None) -> Path:
    meta = {"step": step} if wer is None else {"step": step, "WER": wer}
    weights = {"weight": torch.full((2, 2), float(step)), "bias": torch.zeros(2)}
    return store.save(f"{step:09d}", {"model": weights, "optimizer": {"n": step}}, meta)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path, keep_recent=2, keep_best=2)


def steps(store: CheckpointStore) -> list[int]:
    return [checkpoint.meta["step"] for checkpoint in store.whole()]


def test_the_latest_and_the_best_are_kept(store: CheckpointStore) -> None:
    for step, wer in ((1, 9.0), (2, 7.0), (3, None), (4, 8.0), (5, float("nan")), (6, None)):
        save(store, step, wer)
    assert steps(store) == [6, 5, 4, 2]
    assert [checkpoint.meta["step"] for checkpoint in store.best(9)] == [2, 4]
    assert not list(store.folder.glob(".*"))


def _cut(path: Path) -> None:
    content = (path / "model.ckpt").read_bytes()
    (path / "model.ckpt").write_bytes(content[: len(content) // 2])


def _flip(path: Path) -> None:
    content = bytearray((path / "optimizer.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "optimizer.ckpt").write_bytes(bytes(content))


def _cut_sums(path: Path) -> None:
    (path / "SHA256SUMS").write_text((path / "SHA256SUMS").read_text()[:70])


FAULTS = {
    "torn": (_cut, "model.ckpt"),
    "bit flipped": (_flip, "optimizer.ckpt"),
    "part missing": (lambda path: (path / "model.ckpt").unlink(), "No such file"),
    "no sums": (lambda path: (path / "SHA256SUMS").unlink(), "No such file"),
    "sums cut": (_cut_sums, "cut short"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_one_is_passed_over_and_named(store, caplog, fault: str) -> None:
    save(store, 1), save(store, 2)
    spoil, message = FAULTS[fault]
    spoil(store.folder / "CKPT+000000002")
    found = store.latest()
    assert found is not None and found.meta["step"] == 1
    assert "CKPT+000000002' is passed over" in caplog.text and message in caplog.text
    store.rewind(found)
    save(store, 2)
    assert steps(store) == [2, 1]


def test_after_a_step_back_new_ones_are_kept_though_their_names_are_lower(store) -> None:
    for step, wer in ((50, 5.0), (95, 9.0), (100, 9.0)):
        save(store, step, wer)
    for step in (95, 100):
        _flip(store.folder / f"CKPT+{step:09d}")
    found = store.latest()
    assert found is not None and found.meta["step"] == 50
    store.rewind(found)
    for step in (55, 60, 65):
        save(store, step)
        assert steps(store)[0] == step
    assert steps(store) == [65, 60, 50]
    assert len(list(store.folder.glob(".bad-*"))) == 2


def test_one_that_is_whole_is_not_written_again(store, monkeypatch) -> None:
    path = save(store, 1)
    before = (path / "model.ckpt").stat().st_mtime_ns
    monkeypatch.setattr(Path, "rename", None)
    assert save(store, 1) == path and (path / "model.ckpt").stat().st_mtime_ns == before


@pytest.mark.parametrize("stage", ["first bytes", "last file", "rename"])
def test_a_full_disk_is_reported_and_loses_no_earlier_one(store, monkeypatch, stage: str) -> None:
    save(store, 1, 5.0)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    calls = {"count": 0}
    fsync, rename = os.fsync, Path.rename

    def failing_fsync(handle: int) -> None:
        calls["count"] += 1
        if calls["count"] == (1 if stage == "first bytes" else 4):
            raise full
        fsync(handle)

    def failing_rename(self: Path, target: Path) -> Path:
        raise full

    with monkeypatch.context() as patch:
        if stage == "rename":
            patch.setattr(Path, "rename", failing_rename)
        else:
            patch.setattr(os, "fsync", failing_fsync)
        with pytest.raises(InputError, match=r"000000002' cannot be written \(No space left.*make room"):
            save(store, 2)
    assert Path.rename is rename and steps(store) == [1]
    assert not list(store.folder.glob(".*"))
    save(store, 2)
    assert steps(store) == [2, 1]


def test_what_a_kill_leaves_is_no_checkpoint_and_is_cleaned(store: CheckpointStore) -> None:
    save(store, 1)
    (store.folder / ".draft-000000002").mkdir()
    (store.folder / ".old-CKPT+000000000").mkdir()
    assert steps(store) == [1]
    store.clean()
    assert [path.name for path in store.folder.iterdir()] == ["CKPT+000000001"]


def test_loading_one_runs_nothing(store: CheckpointStore) -> None:
    path = save(store, 1)
    torch.save({"weight": Path}, path / "model.ckpt")
    assert not store.whole()  # its sum tells; and even so:
    with pytest.raises(Exception, match="weights_only|Weights only"):
        Checkpoint(path, {}).load("model")


def test_the_average_is_the_mean_and_leaves_the_checkpoints(store: CheckpointStore) -> None:
    model = torch.nn.Linear(2, 2)
    for step in (1, 2):
        save(store, step, 5.0)
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    load_average(model, store.best(2))
    assert model.weight.tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert before == {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}


def test_the_average_of_moving_averages_counts_where_there_is_one(store: CheckpointStore) -> None:
    model = torch.nn.Linear(2, 2)
    ema = {"weight": torch.full((2, 2), 7.0), "bias": torch.zeros(2)}
    store.save("1", {"model": model.state_dict(), "ema": ema}, {"step": 1, "WER": 1.0})
    load_average(model, store.best(1))
    assert model.weight[0, 0] == 7


def test_meta_is_plain_json(store: CheckpointStore) -> None:
    path = save(store, 3, 4.5)
    assert json.loads((path / "meta.json").read_text()) == {"step": 3, "WER": 4.5}
