"""ONNX files: the same numbers as PyTorch for every shape, never written wrong, opened only if whole."""

import copy
import json
import os
import shlex
import shutil
import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from hyperconformer.cli import main
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import Models, make_search
from hyperconformer.errors import InputError
from hyperconformer.export import onnx_folder
from hyperconformer.export.onnx_folder import export_onnx
from hyperconformer.export.onnx_graphs import graph_of, write_graphs
from hyperconformer.export.onnx_parity import check_parity
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.bundle_check import file_sum
from hyperconformer.inference.onnx_backend import Graph, OnnxRecogniser
from hyperconformer.inference.onnx_check import OPERATORS, parse
from hyperconformer.inference.onnx_files import FILES, open_folder
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.mixers import MIXERS, make_mixer
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.encoder import Encoder
from hyperconformer.nn.masks import padding_mask
from hyperconformer.text import train_tokenizer
from tests.helpers import randomise

KNOWN_FILES = ("config.json", "tokenizer.model", *FILES)
DIALS = [
    {"tied": True},
    {"hypernet_size": 8},
    {"length_norm": "sqrt"},
    {"length_norm": "none"},
    {"positions": "none"},
    {"positions": "convolution"},
    {"gate": True},
    {"out_bias": False, "positions": "none"},
]


@pytest.fixture(scope="module")
def exported(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle as ONNX files, by the command."""
    folder = tmp_path_factory.mktemp("onnx") / "exported"
    assert main(["export", "onnx", "--model", str(tiny_bundle), "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(exported, tmp_path / "exported"))


@pytest.fixture(scope="module")
def recogniser(exported: Path) -> OnnxRecogniser:
    return OnnxRecogniser.load(exported, threads=1)


def test_check_opens_it_and_others_say_what_does(exported: Path, capsys) -> None:
    assert main(["check", str(exported)]) == 0
    said = capsys.readouterr().out
    assert "a recogniser's ONNX files, hypermixing" in said and said.endswith("\nok\n")
    with pytest.raises(InputError, match="holds ONNX files: only transcribe and check open these"):
        load_bundle(exported)


def test_the_command_says_what_it_does_and_what_opens_the_folder(
    tiny_bundle: Path, exported: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    def copied(model: ASR, folder: Path, say) -> None:
        for name in FILES:
            say(f"writing {name}")
            shutil.copy(exported / name, folder)

    monkeypatch.setattr("hyperconformer.export.onnx_graphs.write_graphs", copied)
    out = tmp_path / "my model"
    assert main(["export", "onnx", "--model", str(tiny_bundle), "--output", str(out), "--int8"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tiny_bundle} -> {out}\n"
    parts = [line.split()[0] for line in said.err.splitlines()]
    assert parts == ["writing"] * 3 + ["storing"] * 3 + ["comparing"] * 2 + ["try"]
    use = shlex.split(said.err.splitlines()[-1].removeprefix("try it: hyperconformer "))
    assert "hyperconformer transcribe --model FOLDER" in (out / "README.md").read_text()
    soundfile.write(tmp_path / "speech.wav", np.zeros(8000), 16_000)
    monkeypatch.chdir(tmp_path)
    assert main(use) == 0


@pytest.mark.parametrize(
    ("format", "has", "lacks"), [("onnx", "--int8", "--beam_size"), ("speechbrain", "--beam_size", "--int8")]
)
def test_help_has_the_options_of_a_format_and_no_others(format: str, has: str, lacks: str, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["export", format, "--help"])
    said = capsys.readouterr().out
    assert has in said and lacks not in said and "--model DIR" in said


def test_transcribe_hears_by_onnxruntime(exported: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    for decode in ("greedy", "prefix", "rescore", "joint"):
        given = {"decode": decode, "word_times": True}
        by_torch = Transcriber.load(tiny_bundle, **given).transcribe(noise, 16_000)
        by_onnx = Transcriber.load(exported, **given).transcribe(noise, 16_000)
        assert by_onnx.text == by_torch.text and len(by_onnx.words) == len(by_torch.words)


def test_the_folder_is_whole_and_says_nothing_of_this_machine(exported: Path, tiny_bundle: Path) -> None:
    names = {"README.md", "config.json", "metrics.json", "tokenizer.model", *FILES}
    assert {path.name for path in exported.iterdir()} == names
    assert [path.name for path in exported.parent.iterdir()] == ["exported"]
    card = (exported / "README.md").read_text()
    assert card.startswith((tiny_bundle / "README.md").read_text()) and "D = 16, V = 30" in card
    here = str(Path(__file__).parents[2]).encode()
    assert not any(here in (exported / name).read_bytes() for name in FILES)


@pytest.mark.parametrize(
    ("longest", "lengths"),
    [(1600, [1600]), (50, [50, 1]), (40_000, [40_000, 39_999, 161]), (640_000, [3000, 640_000])],
)
@torch.inference_mode()
def test_every_recording_sounds_in_a_batch_as_alone_in_pytorch(
    longest: int, lengths: list[int], tiny_bundle: Path, recogniser: OnnxRecogniser
) -> None:
    model, _ = load_bundle(tiny_bundle)
    # What lies beyond the ends is not heard, whatever it is.
    samples = 0.1 * torch.randn(len(lengths), longest)
    memory, log_probs, frames = recogniser.hear(samples, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        truth, _ = model.encode(samples[row : row + 1, :length], torch.tensor([length]))
        count = truth.shape[1]
        assert frames[row] == count and not memory[row, count:].any()
        torch.testing.assert_close(memory[row, :count], truth[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            log_probs[row, :count], model.ctc_log_probs(truth)[0], rtol=1e-4, atol=1e-4
        )


def test_no_recordings_are_no_trouble(recogniser: OnnxRecogniser) -> None:
    memory, log_probs, frames = recogniser.hear(torch.zeros(0, 1600), torch.zeros(0).long())
    assert (memory.shape, log_probs.shape, frames.shape) == ((0, 3, 16), (0, 3, 30), (0,))


@pytest.mark.parametrize("name", ["greedy", "prefix", "rescore", "joint"])
@torch.inference_mode()
def test_searches_may_ask_the_onnx_files(name: str, tiny_bundle: Path, recogniser: OnnxRecogniser) -> None:
    model, tokenizer = load_bundle(tiny_bundle)
    samples, lengths = 0.1 * torch.randn(3, 32_000), torch.tensor([32_000, 16_000, 20_000])
    memory, _, frames = recogniser.hear(samples, lengths)
    options = SearchOptions(beam_size=4, nbest=2, max_decode_ratio=0.3)
    both = []
    for asr in (model, recogniser.as_asr()):
        found = make_search(name, Models(asr, tokenizer=tokenizer), options)(memory, frames)
        both.append([[h.tokens for h in nbest] for nbest in found])
    assert both[0] == both[1]


@pytest.mark.parametrize("part", ["ctc_head", "front_end.first.conv", "decoder.layers.0.self_attention.out"])
def test_files_that_say_something_else_are_found_out(
    part: str, tiny_bundle: Path, recogniser: OnnxRecogniser
) -> None:
    model, _ = load_bundle(tiny_bundle)
    with torch.no_grad():
        model.get_submodule(part).weight.mul_(1.02)
    with pytest.raises(InputError, match="differ by .*: nothing was written"):
        check_parity(model, recogniser)


def test_a_wrong_file_is_never_written(
    tiny_bundle: Path, exported: Path, tmp_path: Path, monkeypatch
) -> None:
    other, tokenizer = load_bundle(tiny_bundle)
    randomise(other)
    monkeypatch.setattr(onnx_folder, "load_bundle", lambda bundle: (other, tokenizer))
    with pytest.raises(InputError, match="nothing was written"):
        export_onnx(tiny_bundle, tmp_path / "out", graphs=exported)
    assert not any(tmp_path.iterdir())


def test_eight_bits_choose_the_same_labels(tiny_bundle: Path, exported: Path, tmp_path: Path) -> None:
    small = OnnxRecogniser.load(
        export_onnx(tiny_bundle, tmp_path / "int8", int8=True, graphs=exported), threads=1
    )
    assert small.int8
    types = operators(tmp_path / "int8")
    assert "MatMulInteger" in types and types < set(OPERATORS)
    model, _ = load_bundle(tiny_bundle)
    with torch.no_grad():
        model.ctc_head.bias.add_(torch.randn(30) * 3)
    with pytest.raises(InputError, match="in eight bits .* export without --int8"):
        check_parity(model, small)


class All(nn.Module):
    """Every mixer that can be exported, and layers at half the rate, side by side."""

    def __init__(self) -> None:
        super().__init__()
        every = [(name, {}) for name in MIXERS if name != "fourier"] + [("hypermixing", d) for d in DIALS]
        mixers = [make_mixer(name, 8, 2, options) for name, options in every]
        halving = Encoder(1, 8, 2, 16, 3, half_rate_layers=(1, 1))
        self.mixers = nn.ModuleList(map(randomise, [*mixers, halving]))

    def forward(self, x_btd: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        return tuple(mixer(x_btd, padding) for mixer in self.mixers)


def operators(folder: Path) -> set[str]:
    return {node.op_type for name in FILES for node in onnx.load(folder / name).graph.node}


@torch.inference_mode()
def test_every_mixer_is_the_same_in_onnx(exported: Path) -> None:
    module, axes = All().eval(), {0: "batch", 1: "frames"}
    names = [f"y{number}" for number in range(len(module.mixers))]
    example = torch.randn(2, 9, 8), torch.zeros(2, 9, dtype=torch.bool)
    proto = graph_of(module, example, (axes, axes), ["x", "padding"], names)
    # What may be in a file is what some mixer needs, and no more.
    found = operators(exported) | {node.op_type for node in proto.graph.node}
    assert found | {"DynamicQuantizeLinear", "MatMulInteger"} == set(OPERATORS)
    graph = Graph(parse(proto.SerializeToString(), "mixers"), "mixers", threads=1)
    for batch, frames in ((1, 1), (3, 250), (2, 40)):
        lengths = torch.randint(1, frames + 1, (batch,)).sort(descending=True).values
        lengths[0] = frames
        x, padding = torch.randn(batch, frames, 8), padding_mask(lengths, frames)
        found = graph({"x": x, "padding": padding}, names)
        for mixer, ours, truth in zip(module.mixers, found, module(x, padding), strict=True):
            assert torch.allclose(ours, truth, rtol=1e-3, atol=1e-4), f"{mixer} {batch} {frames}"


def test_what_has_no_graph_is_refused(tmp_path: Path) -> None:
    model = ASR(ModelConfig(output_neurons=12, mixer="fourier", d_model=8, nhead=2)).eval()
    with pytest.raises(InputError, match="mixer 'fourier'"):
        write_graphs(model, tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["onnx"], "exists already: give a new folder"),
        (["onnx", "--int8"], "exists already: give a new folder"),
    ],
    ids=["exact", "int8"],
)
def test_the_command_refuses_in_one_line(
    words: list[str], message: str, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("kept")
    given = ["export", words[0], "--model", str(tiny_bundle), "--output", str(tmp_path), *words[1:]]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert (tmp_path / "mine").read_text() == "kept"


def edit_config(folder: Path, change) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def swap_tokenizer(folder: Path, *, summed: bool) -> None:
    """Another tokenizer, with more tokens; with its own sum a forgery."""
    other = train_tokenizer(
        [string.ascii_uppercase + " ONE TWO THREE"], folder / "t.model", output_neurons=36
    )
    other.save(folder / "tokenizer.model")
    if summed:
        edit_config(
            folder, lambda c: c["sha256"].update({"tokenizer.model": file_sum(folder / "tokenizer.model")})
        )


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "encoder.onnx").unlink(), "has no encoder.onnx"),
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: flip(f / "encoder.onnx"), "is not the file that config.json describes"),
        (lambda f: flip(f / "decoder.onnx"), "is not the file that config.json describes"),
        (lambda f: (f / "config.json").write_text("["), "config.json cannot be used"),
        (lambda f: (f / "config.json").write_text("[" * 99_999), "config.json cannot be used"),
        (
            lambda f: edit_config(f, lambda c: c.update(format="hyperconformer-2")),
            "export onnx. makes ONNX of it",
        ),
        (lambda f: edit_config(f, lambda c: c.update(format="whisper")), "its format is 'whisper'"),
        (lambda f: edit_config(f, lambda c: c.update(colour=1)), "no setting 'colour'"),
        (lambda f: edit_config(f, lambda c: c.update(sample_rate_hz=8000)), "hears 8000 Hz"),
        (lambda f: edit_config(f, lambda c: c["sha256"].update({"../x": ""})), "sha256 must have the sums"),
        (lambda f: edit_config(f, lambda c: c["model"].update(d_model=32)), "does not fit the config"),
        (
            lambda f: edit_config(f, lambda c: c["model"].update(num_decoder_layers=2)),
            "does not fit the config",
        ),
        (lambda f: edit_config(f, lambda c: c["sha256"].pop("tokenizer.model")), "sha256 must have the sums"),
        (lambda f: edit_config(f, lambda c: c["sha256"].update({"encoder.onnx": 1})), "no SHA-256 sum: 1"),
        (lambda f: edit_config(f, lambda c: c.pop("int8")), "it lacks 'int8'"),
        (lambda f: edit_config(f, lambda c: c.update(int8=1)), "int8 must be true or false"),
        (lambda f: (f / "config.json").write_text('{"int8": true, "int8": false}'), "stands there twice"),
        (lambda f: (f / "config.json").write_text(" " * 399_999), "bytes are more than 262,144"),
        (lambda f: os.truncate(f / "decoder.onnx", 2**29 + 1), "decoder.onnx .* bytes are more than"),
        (lambda f: (f / "tokenizer.model").write_bytes(b"?"), "it has changed since it was saved"),
        (lambda f: swap_tokenizer(f, summed=False), "it has changed since it was saved"),
        (lambda f: swap_tokenizer(f, summed=True), "tokens, more than the model's 30 output neurons"),
        *((lambda f, n=name: pipe(f / n), f"{name} cannot be used .it is no plain") for name in KNOWN_FILES),
    ],
)
def test_broken_folders_are_refused_in_one_line(folder: Path, change, message: str) -> None:
    change(folder)
    with pytest.raises(InputError, match=message) as raised:
        assert OnnxRecogniser.load(folder).decoder
    assert "\n" not in str(raised.value)


def test_a_bundle_for_pytorch_says_how_onnx_is_made_of_it(tiny_bundle: Path) -> None:
    with pytest.raises(InputError, match="export onnx"):
        open_folder(tiny_bundle)


def test_longer_audio_than_a_mixer_takes_is_refused_with_a_remedy(recogniser: OnnxRecogniser) -> None:
    config = replace(recogniser.config, mixer="mlp", mixer_options={"max_frames": 26})
    short = copy.copy(recogniser)
    short.config = config
    with pytest.raises(InputError, match=r"1.1 s .* 28 frames, more than the 26 .* at most 1 s \(--max_seg"):
        short.hear(torch.zeros(1, 17_600), torch.tensor([17_600]))
    assert short.hear(torch.zeros(1, 16_000), torch.tensor([16_000]))[0].shape[1] == 26


def test_what_onnxruntime_does_not_take_is_refused_in_one_line() -> None:
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["nowhere"], ["y"])], "g", [port], [])
    with pytest.raises(InputError, match="'a.onnx' cannot be used") as raised:
        Graph(helper.make_model(graph), "a.onnx", threads=1)
    assert "\n" not in str(raised.value)
