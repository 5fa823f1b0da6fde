"""A language model's folder comes back as it was written, and is opened as what it is."""

import json
import stat
from pathlib import Path

import pytest
import torch

from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.language_model_bundle import load_language_model, save_language_model
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.text import train_tokenizer


@pytest.fixture(params=[False, True], ids=["two tables", "one table"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, LanguageModel]:
    config = LanguageModelConfig(
        output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_layers=2, tie_embeddings=request.param
    )
    words = train_tokenizer(["ONE TWO"], tmp_path / "t.model", output_neurons=12)
    model = LanguageModel(config).eval()
    return save_language_model(tmp_path / "model", model, words, metrics={"x": 1}, card="# LM\n"), model


def test_it_comes_back(written: tuple[Path, LanguageModel]) -> None:
    folder, model = written
    same, tokenizer = load_language_model(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "metrics.json", "model.safetensors", "tokenizer.model",
    ]  # fmt: skip
    assert not same.training and tokenizer.decode(tokenizer.encode("TWO ONE")) == "TWO ONE"
    tokens = torch.tensor([[1, 5, 9]])
    assert torch.equal(same(tokens), model(tokens))
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044 for path in folder.iterdir())


def test_a_recogniser_is_not_taken_for_a_language_model(
    written: tuple[Path, LanguageModel], tiny_bundle: Path
) -> None:
    with pytest.raises(InputError, match="this is a recogniser, not a language model: give "):
        load_language_model(tiny_bundle)
    with pytest.raises(InputError, match="this is a language model, not a recogniser: give "):
        load_bundle(written[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 16}, "model.safetensors cannot be used"),
        ({"nhead": 3}, "config.json cannot be used .*multiple of num_heads 3"),
        ({"num_layers": 0}, "num_layers must lie between 1 and 256, got 0"),
        ({"output_neurons": 2**40}, "output_neurons must lie between"),
        ({"mixer": "attention"}, "a model has no setting 'mixer'"),
        ({"d_ffn": "wide"}, "config.json cannot be used"),
    ],
)
def test_a_config_that_does_not_fit_is_named(
    change: dict, message: str, written: tuple[Path, LanguageModel]
) -> None:
    path = written[0] / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "model": {**config["model"], **change}}))
    with pytest.raises(InputError, match=message) as raised:
        load_language_model(written[0])
    assert "\n" not in str(raised.value)
