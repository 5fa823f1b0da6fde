"""InterCTC and CR-CTC in whole runs: what the loss is given, in training and validation, in any precision."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hyperconformer.models.asr import Outputs
from hyperconformer.training.command import CommandLine
from hyperconformer.training.objectives import Loss, joint_loss
from train import train

ROOT = Path(__file__).parents[2]
SMALL = [
    "--train_splits=[train-tiny]",
    "--test_splits=[test-tiny]",
    "--decode=[greedy]",
    "--d_model=16",
    "--nhead=2",
    "--d_ffn=32",
    "--num_encoder_layers=2",
    "--number_of_epochs=1",
    "--max_batch_length=4.5",
    "--device=cpu",
    "--noprogressbar",
]
DIALS = ["--inter_ctc_layers=[1]", "--cr_ctc_weight=0.2", "--label_smoothing=0.1", "--weight_decay=0.01"]

pytestmark = pytest.mark.integration


@pytest.fixture
def seen(tiny_librispeech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a recipe on the tiny corpus; returns what the loss was given and what it gave, batch by batch."""
    data_folder = tiny_librispeech(splits={"train-tiny": 12, "test-tiny": 3})
    calls: list[tuple[Outputs, Tensor, Loss]] = []

    def watched(outputs: Outputs, tokens_bl: Tensor, *arguments, **options) -> Loss:
        loss = joint_loss(outputs, tokens_bl, *arguments, **options)
        calls.append((outputs, tokens_bl, loss))
        return loss

    monkeypatch.setattr("hyperconformer.training.brain.joint_loss", watched)

    def run(*arguments: str) -> list[tuple[Outputs, Tensor, Loss]]:
        folders = [f"--data_folder={data_folder}", f"--output_folder={tmp_path}/out"]
        bundle = train(
            CommandLine.parse([str(ROOT / "hparams" / "digits.yaml"), *folders, *SMALL, *arguments])
        )
        assert json.loads((bundle / "metrics.json").read_text())["splits"]
        return calls

    return run


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_sees_two_views_and_validation_one(seen, precision: str) -> None:
    calls = seen(*DIALS, f"--precision={precision}")
    training = [call for call in calls if len(call[0].ctc_btv) == 2 * len(call[1])]
    validation = [call for call in calls if len(call[0].ctc_btv) == len(call[1])]
    assert training and validation and len(training) + len(validation) == len(calls)
    for outputs, tokens_bl, loss in training:
        # Clips of a second, at 95 % too: the bound of 4.5 s holds two of them in two views each.
        assert len(tokens_bl) <= 2
        first, second = outputs.ctc_btv.detach().chunk(2)
        assert not torch.equal(first, second)
        assert len(outputs.inter_ctc) == 1 and outputs.inter_ctc[0].shape == outputs.ctc_btv.shape
        assert set(loss.parts) == {"ctc", "attention", "inter_ctc", "cr_ctc"}
        assert loss.total_b.dtype == torch.float32 and loss.total_b.shape == tokens_bl.shape[:1]
        assert all(part_b.isfinite().all() and (part_b > 0).all() for part_b in loss.parts.values())
    for outputs, _, loss in validation:
        assert outputs.inter_ctc == () and set(loss.parts) == {"ctc", "attention"}


def test_without_the_dials_nothing_is_seen_twice(seen) -> None:
    for outputs, tokens_bl, loss in seen():
        assert len(outputs.ctc_btv) == len(tokens_bl)
        assert outputs.inter_ctc == () and set(loss.parts) == {"ctc", "attention"}
