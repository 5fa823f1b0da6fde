"""What SpeechBrain's checkpoints and folders must hold, and what is said when they do not."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from hyperconformer.cli import main
from hyperconformer.errors import InputError
from hyperconformer.export.speechbrain import export_folder
from hyperconformer.inference.bundle import load_bundle, save_bundle
from hyperconformer.inference.speechbrain_folder import import_folder
from hyperconformer.inference.speechbrain_sources import find_sources
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.speechbrain_compat import from_speechbrain, to_speechbrain
from hyperconformer.text import train_tokenizer
from tests.helpers import randomise

UPSTREAM = {"length_norm": "none", "positions": "sinusoid", "tied": False, "hypernet_size": 16}
State = dict[str, Tensor]


def config(mixer: str = "hypermixing", **changes) -> ModelConfig:
    options = {"mixer_options": UPSTREAM} if mixer == "hypermixing" else {}
    sizes = {"output_neurons": 20, "d_model": 8, "nhead": 2, "d_ffn": 16, "kernel_size": 7, "n_mels": 8}
    depths = {"num_encoder_layers": 2, "num_decoder_layers": 1, "frontend_channels": (4, 2)}
    return ModelConfig(**{"mixer": mixer, **sizes, **depths, **options, **changes})


def model(mixer: str = "hypermixing", **changes) -> ASR:
    return randomise(ASR(config(mixer, **changes)))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("mixer", ["hypermixing", "relative", "attention"])
def test_there_and_back(mixer: str, tied: bool) -> None:
    options = {"mixer_options": UPSTREAM | {"tied": True}} if tied and mixer == "hypermixing" else {}
    ours = model(mixer, nhead=4, **options)
    found, weights = from_speechbrain(to_speechbrain(ours), nhead=4)
    assert found == ours.config
    state = {name: value for name, value in ours.state_dict().items() if not name.startswith("normalizer.")}
    assert set(weights) == set(ours.state_dict())
    for name, value in state.items():
        assert torch.equal(weights[name], value), name


def renamed(state: State, old: str, new: str) -> State:
    return {name.replace(old, new): value for name, value in state.items()}


def without(state: State, part: str) -> State:
    return {name: value for name, value in state.items() if part not in name}


WRONG: list[tuple[str, Callable[[State], State], str]] = [
    ("hypermixing", lambda s: s | {"1.encoder.colour": torch.zeros(1)}, r"'1\.encoder\.colour' has no place"),
    ("hypermixing", lambda s: s | {"4.gain": torch.zeros(1)}, r"'4\.gain' has no place"),
    ("hypermixing", lambda s: s | {"2.w.weight": torch.zeros(3, 8)}, r"'2\.w\.weight' has shape \(3, 8\)"),
    ("hypermixing", lambda s: s | {"2.w.bias": 1.0}, r"'2\.w\.bias' is not a dense tensor"),
    (
        "hypermixing",
        lambda s: s | {"2.w.bias": torch.zeros(20).long()},
        r"'2\.w\.bias' is not a dense tensor",
    ),
    ("hypermixing", lambda s: s | {"3.w.weight": torch.zeros(20)}, r"'3\.w\.weight' has shape \(20,\)"),
    (
        "hypermixing",
        lambda s: without(s, "1.encoder.layers.1.norm1.norm.bias"),
        r"norm1\.norm\.bias' is miss",
    ),
    ("hypermixing", lambda s: without(s, "convolution_module"), r"convolution_module\S+' is missing"),
    ("hypermixing", lambda s: without(s, "w2_gen"), r"'1\.\S+w2_gen\.fc1_weights' is missing"),
    ("hypermixing", lambda s: without(s, "decoder"), r"the tensors make no model: num_decoder_layers"),
    ("hypermixing", lambda s: without(s, "0.conv"), r"0 modules like CNN instead of 1"),
    ("hypermixing", lambda s: without(s, "3.w"), r"1 output layers \(seq_lin, ctc_lin\) instead of 2"),
    ("attention", lambda s: renamed(s, "mha_layer.", "mha_layer.att."), r"is regularMHA"),
    ("attention", lambda s: renamed(s, "mha_layer.", "other."), r"'1\.encoder\S+mha_layer' is not known"),
    ("hypermixing", lambda s: {"weight": torch.zeros(1)}, r"'weight' has no place"),
    ("hypermixing", lambda s: {}, r"0 modules like CNN"),
]


@pytest.mark.parametrize(("mixer", "change", "message"), WRONG)
def test_a_wrong_state_is_refused_in_one_line(mixer: str, change, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        from_speechbrain(change(to_speechbrain(model(mixer))), nhead=2)
    assert "\n" not in str(refused.value)


def test_heads_must_be_known_and_fit() -> None:
    rotary = to_speechbrain(model("attention"))
    with pytest.raises(InputError, match="give --nhead"):
        from_speechbrain(rotary)
    with pytest.raises(InputError, match="the tensors make no model: d_model 8"):
        from_speechbrain(rotary, nhead=3)
    with pytest.raises(InputError, match="nhead 4 does not fit, the tensors have 2 heads"):
        from_speechbrain(to_speechbrain(model()), nhead=4)


@pytest.mark.parametrize(
    ("mixer", "changes", "message"),
    [
        ("summary", {}, "no mixer 'summary'"),
        ("hypermixing", {"mixer_options": UPSTREAM | {"length_norm": "mean"}}, "no length_norm 'mean'"),
        (
            "hypermixing",
            {"mixer_options": {}},
            "no length_norm 'mean' and no hypernet_size '32': train with "
            "--mixer_options='{length_norm: none, hypernet_size: 16}' or --mixer=attention",
        ),
        ("hypermixing", {"mixer_options": UPSTREAM | {"positions": "none"}}, "no positions 'none'"),
        (
            "hypermixing",
            {"d_ffn": 24},
            "no hypernet_size '16': train with --mixer_options='{hypernet_size: 24}' or",
        ),
    ],
)
def test_what_speechbrain_cannot_hold_is_refused(mixer: str, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        to_speechbrain(model(mixer, **changes))


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A flat folder, as on a model hub, made by our own export."""
    tokenizer = train_tokenizer(["ONE TWO", "TWO ONE"], tmp_path / "t.model", output_neurons=20)
    ours = model(output_neurons=tokenizer.size)
    ours.normalizer.set_statistics(torch.arange(8.0), torch.arange(1.0, 9.0))
    bundle = save_bundle(tmp_path / "bundle", ours, tokenizer, metrics={}, card="# Tiny\n")
    folder = export_folder(bundle, tmp_path / "flat")
    (folder / "hyperparams.yaml").unlink()
    return folder


