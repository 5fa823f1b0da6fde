"""What ``hyperconformer export speechbrain`` writes, refuses, and takes from a model's own test."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hyperconformer.cli import main
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.export.speechbrain_search import TOLD
from hyperconformer.export.speechbrain_yaml import hyperparams
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.inference.speechbrain_sources import FIXED, SETTINGS, read_settings
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.speechbrain_compat import to_speechbrain
from hyperconformer.text import train_tokenizer
from hyperconformer.training.recipe import read_recipe
from hyperconformer.training.settings import Settings, load_settings

HPARAMS = Path(__file__).parents[2] / "hparams"
RECIPES = sorted(
    path.stem for path in HPARAMS.glob("*.yaml") if read_recipe(str(path), {}).get("task") == "asr"
)
EXPORTABLE = {"conformer", "conformer_22M", "conformer_100h", "hyperconformer_paper"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("exportable")
    words = train_tokenizer(["ONE TWO", "TWO ONE"], scratch / "t.model", output_neurons=12)
    config = ModelConfig(
        output_neurons=12, mixer="attention", d_model=16, nhead=2, num_encoder_layers=1, num_decoder_layers=1
    )
    return save_bundle(scratch / "model", ASR(config), words, metrics={}, card="# Tiny\n")


def settings_of(text: str) -> dict[str, Any]:
    """The plain values at the top."""
    plain = text.split("\nfeatures: ")[0]
    return yaml.safe_load(plain)


def export(bundle: Path, tmp_path: Path, *flags: str) -> dict[str, Any]:
    out = tmp_path / "out"
    assert main(["export", "speechbrain", "--model", str(bundle), "--output", str(out), *flags]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "hyperparams.yaml",
        "model.ckpt",
        "normalizer.ckpt",
        "tokenizer.ckpt",
    ]
    return settings_of((out / SETTINGS).read_text(encoding="utf-8"))


def test_the_search_is_that_of_the_models_own_test_unless_told_otherwise(
    bundle: Path, tmp_path: Path
) -> None:
    plain = export(bundle, tmp_path / "plain")
    assert {name: plain[name] for name in ("beam_size", "ctc_weight")} == {"beam_size": 10, "ctc_weight": 0.4}
    tested = {"beam_size": 66, "ctc_weight_decode": 0.6, "length_normalization": True, "lm_weight": 0.5}
    copy = shutil.copytree(bundle, tmp_path / "tested")
    (copy / "metrics.json").write_text(json.dumps({"decode": {"joint": tested}}))
    flags = ["--ctc_weight", "0.00001", "--no-length_normalization", "--eos_threshold", "1.5"]
    told = export(copy, tmp_path, *flags)
    assert (told["beam_size"], told["ctc_weight"], told["length_normalization"]) == (66, 0.00001, False)
    assert (told["using_eos_threshold"], told["eos_threshold"]) == (True, 1.5)
    assert "lm_weight" not in told


@pytest.mark.parametrize("ctc_weight", [0.0, 1e-7, 0.3])
def test_values_are_numbers_to_any_reader_of_yaml(ctc_weight: float) -> None:
    """YAML 1.1 takes 1e-07 for text."""
    config = ModelConfig(output_neurons=30, mixer="relative", n_mels=82, transformer_dropout=1e-7)
    options = SearchOptions(ctc_weight=ctc_weight, temperature=1e5, max_decode_ratio=1e6)
    text = hyperparams(config, 28, options)
    found = settings_of(text)
    assert {name: found[name] for name in TOLD if name != "eos_threshold"} == {
        name: getattr(options, name) for name in TOLD if name != "eos_threshold"
    }
    assert not found["using_eos_threshold"] and found["eos_threshold"] == 1.0
    assert found["attention_type"] == "RelPosMHAXL" and found["transformer_dropout"] == 1e-7
    assert found["input_size"] == 21 * 32 and found["frontend_channels"] == [64, 32]
    assert found.items() >= {**FIXED, "tokenizer_size": 28, "nhead": 8, "n_fft": 400}.items()
    assert ("ctc_scorer" in text) == (ctc_weight > 0)
    # Every reference has something to refer to.
    assert set(re.findall(r"!ref <(\w+)>", text)) <= set(re.findall(r"^(\w+):", text, flags=re.MULTILINE))


def test_nothing_but_what_speechbrain_brings_is_named(tmp_path: Path) -> None:
    text = hyperparams(ModelConfig(output_neurons=30), 28, SearchOptions())
    named = re.findall(r"!(?:new|name|apply|module|include)[: ]*([\w.]*)", text)
    assert len(named) >= 12
    assert all(name.split(".")[0] in ("speechbrain", "torch", "sentencepiece") for name in named)
    assert "!apply" not in text and "!include" not in text and "/" not in text
    (tmp_path / SETTINGS).write_text(text)
    assert read_settings(tmp_path / SETTINGS)["tokenizer_size"] == 28


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ctc_weight", "1"], "ctc_weight 1 cannot be exported"),
        (["--ctc_weight", "2"], "ctc_weight must lie between 0 and 1, got 2.0"),
        (["--beam_size", "0"], "beam_size must lie between 1 and 1000"),
    ],
)
def test_a_search_that_cannot_be_is_refused(bundle: Path, tmp_path: Path, capsys, flags, message) -> None:
    out = tmp_path / "out"
    assert main(["export", "speechbrain", "--model", str(bundle), "--output", str(out), *flags]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not out.exists()


def test_other_formats_have_no_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", "onnx", "--model", "m", "--output", str(tmp_path / "out"), "--beam_size", "3"])
    assert "unrecognized arguments: --beam_size 3" in capsys.readouterr().err


def stored(settings: Settings) -> set[str]:
    """Names of what SpeechBrain would be given; nothing is allocated."""
    with torch.device("meta"):
        return set(to_speechbrain(ASR(settings.model)))


@pytest.mark.parametrize("name", RECIPES)
def test_which_recipes_give_a_model_that_can_be_exported(name: str) -> None:
    path = str(HPARAMS / f"{name}.yaml")
    readme = (HPARAMS.parent / "README.md").read_text(encoding="utf-8")
    lines = readme.split("## Coming from SpeechBrain")[1].splitlines()
    (row,) = (line for line in lines if line.startswith("|") and f"`{name}`" in line)
    assert ("nothing more" in row) == (name in EXPORTABLE)
    if name in EXPORTABLE:
        assert "2.w.weight" in stored(load_settings(path, {}))
        return
    with pytest.raises(InputError, match="SpeechBrain's hypermixing has no length_norm 'mean'") as refused:
        stored(load_settings(path, {}))
    # What it advises helps.
    advice = re.search(r"--mixer_options='(\{.*\})' or --mixer=attention$", str(refused.value))
    assert advice is not None and f"`--mixer_options='{advice[1]}'` or `--mixer=attention`" in row
    for change in ({"mixer_options": yaml.safe_load(advice[1])}, {"mixer": "attention"}):
        assert "2.w.weight" in stored(load_settings(path, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"half_rate_layers": [2, 3]}, "one rate: train with --half_rate_layers=null"),
        ({"mixer_options": {"length_norm": "none", "gate": True}}, "no gate 'True': train with"),
        ({"mixer_options": {"length_norm": "none", "out_bias": False}}, "no out_bias 'False': train with"),
        (
            {"mixer_options": {"length_norm": "none", "positions": "convolution"}},
            "no positions 'convolution'",
        ),
    ],
)
def test_dials_that_speechbrain_has_no_room_for_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stored(load_settings(str(HPARAMS / "hyperconformer.yaml"), change))
