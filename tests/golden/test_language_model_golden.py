"""SpeechBrain's Transformer language model, imported: the same logits, at once and token by token."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM
from torch import Tensor, nn

from hyperconformer.cli import main
from hyperconformer.constants import BEGIN
from hyperconformer.errors import InputError
from hyperconformer.inference.language_model_bundle import load_language_model, load_partner
from hyperconformer.inference.speechbrain_folder import import_language_model
from hyperconformer.inference.speechbrain_sources import find_sources
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.models.speechbrain_lm import language_model_from_speechbrain
from hyperconformer.text import Tokenizer
from tests.speechbrain_run import leave_speechbrain_run

NHEAD = 4
YAML = """
lm_model: !new:speechbrain.lobes.models.transformer.TransformerLM.TransformerLM
    vocab: 5000
    nhead: {nhead}
    activation: !name:torch.nn.{activation}
    normalize_before: {before}
"""


@torch.no_grad()
def upstream(vocab: int = 30, **changes: object) -> TransformerLM:
    """Theirs, lively, with norms that do something."""
    torch.manual_seed(0)
    sizes = {"d_model": 24, "nhead": NHEAD, "num_encoder_layers": 3, "d_ffn": 40, "activation": nn.GELU}
    model = TransformerLM(vocab, **sizes | changes).eval()
    for parameter in model.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def logits_one_by_one(model: LanguageModel, tokens_bl: Tensor) -> Tensor:
    state, said = model.start(len(tokens_bl)), []
    for place in range(tokens_bl.shape[1]):
        logits_b1v, state = model.step(tokens_bl[:, place : place + 1], state)
        said.append(logits_b1v)
    return torch.cat(said, dim=1)


def test_logits_are_the_same() -> None:
    theirs = upstream()
    config, weights = language_model_from_speechbrain(theirs.state_dict(), nhead=NHEAD)
    ours = LanguageModel(config).eval()
    ours.load_state_dict(weights)
    tokens_bl = torch.randint(3, 30, (4, 17))
    tokens_bl[:, 0] = BEGIN
    with torch.no_grad():
        expected = theirs(tokens_bl)
        assert expected.std() > 0.5
        torch.testing.assert_close(ours(tokens_bl), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits_one_by_one(ours, tokens_bl), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"d_embedding": 16}, "is missing or not of shape|no language model|has no place"),
        ({"attention_type": "RelPosMHAXL"}, "make no language model|is missing"),
        ({"num_encoder_layers": 1, "num_decoder_layers": 1}, "'decoder.* has no place"),
    ],
    ids=["narrow embedding", "relative positions", "decoder"],
)
def test_other_kinds_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        language_model_from_speechbrain(upstream(**changes).state_dict(), nhead=NHEAD)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the recipe with the language model that it decodes with."""
    folder = leave_speechbrain_run(tmp_path / "run")
    vocab = Tokenizer.load(folder / "tokenizer.ckpt").size
    torch.save(upstream(vocab).state_dict(), folder / "lm.ckpt")
    return folder


def told(run: Path, nhead: int = NHEAD, activation: str = "GELU", before: str = "False") -> Path:
    """The same run, whose YAML says this of the language model."""
    with (run / "hyperparams.yaml").open("a", encoding="utf-8") as file:
        file.write(YAML.format(nhead=nhead, activation=activation, before=before))
    return run


def test_a_run_is_imported_with_its_language_model(run: Path, tmp_path: Path, capsys) -> None:
    given = ["import-speechbrain", str(told(run)), "--output", str(tmp_path / "model")]
    assert main(given) == 0
    assert "lm.ckpt is left out: --lm_output DIR" in capsys.readouterr().out
    assert main([*given, "--lm_output", str(tmp_path / "lm")]) == 0
    model, tokenizer = load_language_model(tmp_path / "lm")
    assert (model.config.nhead, model.config.norm) == (NHEAD, "after")
    assert load_partner(tmp_path / "lm", Tokenizer.load(tmp_path / "model" / "tokenizer.model"))
    tokens_bl = torch.tensor([[BEGIN, 5, 7, 4]])
    with torch.no_grad():
        expected = upstream(tokenizer.size)(tokens_bl)
        torch.testing.assert_close(model(tokens_bl), expected, rtol=1e-4, atol=1e-4)
    assert main(["check", str(tmp_path / "lm")]) == 0
    for shared in (tmp_path / "model", tmp_path / "model" / "lm", tmp_path):
        assert main([*given, "--lm_output", str(shared)]) == 2
        assert "lie in one another" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [Tensor.to_sparse, Tensor.int, lambda value: value.to(torch.complex64), lambda value: value / 0],
    ids=["sparse", "whole", "complex", "not finite"],
)
def test_tensors_of_other_kinds_are_refused(change: Callable[[Tensor], Tensor]) -> None:
    name = "output_proj.layers.2.w.bias"
    state = upstream().state_dict()
    with pytest.raises(InputError, match=f"'{name}' is not a dense tensor"):
        language_model_from_speechbrain(state | {name: change(state[name])}, nhead=NHEAD)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"activation": "ReLU"}, "without activation torch.nn.GELU"),
        ({"before": "True"}, "normalize_before: True"),
        ({"nhead": 7}, "7 heads do not divide d_model 24"),
        ({"nhead": 0}, "0 heads do not divide d_model 24"),
        ({"nhead": -4}, "nhead of lm_model is -4 and no whole number"),
    ],
    ids=["ReLU", "norms before", "heads", "no heads", "heads below zero"],
)
def test_what_the_recipe_says_is_heeded(changes: dict[str, object], said: str, run: Path, tmp_path) -> None:
    with pytest.raises(InputError, match=said):
        import_language_model(find_sources(told(run, **changes)), tmp_path / "lm")
    assert not (tmp_path / "lm").exists()
