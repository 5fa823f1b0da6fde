"""A training that is killed ten times, without warning, ends with the very weights of one left alone."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hyperconformer.training.checkpoints import CheckpointStore
from hyperconformer.training.command import CommandLine
from train import train

ROOT = Path(__file__).parents[2]
KILLS, WHILE_WRITING, EARLY = 10, 3, 3
EPOCHS = 5
SEED = 20_26

pytestmark = pytest.mark.slow


def arguments(out: Path, corpus: Path) -> list[str]:
    return [
        str(ROOT / "hparams" / "mini.yaml"),
        f"--data_folder={corpus}",
        f"--output_folder={out}",
        f"--number_of_epochs={EPOCHS}",
        "--num_workers=2",
        "--grad_accumulation_factor=3",
        "--max_batch_length=90",
        "--ckpt_interval_steps=5",
        "--d_model=64",
        "--d_ffn=128",
        "--num_encoder_layers=2",
        "--transformer_dropout=0.1",
        "--ema_decay=0.9",
        "--decode=[greedy]",
        "--device=cpu",
        "--noprogressbar",
    ]


def store(out: Path) -> CheckpointStore:
    return CheckpointStore(out / "save", keep_recent=1, keep_best=1)


def wait_for(process: subprocess.Popen, happened) -> None:
    """Look until something is so; the training must not end before."""
    while not happened():
        assert process.poll() is None, "the training ended before it was killed: give it more epochs"
        time.sleep(0.0005)


def kill_while_writing(process: subprocess.Popen, out: Path, dice: random.Random) -> None:
    saves = dice.randint(1, 2)
    for _ in range(saves):
        wait_for(process, lambda: not list((out / "save").glob(".draft-*")))
        wait_for(process, lambda: list((out / "save").glob(".draft-*")))


def kill_anywhere(process: subprocess.Popen, out: Path, dice: random.Random) -> None:
    before = newest(out)
    wait_for(process, lambda: newest(out) != before)
    time.sleep(dice.uniform(0, 4))


def kill_early(process: subprocess.Popen, out: Path, dice: random.Random) -> None:
    """Before or while the first steps are taken: imports, manifests, settings, loading."""
    time.sleep(dice.uniform(0, 12))
    assert process.poll() is None


def newest(out: Path) -> str:
    return max((path.name for path in (out / "save").glob("CKPT+*")), default="")


def position(out: Path) -> tuple[int, int]:
    found = store(out).latest()
    if found is None:
        return 1, 0
    progress = found.meta["progress"]
    return progress["epoch"], progress["step_in_epoch"]


def test_ten_kills_change_no_bit(tmp_path: Path) -> None:
    corpus, whole, out = tmp_path / "corpus", tmp_path / "whole", tmp_path / "killed"
    train(CommandLine.parse(arguments(whole, corpus)))

    dice, in_epoch, in_write = random.Random(SEED), 0, 0
    moments = [kill_while_writing] * WHILE_WRITING + [kill_early] * EARLY
    moments += [kill_anywhere] * (KILLS - len(moments))
    dice.shuffle(moments)
    for moment in moments:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *arguments(out, corpus)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        moment(process, out, dice)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        drafts = list((out / "save").glob(".draft-*"))
        in_write += bool(drafts)
        in_epoch += position(out)[1] > 0
        print(f"killed at {position(out)}, {'while writing' if drafts else 'between checkpoints'}")
    assert in_epoch >= 3 and in_write >= 2

    train(CommandLine.parse(arguments(out, corpus)))
    for name in ("model.safetensors", "config.json", "tokenizer.model"):
        assert (out / "model" / name).read_bytes() == (whole / "model" / name).read_bytes(), name
    ours, theirs = store(out).latest(), store(whole).latest()
    assert ours.path.name == theirs.path.name
    for part in ("model", "optimizer", "ema"):
        assert same(ours.load(part), theirs.load(part)), part
    losses = [[line.split(" - valid ")[1] for line in log(folder)] for folder in (out, whole)]
    assert losses[0] == losses[1] and len(losses[0]) == EPOCHS


def log(out: Path) -> list[str]:
    return (out / "train_log.txt").read_text().splitlines()


def same(one, other) -> bool:
    """Whether two nested states are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
