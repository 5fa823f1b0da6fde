"""Model folders: written whole, opened safely, refused with a reason."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import soundfile
import torch

from hyperconformer.cli import main
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle, save_bundle
from hyperconformer.inference.transcriber import Transcriber


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "model"))


def test_a_bundle_comes_back_as_it_was_and_replaces_an_older_one(bundle: Path) -> None:
    model, tokenizer = load_bundle(bundle)
    assert not model.training
    with torch.no_grad():
        model.ctc_head.bias.add_(1.0)
    save_bundle(bundle, model, tokenizer, metrics={"wer": 1.0}, card="# New\n")
    again, _ = load_bundle(bundle)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert json.loads((bundle / "metrics.json").read_text()) == {"wer": 1.0}
    assert [path.name for path in bundle.parent.iterdir()] == ["model"]


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_pickle_in_disguise_is_refused_and_not_run(bundle: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (bundle / "model.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match="model.safetensors cannot be used"):
        load_bundle(bundle)
    assert not mark.exists()


def edit_config(bundle: Path, change) -> None:
    config = json.loads((bundle / "config.json").read_text())
    change(config)
    (bundle / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: (b / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda b: (b / "config.json").write_text("{"), "config.json cannot be used"),
        (lambda b: edit_config(b, lambda c: c.update(format="whisper")), "its format is 'whisper'"),
        (lambda b: edit_config(b, lambda c: c["model"].update(colour=1)), "no setting 'colour'"),
        (lambda b: edit_config(b, lambda c: c["model"].update(mixer="magic")), "mixer 'magic'"),
        (lambda b: edit_config(b, lambda c: c["model"].update(nhead=0)), "nhead must lie between 1 and"),
        (lambda b: edit_config(b, lambda c: c["model"].update(d_ffn=48)), "model.safetensors cannot be used"),
        (lambda b: (b / "model.safetensors").write_bytes(b"\xff" * 100), "model.safetensors cannot be used"),
        (lambda b: (b / "tokenizer.model").write_bytes(b"?"), "tokenizer.model cannot be used"),
    ],
)
def test_broken_bundles_are_refused_in_one_line(bundle: Path, change, message: str) -> None:
    change(bundle)
    with pytest.raises(InputError, match=message) as raised:
        load_bundle(bundle)
    assert "\n" not in str(raised.value)


def test_the_command_prints_text_and_reports_what_it_cannot_read(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = tmp_path / "a.wav"
    soundfile.write(speech, torch.randn(16_000).numpy() / 10, 16_000)
    expected = Transcriber.load(bundle).transcribe(speech)
    assert expected.seconds == 1.0
    assert main(["transcribe", "--model", str(bundle), str(speech)]) == 0
    assert capsys.readouterr().out == expected.text + "\n"
    assert main(["transcribe", "--model", str(bundle), "no.wav", str(speech)]) == 1
    out, err = capsys.readouterr()
    assert out == f"{speech}: {expected.text}\n"
    assert err.startswith("error: ") and "no.wav" in err and err.count("\n") == 2


def test_the_folder_of_a_run_points_to_its_model(bundle: Path) -> None:
    with pytest.raises(InputError, match=f"its model is '{bundle}'"):
        load_bundle(bundle.parent)


def test_everyone_may_read_a_bundle(bundle: Path) -> None:
    assert len({path.stat().st_mode for path in bundle.iterdir()}) == 1


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "mps"])
def test_a_device_that_is_not_there_is_named(bundle: Path, device: str, capsys) -> None:
    assert main(["transcribe", "--model", str(bundle), "--device", device, "a.wav"]) == 2
    assert f"--device={device}" in capsys.readouterr().err


def test_a_missing_model_ends_with_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "--model", "nowhere", "a.wav"]) == 2
    assert "nowhere" in capsys.readouterr().err
