"""``hyperconformer check``, and what opening a bundle costs."""

import json
import math
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from hyperconformer.cli import main
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle, save_bundle
from hyperconformer.inference.bundle_files import read_json
from hyperconformer.inference.bundle_summary import results_of
from hyperconformer.inference.language_model_bundle import save_language_model
from hyperconformer.mixers import MIXERS, mixer_options
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig, ModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.nn.initialise import without_weights
from hyperconformer.text import Tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "model"))


def test_check_says_what_a_model_is(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"greedy": {"wer": 4.1475}, "joint": {"wer": 1.2673}}
    (bundle / "metrics.json").write_text(json.dumps({"splits": {"test-tiny": rows}}))
    (bundle / "notes\x1b[2J.txt").write_text("mine")
    assert main(["check", str(bundle)]) == 0
    out = capsys.readouterr().out.splitlines()
    model, tokenizer = load_bundle(bundle)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert out[0] == f"model '{bundle}': a recogniser, hypermixing"
    assert out[1].startswith(f"{count:,} parameters, {tokenizer.size} tokens (30 output neurons), ")
    assert out[2] == "test-tiny: greedy 4.15, joint 1.27"
    names = ["config.json", "model.safetensors", "tokenizer.model", "metrics.json", "README.md"]
    assert out[3:8] == [f"{sha256((bundle / name).read_bytes()).hexdigest()}  {name}" for name in names]
    assert out[8:] == ["not read: notes?[2J.txt", "ok"]
    assert main(["check", str(bundle), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == count and found["results"] == {
        "test-tiny": {"greedy": 4.1475, "joint": 1.2673}
    }
    assert found["settings"] == model.config.to_dict() and list(found["files"]) == names


def test_check_knows_a_language_model(tmp_path: Path, tiny_bundle: Path, capsys) -> None:
    config = LanguageModelConfig(output_neurons=30, d_model=8, nhead=2, d_ffn=16, num_layers=1)
    tokenizer = Tokenizer.load(tiny_bundle / "tokenizer.model")
    metrics = {"texts": {"valid": {"perplexity_word": 80.0}}}
    save_language_model(tmp_path / "lm", LanguageModel(config), tokenizer, metrics=metrics, card="# LM\n")
    assert main(["check", str(tmp_path / "lm")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith(": a language model") and out[2] == "valid: perplexity per word 80.00"


def test_check_says_why_not(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps({**config, "format": "whisper"}))
    assert main(["check", str(bundle)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1
    legal = "hyperconformer-2 or hyperconformer-lm-1 or hyperconformer-text-1"
    assert f"its format is 'whisper', here {legal} is read" in err


def test_a_bundle_from_before_there_were_sums_opens(bundle: Path) -> None:
    config = json.loads((bundle / "config.json").read_text())
    del config["sha256"]
    (bundle / "config.json").write_text(json.dumps(config))
    load_bundle(bundle)


@pytest.mark.parametrize("mixer", MIXERS)
def test_every_model_comes_back_as_it_was_built(mixer: str, tiny_bundle: Path, tmp_path: Path) -> None:
    config = ModelConfig(
        output_neurons=30,
        mixer=mixer,
        d_model=16,
        nhead=2,
        d_ffn=32,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    model = ASR(config).eval()
    save_bundle(
        tmp_path / "model", model, Tokenizer.load(tiny_bundle / "tokenizer.model"), metrics={}, card="# M\n"
    )
    same, _ = load_bundle(tmp_path / "model")
    assert same.config == config
    found, wanted = (dict([*one.named_parameters(), *one.named_buffers()]) for one in (same, model))
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name]) and tensor.stride() == wanted[name].stride(), name
        assert tensor.requires_grad == wanted[name].requires_grad, name
    samples = 0.1 * torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([8_000, 6_000])
    with torch.inference_mode():
        assert torch.equal(same.encode(samples, lengths)[0], model.encode(samples, lengths)[0])


def test_weights_outlive_their_file(bundle: Path) -> None:
    model, _ = load_bundle(bundle)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    size = (bundle / "model.safetensors").stat().st_size
    with (bundle / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_opening_imports_no_compiler(tiny_bundle: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from hyperconformer.inference.bundle import load_bundle\n"
        "load_bundle(pathlib.Path(sys.argv[1]))\n"
        "print({'sympy', 'torch._dynamo', 'huggingface_hub', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_bundle)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stdout + done.stderr


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_model_without_weights_takes_no_memory_and_draws_nothing(mixer: str) -> None:
    state = torch.random.get_rng_state()
    with without_weights():
        model = ASR(ModelConfig(output_neurons=30, mixer=mixer, num_encoder_layers=2, num_decoder_layers=1))
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert torch.equal(torch.random.get_rng_state(), state)
    # What no file holds is there all the same.
    assert model.log_mel.filters.isfinite().all() and not model.log_mel.window.is_meta


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": "high"}, "dropout of mixer 'hypermixing' must be a number, got 'high'"),
        ({"dropout": math.nan}, "dropout must lie between 0.0 and 1.0, got nan"),
        ({"hypernet_size": 2**30}, "hypernet_size must lie between 1 and 1048576"),
        ({"tied": 1}, "tied of mixer 'hypermixing' must be true or false, got 1"),
        ({"length_norm": "max"}, "length_norm of mixer 'hypermixing' must be one of "),
    ],
)
def test_options_of_a_mixer_are_of_their_types(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixer_options("hypermixing", options)


@pytest.mark.parametrize("metrics", [[], 7, {"splits": 1}, {"splits": {"a": {"b": {"wer": True}}}}])
def test_foreign_metrics_have_no_headline(metrics: object) -> None:
    assert results_of(metrics) == {}
    assert results_of({"texts": {"a": {"perplexity_word": 10**400}}, "splits": {"b": {"c": 1}}}) == {}


def test_json_is_read_with_limits(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for content, message in ((b"[" * 10_000, "nested too deeply"), (b" " * 2**19, "more than 262,144 bytes")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_json(path)


def test_a_diverged_model_is_refused(bundle: Path) -> None:
    model, tokenizer = load_bundle(bundle)
    with torch.no_grad():
        model.encoder.norm.weight[0] = math.inf
    save_bundle(bundle, model, tokenizer, metrics={}, card="# Lost\n")
    with pytest.raises(InputError, match=r"'encoder.norm.weight' holds numbers that are not finite"):
        load_bundle(bundle)