def test_a_bundle_comes_back_as_it_went(flat: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in flat.iterdir()) == ["model.ckpt", "normalizer.ckpt", "tokenizer.ckpt"]
    (flat / "model.ckpt").rename(flat / "asr.ckpt")
    again = import_folder(flat, tmp_path / "again")
    (first, words), (second, same_words) = load_bundle(tmp_path / "bundle"), load_bundle(again)
    assert first.config == second.config
    assert words.model_bytes == same_words.model_bytes
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def as_run(flat: Path, run: Path, metas: dict[str, str]) -> Path:
    for name, meta in metas.items():
        folder = run / "save" / name
        folder.mkdir(parents=True)
        for file in ("model.ckpt", "normalizer.ckpt"):
            os.link(flat / file, folder / file)
        (folder / "CKPT.yaml").write_text("# yamllint disable\n" + meta)
    os.link(flat / "tokenizer.ckpt", run / "save" / "tokenizer.ckpt")
    return run


CHECKPOINTS = {
    "CKPT+a": "ACC: 0.9\nWER: 4.0\nunixtime: 9.0\n",
    "CKPT+b": "ACC: 0.91\nWER: 5.0\nunixtime: 1.0\n",
    "CKPT+c": "ACC: 0.91\nWER: 4.5\nloss: 2.0\nunixtime: 1.0\n",
    "CKPT+d": "ACC: 0.91\nWER: 4.5\nloss: 1.0\nunixtime: 1.0\nend-of-epoch: true\n",
    "CKPT+e": "ACC: 0.91\nWER: 4.5\nloss: 1.0\nunixtime: 2.0\nepoch: 7\n",
    "CKPT+f": "loss: 0.1\nACC: !!python/name:os.system\n",
}


