"""What goes wrong in a training: each fault is named, nothing learnt is lost, nothing is poisoned."""

import errno
import json
import os
import pkgutil
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from hyperconformer.errors import InputError
from hyperconformer.training.checkpoints import CheckpointStore
from hyperconformer.training.command import CommandLine
from hyperconformer.training.objectives import joint_loss
from hyperconformer.training.progress import Stopped, TooLittleMemory, TooManySkipped
from train import train

ROOT = Path(__file__).parents[2]
TINY = [
    "--train_splits=[train-tiny]",
    "--test_splits=[test-tiny]",
    "--d_model=16",
    "--nhead=2",
    "--d_ffn=32",
    "--num_encoder_layers=1",
    "--number_of_epochs=2",
    "--max_batch_length=3",
    "--ckpt_interval_steps=2",
    "--decode=[greedy]",
    "--device=cpu",
    "--noprogressbar",
]

pytestmark = pytest.mark.integration


@pytest.fixture
def corpus(tiny_librispeech) -> Path:
    """Fourteen utterances, of which training gets twelve or thirteen."""
    return tiny_librispeech(splits={"train-tiny": 14, "test-tiny": 3})


def arguments(corpus: Path, out: Path, *more: str) -> list[str]:
    recipe = str(ROOT / "hparams" / "digits.yaml")
    return [recipe, f"--data_folder={corpus}", f"--output_folder={out}", *TINY, *more]


def run(corpus: Path, out: Path, *more: str) -> Path:
    train(CommandLine.parse(arguments(corpus, out, *more)))
    return out


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


def store(out: Path) -> CheckpointStore:
    return CheckpointStore(out / "save", keep_recent=99, keep_best=99)


def last_log(out: Path) -> str:
    return (out / "train_log.txt").read_text().splitlines()[-1]


def loss_that(monkeypatch: pytest.MonkeyPatch, bad, change) -> None:
    """Let the n-th call of the loss, where ``bad(n)``, be changed."""
    calls = []

    def changed(*positional, **options):
        calls.append(1)
        loss = joint_loss(*positional, **options)
        return change(loss) if bad(len(calls)) else loss

    monkeypatch.setattr("hyperconformer.training.brain.joint_loss", changed)


def not_a_number(loss):
    return replace(loss, total_b=loss.total_b * torch.nan)


def out_of_memory(loss):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_broken_latest_checkpoint_is_passed_over_and_the_result_is_the_same(corpus, tmp_path) -> None:
    whole = run(corpus, tmp_path / "whole")
    out = run(corpus, tmp_path / "out", "--number_of_epochs=1", "--keep_recent=9")
    latest = sorted((out / "save").glob("CKPT+*"))[-1]
    content = bytearray((latest / "model.ckpt").read_bytes())
    content[len(content) // 2] ^= 4
    (latest / "model.ckpt").write_bytes(bytes(content))
    run(corpus, out, "--keep_recent=9")
    assert f"'{latest}' is passed over" in (out / "log.txt").read_text()
    assert same(whole, out)


@pytest.mark.parametrize("change", [not_a_number, out_of_memory])
def test_a_bad_batch_is_skipped_named_and_counted(corpus, tmp_path, monkeypatch, change) -> None:
    loss_that(monkeypatch, lambda call: call == 2, change)
    out = run(corpus, tmp_path / "out", "--number_of_epochs=1")
    assert all(tensor.isfinite().all() for tensor in weights(out).values())
    warning = next(line for line in (out / "log.txt").read_text().splitlines() if "is skipped" in line)
    assert "Step 2 is skipped" in warning and "10-1-00" in warning
    assert "train skipped: 1" in last_log(out)
    assert ("train out_of_memory: 1" in last_log(out)) == (change is out_of_memory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (not_a_number, r"3 steps in a row.*loss nan.*1-00.*--lr"),
        (out_of_memory, "memory.*--max_batch_length"),
    ],
)
def test_too_many_bad_batches_in_a_row_end_the_run(corpus, tmp_path, monkeypatch, change, message) -> None:
    loss_that(monkeypatch, lambda call: call > 2, change)
    with pytest.raises(InputError, match=message) as ended:
        run(corpus, tmp_path / "out", "--nonfinite_patience=3")
    # Whoever trains many must tell want of memory from divergence.
    assert isinstance(ended.value, TooManySkipped)
    assert isinstance(ended.value, TooLittleMemory) == (change is out_of_memory)
    state = store(tmp_path / "out").latest().load("model")
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_audio_that_breaks_within_an_epoch_ends_the_run_which_then_goes_on(corpus, tmp_path) -> None:
    whole, out = run(corpus, tmp_path / "whole"), tmp_path / "out"
    spoilt = corpus.rglob("10-1-0004.flac").__next__()
    sound = spoilt.read_bytes()
    run(corpus, out, "--number_of_epochs=1")
    spoilt.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(InputError, match="10-1-0004.*same command goes on.*--max_unreadable"):
        run(corpus, out)
    spoilt.write_bytes(sound)
    run(corpus, out)
    assert same(whole, out)


def test_audio_that_breaks_can_be_left_out_and_is_counted(corpus, tmp_path) -> None:
    spoilt = corpus.rglob("10-1-0004.flac").__next__()
    sound = spoilt.read_bytes()
    spoilt.write_bytes(sound[: len(sound) // 2])
    out = run(corpus, tmp_path / "out", "--max_unreadable=1", "--num_workers=1")
    assert "train unreadable: 1" in last_log(out)
    assert "Left out of its batch: audio file" in (out / "log.txt").read_text()


def test_a_transcript_longer_than_ctc_can_align_is_left_out_and_named(corpus, tmp_path) -> None:
    chapter = corpus / "train-tiny" / "10" / "1"
    soundfile.write(chapter / "10-1-0099.flac", np.zeros(3200), 16_000)
    with (chapter / "10-1.trans.txt").open("a") as transcript:
        transcript.write("10-1-0099 " + "SEVEN " * 40 + "\n")
    out = run(corpus, tmp_path / "out", "--number_of_epochs=1", "--dev_splits=[]")
    assert (
        "Left out 1 utterances too short for CTC to emit all their tokens, e.g. 10-1-0099"
        in (out / "log.txt").read_text()
    )


def start(corpus: Path, out: Path, *more: str, **options) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "train.py"), *arguments(corpus, out, *more)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_a_full_disk_ends_in_one_line_and_keeps_what_was_written(corpus, tmp_path) -> None:
    out = run(corpus, tmp_path / "out", "--number_of_epochs=1")
    before = [checkpoint.path.name for checkpoint in store(out).whole()]
    assert before

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    process = start(corpus, out, preexec_fn=small_files)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert errors.splitlines()[-1].startswith("error: checkpoint '") and "make room" in errors
    assert "Traceback" not in errors
    assert [checkpoint.path.name for checkpoint in store(out).whole()] == before
    whole = run(corpus, tmp_path / "whole")
    run(corpus, out)
    assert same(whole, out)


@pytest.mark.parametrize("place", ["log.replace_text", "loop.KeptBrain.save"])
def test_a_disk_that_fills_up_at_an_epochs_end_costs_nothing(corpus, tmp_path, monkeypatch, place) -> None:
    whole, out = run(corpus, tmp_path / "whole"), tmp_path / "out"
    with monkeypatch.context() as patch:
        name = f"hyperconformer.training.{place}"
        patch.setattr(name, full_disk_once_something_is_kept(out, name))
        with pytest.raises(OSError, match="No space left"):
            run(corpus, out)
    run(corpus, out)
    assert same(whole, out)
    assert [line.split(" - valid")[1] for line in (out / "train_log.txt").read_text().splitlines()] == [
        line.split(" - valid")[1] for line in (whole / "train_log.txt").read_text().splitlines()
    ]


def full_disk_once_something_is_kept(out: Path, name: str):
    """What stands for a function of that name, and fails at an epoch's end."""
    real = pkgutil.resolve_name(name)

    def full(*positional, **options):
        if name.endswith("save") and positional[1:2] != ("+end",):
            return real(*positional, **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return full


def test_settings_that_a_kill_left_behind_are_whole(corpus, tmp_path, monkeypatch) -> None:
    out = run(corpus, tmp_path / "out", "--number_of_epochs=1")
    record = (out / "hyperparams.yaml").read_text()

    def killed(handle: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hyperconformer.training.files.os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            run(corpus, out, "--number_of_epochs=3")
    assert (out / "hyperparams.yaml").read_text() == record
    run(corpus, out, "--number_of_epochs=2")


def test_a_debugging_run_does_not_write_over_a_real_one(corpus, tmp_path) -> None:
    out = run(corpus, tmp_path / "out", "--number_of_epochs=1")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    run(corpus, out, "--debug")
    assert (tmp_path / "out_debug" / "model").is_dir()
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_run_does_not_go_on_with_other_data_precision_or_optimizer(corpus, tmp_path, monkeypatch) -> None:
    out = run(corpus, tmp_path / "out", "--number_of_epochs=1")
    with pytest.raises(InputError, match="was trained in fp32, not bf16: give --precision=fp32"):
        run(corpus, out, "--precision=bf16")
    with pytest.raises(InputError, match="was trained with optimizer='muon', not 'adamw'"):
        run(corpus, out, "--optimizer=adamw")
    with monkeypatch.context() as patch:
        moved = "hyperconformer.training.optimizer.hidden_matrices"
        patch.setattr(moved, lambda model: [model.ctc_head.weight])
        with pytest.raises(InputError, match="was written by an optimizer that moved other weights"):
            run(corpus, out)
    transcript = corpus / "train-tiny" / "10" / "1" / "10-1.trans.txt"
    transcript.write_text(transcript.read_text().replace("THREE", "FOUR", 1))
    with pytest.raises(InputError, match="the training data is not what .* began with"):
        run(corpus, out)


def test_two_trainings_do_not_share_a_folder(corpus, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out"

    def second(loss):
        _, errors = (process := start(corpus, out)).communicate(timeout=120)
        assert process.returncode == 2 and "error: another training is at work in" in errors
        return loss

    loss_that(monkeypatch, lambda call: call == 2, second)
    run(corpus, out, "--number_of_epochs=1")


def test_a_validation_that_lacks_memory_is_named_and_the_epoch_is_kept(corpus, tmp_path, monkeypatch) -> None:
    def no_memory(*positional):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("hyperconformer.training.brain.ASRBrain._decode", no_memory)
        with pytest.raises(
            InputError, match="not enough memory to evaluate 1 utterances.*accumulation_factor"
        ):
            run(corpus, tmp_path / "out")
    progress = store(tmp_path / "out").latest().meta["progress"]
    assert progress["epoch"] == 1 and progress["step_in_epoch"] == progress["step"] == 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_leaves_a_checkpoint_to_go_on_from(number, corpus, tmp_path, monkeypatch) -> None:
    whole, out = run(corpus, tmp_path / "whole"), tmp_path / "out"

    def ask(loss):
        signal.raise_signal(number)
        return loss

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        loss_that(patch, lambda call: call == 2, ask)
        with pytest.raises(Stopped, match="epoch 1, step 3") as stopped:
            run(corpus, out)
    assert stopped.value.number == number and signal.getsignal(number) is before
    assert store(out).latest().meta["step"] == 3
    run(corpus, out)
    assert same(whole, out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_every_process_leaves_a_checkpoint(number, corpus, tmp_path) -> None:
    process = start(
        corpus, tmp_path / "out", "--number_of_epochs=2000", "--num_workers=2", start_new_session=True
    )
    wait_for_checkpoint(process, tmp_path / "out")
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "stopped as asked in epoch" in errors and "Traceback" not in errors


def torchrun(corpus: Path, out: Path, *more: str) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return [*launcher, str(ROOT / "train.py"), *arguments(corpus, out, *more)]


ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def test_two_processes_learn_what_one_does(corpus, tmp_path) -> None:
    # Adam divides by the gradient's size, so where that is nearly zero its rounding would decide.
    steady = ["--adam_eps=0.1", "--lr=0.02", "--n_warmup_steps=3"]
    exact = ["--transformer_dropout=0", "--max_batch_length=6", "--ema_decay=0.5", *steady]
    one = run(corpus, tmp_path / "one", *exact)
    subprocess.run(
        torchrun(corpus, tmp_path / "two", *exact),
        check=True,
        capture_output=True,
        timeout=300,
        env=ONE_THREAD,
    )
    ours, theirs = weights(one), weights(tmp_path / "two")
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-4, atol=3e-5)
    losses = log_numbers(tmp_path / "one")
    assert min(losses) < 0.9 * max(losses)
    for left, right in zip(*(log_numbers(tmp_path / name) for name in ("one", "two")), strict=True):
        assert right == pytest.approx(left, rel=1e-4)
    heard = [(tmp_path / name / "wer_test-tiny.txt").read_text().splitlines()[0] for name in ("one", "two")]
    assert heard[0] == heard[1]


def log_numbers(out: Path) -> list[float]:
    """The losses and WERs of the log."""
    return [
        float(entry.rpartition(": ")[2])
        for line in (out / "train_log.txt").read_text().splitlines()
        for entry in line.replace(" - ", ", ").split(", ")
        if "loss" in entry or "WER" in entry or "ctc" in entry
    ]


def test_a_launcher_that_is_asked_to_stop_leaves_a_checkpoint(corpus, tmp_path) -> None:
    command = torchrun(corpus, tmp_path / "out", "--number_of_epochs=2000", "--ckpt_interval_steps=0")
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ONE_THREAD
    )
    try:
        wait_for_checkpoint(process, tmp_path / "out")
        process.terminate()
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0 and "stopped as asked in epoch" in output
    # No epoch's end and no interval is in the middle of an epoch.
    names = [path.name for path in (tmp_path / "out" / "save").glob("CKPT+*")]
    assert any("end" not in name for name in names)


def wait_for_checkpoint(process: subprocess.Popen, out: Path) -> None:
    deadline = time.monotonic() + 120
    while not list((out / "save").glob("CKPT+*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def test_a_killed_process_ends_the_others_with_an_error(corpus, tmp_path) -> None:
    command = torchrun(corpus, tmp_path / "out", "--number_of_epochs=2000")
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ONE_THREAD
    )
    try:
        wait_for_checkpoint(process, tmp_path / "out")
        os.kill(_worker(process.pid), signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0 and "SIGKILL" in output
    assert store(tmp_path / "out").latest() is not None


def _worker(launcher: int) -> int:
    """The second training process of a launcher."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    training = [
        pid for pid in children if b"RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    ]
    return int(training[0])


def test_the_checkpoints_say_where_they_stand(corpus, tmp_path) -> None:
    out = run(corpus, tmp_path / "out", "--number_of_epochs=1")
    metas = [json.loads(path.read_text()) for path in sorted((out / "save").glob("CKPT+*/meta.json"))]
    assert metas[-1]["progress"]["epoch"] == 2 and "WER" in metas[-1]
    assert metas[0]["progress"]["epoch"] == 1 and metas[0]["progress"]["step_in_epoch"] == metas[0]["step"]
    shutil.rmtree(out)