def test_the_best_checkpoint_of_a_run_is_taken_and_named(flat: Path, tmp_path: Path, capsys) -> None:
    run = as_run(flat, tmp_path / "run", CHECKPOINTS)
    (run / "save" / "CKPT+unfinished").mkdir()
    for last in "edcbaf":
        for folder in (run, run / "save"):
            assert find_sources(folder).model.parent.name == f"CKPT+{last}"
        (run / "save" / f"CKPT+{last}" / "CKPT.yaml").rename(tmp_path / f"{last}.yaml")
    (tmp_path / "e.yaml").rename(run / "save" / "CKPT+e" / "CKPT.yaml")
    assert main(["import-speechbrain", str(run), "--output", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"CKPT+e/model.ckpt (ACC 0.91, WER 4.5, loss 1, epoch 7) -> {tmp_path / 'model'}\n")
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["scores"] == {"ACC": 0.91, "WER": 4.5, "loss": 1.0, "epoch": 7.0}
    _, head, card = (tmp_path / "model" / "README.md").read_text().split("---\n", maxsplit=2)
    assert yaml.safe_load(head) == {
        "license": "unknown",
        "library_name": "hyperconformer",
        "pipeline_tag": "automatic-speech-recognition",
        "tags": ["hyperconformer", "speech", "ctc", "speechbrain", "hypermixing"],
    }
    assert "# CKPT+e\n" in card and metrics["imported_from"] in card
    alone = find_sources(run / "save" / "CKPT+b")
    assert alone.tokenizer == run.absolute() / "save" / "tokenizer.ckpt"


class Trap:
    """Runs when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


def spoil(flat: Path, name: str, content: object) -> None:
    (flat / name).unlink(missing_ok=True)
    if isinstance(content, bytes):
        (flat / name).write_bytes(content)
    elif content is not None:
        torch.save(content, flat / name)


STATISTICS = {"count": 1, "glob_mean": torch.zeros(8), "glob_std": torch.ones(8)}
BROKEN = [
    ("model.ckpt", None, "holds no model.ckpt or asr.ckpt"),
    ("normalizer.ckpt", None, "has no normalizer.ckpt"),
    ("tokenizer.ckpt", None, "has no tokenizer.ckpt"),
    ("model.ckpt", b"", "cannot be opened as tensors"),
    ("model.ckpt", b"PK\x03\x04 half an archive", "cannot be opened as tensors"),
    ("model.ckpt", Trap(), "cannot be opened as tensors"),
    ("model.ckpt", [torch.zeros(1)], "holds no named tensors"),
    ("model.ckpt", {0: torch.zeros(1)}, "holds no named tensors"),
    ("model.ckpt", {"0.x": torch.zeros(1)}, "model.ckpt': '0.x' has no place"),
    ("model.ckpt", {"2.w.weight": torch.zeros(1).expand(10**9, 10**3)}, "larger than the file"),
    ("normalizer.ckpt", STATISTICS | {"glob_mean": torch.zeros(80)}, "glob_mean is not 8 numbers"),
    ("normalizer.ckpt", STATISTICS | {"glob_std": torch.empty(0)}, "glob_std is not 8 numbers"),
    ("normalizer.ckpt", STATISTICS | {"glob_std": torch.full((8,), torch.nan)}, "glob_std is not 8 numbers"),
    ("normalizer.ckpt", STATISTICS | {"glob_std": torch.full((8,), 1e-10)}, "glob_std has 1e-10"),
    ("tokenizer.ckpt", b"no tokens", "not a SentencePiece model"),
    ("hyperparams.yaml", b"{", "is not YAML"),
    ("hyperparams.yaml", b"sample_rate: 8000\n", "sample_rate 8000 cannot be imported"),
    ("hyperparams.yaml", b"win_length: 32\n", "win_length 32 cannot be imported"),
    ("hyperparams.yaml", b"blank_index: 3\n", "blank_index 3 cannot be imported"),
    (
        "hyperparams.yaml",
        b"T: !new:x.TransformerASR\n  causal: True\n",
        "T cannot be imported without causal",
    ),
    ("hyperparams.yaml", b"T: !new:x.TransformerASR\n  d_model: 8\n", "T cannot be imported without causal"),
    ("hyperparams.yaml", b"c: true\nT: !new:x.TransformerASR {causal: !ref <c>}\n", "without causal: False"),
    ("hyperparams.yaml", b"T: !new:x.TransformerASR {causal: null}\n", "without causal: False"),
    ("hyperparams.yaml", b"T: !new:x.TransformerASR {causal: false}\n", "without activation torch.nn.GELU"),
    (
        "hyperparams.yaml",
        b"a: !name:torch.nn.ReLU\nT: !new:x.TransformerASR {causal: false, activation: !ref <a>}\n",
        "without activation torch.nn.GELU",
    ),
    ("hyperparams.yaml", b"nhead: 4\n", "nhead 4 does not fit"),
    ("hyperparams.yaml", b"tokenizer_size: 9\n", "tokens, the model 9"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_a_broken_folder_leaves_nothing(flat, tmp_path, monkeypatch, capsys, name, content, message) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    spoil(flat, name, content)
    assert main(["import-speechbrain", str(flat), "--output", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == before


def test_the_wrong_tokenizer_is_refused(flat: Path, tmp_path: Path) -> None:
    train_tokenizer(["ONE TWO THREE FOUR FIVE"], flat / "tokenizer.ckpt", output_neurons=30)
    with pytest.raises(InputError, match=r"has \d+ tokens, the model \d+: copy the tokenizer"):
        import_folder(flat, tmp_path / "model")


def test_yaml_is_read_and_never_run(flat: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tags = (
        "x: !apply:os.mkdir [trapped]\ny: !!python/object/apply:os.mkdir [trapped]\na: !name:torch.nn.GELU\n"
    )
    tags += "T: !new:x.TransformerASR {causal: False, activation: !ref <a>}\n"
    (flat / "hyperparams.yaml").write_text(f"n_fft: 512\nnhead: !ref <d_model>\n{tags}")
    assert load_bundle(import_folder(flat, tmp_path / "a"))[0].config.n_fft == 512
    assert load_bundle(import_folder(flat, tmp_path / "b", n_fft=400))[0].config.n_fft == 400
    assert not (tmp_path / "trapped").exists()


def test_several_tokenizers_are_too_many(flat: Path) -> None:
    (flat / "tokenizer.ckpt").rename(flat / "5000_unigram.model")
    assert find_sources(flat).tokenizer.name == "5000_unigram.model"
    (flat / "5000_bpe.model").write_bytes(b"")
    with pytest.raises(InputError, match="has 2 tokenizers"):
        find_sources(flat)


@pytest.mark.parametrize("given", ["bundle", "run"])
def test_a_model_of_ours_needs_no_import(flat: Path, tmp_path: Path, capsys, given: str) -> None:
    """Neither by its own folder nor by that of the run that made it, with checkpoints beside."""
    bundle, out = tmp_path / "bundle", tmp_path / "out"
    if given == "run":
        (tmp_path / "run" / "save" / "CKPT+000000385").mkdir(parents=True)
        os.link(flat / "model.ckpt", tmp_path / "run" / "save" / "CKPT+000000385" / "model.ckpt")
        bundle = bundle.rename(tmp_path / "run" / "model")
    assert main(["import-speechbrain", str(tmp_path / given), "--output", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"'{bundle}' is a model folder already" in said and said.count("\n") == 1
    assert not out.exists()


def test_nothing_but_a_model_is_overwritten(flat: Path, tmp_path: Path) -> None:
    for out in (flat, tmp_path):
        with pytest.raises(InputError, match="holds what is imported"):
            import_folder(flat, out)
    other = tmp_path / "notes"
    other.mkdir()
    (other / "thesis.txt").write_text("dear")
    with pytest.raises(InputError, match="exists and is no model"):
        import_folder(flat, other)
    with pytest.raises(InputError, match="exists already"):
        export_folder(tmp_path / "bundle", other)
    assert import_folder(flat, tmp_path / "bundle") == tmp_path / "bundle"
    (other / "thesis.txt").unlink()
    assert export_folder(tmp_path / "bundle", other) == other


def test_export_names_the_model_it_refuses(tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    assert (
        main(["export", "speechbrain", "--model", str(tiny_bundle), "--output", str(tmp_path / "out")]) == 2
    )
    said = capsys.readouterr().err
    assert str(tiny_bundle) in said and "no length_norm" in said
    assert not (tmp_path / "out").exists()
