"""SpeechBrain's Conformers and our models made of them give the same numbers and tokens."""

import math
from pathlib import Path

import pytest
import soundfile
import torch
from hyperpyyaml import resolve_references
from speechbrain.decoders.ctc import ctc_greedy_decode
from speechbrain.decoders.scorer import CTCScorer, ScorerBuilder
from speechbrain.decoders.seq2seq import S2STransformerBeamSearcher
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer import TransformerASR as transformers
from speechbrain.lobes.models.transformer.Transformer import PositionalEncoding
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.nnet import attention
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.schedulers import NoamScheduler
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter
from torch import Tensor, nn

from hyperconformer.cli import main
from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.data.librispeech import scan_split
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.models.asr import ASR
from hyperconformer.models.speechbrain_compat import from_speechbrain, to_speechbrain
from hyperconformer.text import train_tokenizer

PAPER = {"d_model": 144, "d_ffn": 576, "nhead": 8, "encoder": 10, "decoder": 4, "vocabulary": 5000}
SYSTEMS = {
    "8M": ("hypermixing", PAPER),
    "22M": ("hypermixing", PAPER | {"d_model": 256, "d_ffn": 1024, "encoder": 3, "decoder": 2}),
    "relative": ("RelPosMHAXL", PAPER | {"nhead": 4, "encoder": 3, "decoder": 1}),
    "rotary": ("RoPEMHA", PAPER | {"encoder": 3, "decoder": 1}),
    "rotary, 4 heads": ("RoPEMHA", PAPER | {"nhead": 4, "encoder": 2, "decoder": 1}),
}
SMALL = {"d_model": 64, "d_ffn": 256, "nhead": 4, "encoder": 3, "decoder": 2, "vocabulary": 200}
TINY = {"d_model": 16, "d_ffn": 32, "nhead": 2, "encoder": 2, "decoder": 1, "vocabulary": 30}


def upstream(kind: str, sizes: dict[str, int], seed: int = 0, noise: float = 0.02) -> nn.ModuleList:
    """The modules of SpeechBrain's recipe, with random norms and biases too."""
    torch.manual_seed(seed)
    d_model, vocabulary = sizes["d_model"], sizes["vocabulary"]
    front_end = ConvolutionFrontEnd(
        input_shape=(8, 10, 80), num_blocks=2, num_layers_per_block=1, out_channels=(64, 32),
        kernel_sizes=(3, 3), strides=(2, 2), residuals=(False, False),
    )  # fmt: skip
    transformer = TransformerASR(
        input_size=640, tgt_vocab=vocabulary, d_model=d_model, nhead=sizes["nhead"],
        num_encoder_layers=sizes["encoder"], num_decoder_layers=sizes["decoder"], d_ffn=sizes["d_ffn"],
        activation=nn.GELU, encoder_module="conformer", attention_type=kind, normalize_before=True,
        causal=False,
    )  # fmt: skip
    heads = [Linear(input_size=d_model, n_neurons=vocabulary) for _ in range(2)]
    modules = nn.ModuleList([front_end, transformer, *heads]).eval()
    with torch.no_grad():
        for name, parameter in modules.named_parameters():
            small = "norm" not in name and "bias" not in name
            parameter.add_((noise if small else 0.2) * torch.randn_like(parameter))
    return modules


def imported(modules: nn.ModuleList, sizes: dict[str, int]) -> ASR:
    config, weights = from_speechbrain(modules.state_dict(), nhead=sizes["nhead"])
    model = ASR(config).to(weights["ctc_head.weight"].dtype).eval()
    model.load_state_dict(weights)
    return model


@torch.no_grad()
def their_outputs(modules: nn.ModuleList, features: Tensor, tokens: Tensor) -> list[Tensor]:
    front_end, transformer, seq_lin, ctc_lin = modules
    memory = transformer.encode(front_end(features))
    return [memory, ctc_lin(memory), seq_lin(transformer.decode(tokens, memory)[0])]


@torch.no_grad()
def our_outputs(model: ASR, features: Tensor, tokens: Tensor) -> list[Tensor]:
    memory, _ = model.encode_features(features, torch.tensor([features.shape[1]]))
    return [memory, model.ctc_head(memory), model.decoder(tokens, memory, None)]


def inputs(frames: int, vocabulary: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(frames)
    features = torch.randn(1, frames, 80, generator=generator, dtype=torch.float64).to(dtype)
    return features, torch.randint(1, vocabulary, (1, 2 + frames // 8), generator=generator)


@pytest.mark.parametrize("system", SYSTEMS)
def test_same_outputs(system: str) -> None:
    kind, sizes = SYSTEMS[system]
    modules = upstream(kind, sizes)
    model = imported(modules, sizes)
    for frames in (3, 4, 58, 403):
        pair = inputs(frames, sizes["vocabulary"], torch.float32)
        for ours, theirs in zip(our_outputs(model, *pair), their_outputs(modules, *pair), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def table(positions: Tensor, dim: int) -> Tensor:
    """Sines and cosines by turns, in float64 where SpeechBrain stops at float32."""
    rates = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(10_000.0) / dim))
    angles = positions.double().unsqueeze(1) * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).unsqueeze(0)


@pytest.mark.parametrize("system", SYSTEMS)
def test_same_outputs_in_double_precision(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, sizes = SYSTEMS[system]
    modules = upstream(kind, sizes | {"encoder": 2, "decoder": 1, "vocabulary": 50}).double()
    for module in modules.modules():
        if isinstance(module, PositionalEncoding):
            module.pe = table(torch.arange(module.pe.shape[1]), sizes["d_model"])

    def distances(self: nn.Module, seq_len: int) -> Tensor:
        return table(torch.arange(1 - seq_len, seq_len).abs(), self.emb_dim)

    monkeypatch.setattr(attention.RelPosEncXL, "make_pe", distances)
    mask = transformers.get_lookahead_mask
    monkeypatch.setattr(transformers, "get_lookahead_mask", lambda tokens: mask(tokens).double())
    monkeypatch.setattr(attention.F, "softmax", lambda x, dim, **_: x.softmax(dim))
    model = imported(modules, sizes)
    for frames in (3, 58):
        pair = inputs(frames, 50, torch.float64)
        for ours, theirs in zip(our_outputs(model, *pair), their_outputs(modules, *pair), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_round_trip_keeps_every_tensor(system: str) -> None:
    kind, sizes = SYSTEMS[system]
    modules = upstream(kind, sizes | {"encoder": 2})
    model = imported(modules, sizes)
    state, back = modules.state_dict(), to_speechbrain(model)
    assert set(back) == set(state)
    for name, value in state.items():
        if kind == "RoPEMHA" and sizes["nhead"] == 8 and name.endswith("mha_layer.in_proj_weight"):
            # The scale of the scores, 1 / sqrt(8), is rounded into the queries' weights and out again.
            torch.testing.assert_close(back[name], value, rtol=2e-7, atol=0)
        else:
            assert torch.equal(back[name], value), name
    other = upstream(kind, sizes | {"encoder": 2}, seed=1)
    other.load_state_dict(back, strict=True)
    pair = inputs(58, sizes["vocabulary"], torch.float32)
    for again, theirs in zip(their_outputs(other, *pair), their_outputs(modules, *pair), strict=True):
        torch.testing.assert_close(again, theirs, rtol=1e-5, atol=1e-5)


def test_the_order_of_the_recipe_does_not_matter() -> None:
    modules = upstream("hypermixing", TINY)
    front_end, transformer, seq_lin, ctc_lin = modules
    other = nn.ModuleList([front_end, seq_lin, transformer, ctc_lin])
    expected, found = (from_speechbrain(m.state_dict())[1] for m in (modules, other))
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_tied_hypernetworks_are_found_tied() -> None:
    modules = upstream("hypermixing", TINY)
    for layer in modules[1].encoder.layers:
        layer.mha_layer.hyper.w2_gen = layer.mha_layer.hyper.w1_gen
    model = imported(modules, TINY)
    assert model.config.mixer_options["tied"]
    pair = inputs(58, 30, torch.float32)
    for ours, theirs in zip(our_outputs(model, *pair), their_outputs(modules, *pair), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    back = to_speechbrain(model)
    assert all(torch.equal(back[name], value) for name, value in modules.state_dict().items())


@pytest.mark.parametrize("kind", ["hypermixing", "RelPosMHAXL", "RoPEMHA"])
def test_padding_reaches_their_outputs_and_not_ours(kind: str) -> None:
    modules = upstream(kind, TINY)
    model = imported(modules, TINY)
    features, tokens = inputs(200, 30, torch.float32)
    short = 102
    padded = torch.cat((features, features))
    padded[1, short:] = 0.0
    alone, _, _ = their_outputs(modules, features[:, :short], tokens)
    valid = alone.shape[1]
    with torch.no_grad():
        ours, lengths = model.encode_features(padded, torch.tensor([200, short]))
        theirs = modules[1].encode(modules[0](padded), torch.tensor([1.0, short / 200]))
    assert lengths.tolist() == [50, valid]
    torch.testing.assert_close(ours[1, :valid], alone[0], rtol=1e-5, atol=1e-5)
    assert (theirs[1, :valid] - alone[0]).abs().max() > 1e-3


HYPERPARAMS = """\
seed: 7775
output_folder: !ref results/small/<seed>
sample_rate: 16000
n_fft: 400
n_mels: 80
nhead: {nhead}
activation: !name:torch.nn.GELU
blank_index: 0
bos_index: 1
eos_index: 2
Transformer: !new:speechbrain.lobes.models.transformer.TransformerASR.TransformerASR
    nhead: !ref <nhead>
    activation: !ref <activation>
    causal: False
"""


class Run:
    """A run of SpeechBrain's recipe on real speech: random weights first, then a few steps of training."""

    def __init__(self, folder: Path, data: Path, kind: str) -> None:
        self.folder, save = folder, folder / "save"
        utterances = scan_split(data / "LibriSpeech-lossless", "test-clean")
        tokenizer = train_tokenizer(
            [u.words for u in utterances], save / "tokenizer.ckpt", output_neurons=SMALL["vocabulary"]
        )
        self.modules = upstream(kind, SMALL, noise=0.15)
        self.normalizer = InputNormalization(norm_type="global", update_until_epoch=4)
        self.fbank = Fbank(sample_rate=16_000, n_fft=400, n_mels=80)
        checkpointer = Checkpointer(
            save,
            recoverables={
                "model": self.modules,
                "noam_scheduler": NoamScheduler(lr_initial=0.001, n_warmup_steps=25),
                "normalizer": self.normalizer,
                "counter": EpochCounter(limit=2),
            },
        )
        settings = resolve_references(HYPERPARAMS.format(nhead=SMALL["nhead"])).read()
        (folder / "hyperparams.yaml").write_text(settings)
        chosen = sorted(utterances, key=lambda utterance: utterance.seconds)[:6]
        clips = [(read(Path(u.path), 6.0), torch.tensor([tokenizer.encode(u.words)])) for u in chosen]
        for samples, _ in clips:
            self.normalizer(self.fbank(samples), torch.ones(1), epoch=0)
        self.random = checkpointer.save_checkpoint(meta={"ACC": 0.1, "epoch": 1}).path
        self.train(clips)
        self.trained = checkpointer.save_checkpoint(meta={"ACC": 0.2, "epoch": 2}).path

    def train(self, clips: list[tuple[Tensor, Tensor]]) -> None:
        front_end, transformer, seq_lin, ctc_lin = self.modules.train()
        optimizer = torch.optim.Adam(self.modules.parameters(), lr=0.002)
        for samples, tokens in clips * 16:
            source = front_end(self.normalizer(self.fbank(samples), torch.ones(1), epoch=9))
            begun = nn.functional.pad(tokens, (1, 0), value=BEGIN)
            memory, decoded = transformer(source, begun, torch.ones(1), pad_idx=0)
            # CTC's own loss would teach only blanks in so few steps; tokens stretched over the clip do not.
            spread = tokens[0, torch.arange(memory.shape[1]) * tokens.shape[1] // memory.shape[1]]
            ended = nn.functional.pad(tokens, (0, 1), value=END)
            loss = nn.functional.cross_entropy(ctc_lin(memory)[0], spread)
            loss = loss + nn.functional.cross_entropy(seq_lin(decoded)[0], ended[0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.modules.eval()
        self.normalizer.eval()

    @torch.no_grad()
    def memory(self, samples: Tensor) -> Tensor:
        front_end, transformer, _, _ = self.modules
        return transformer.encode(
            front_end(self.normalizer(self.fbank(samples), torch.ones(1))), torch.ones(1)
        )

    @torch.no_grad()
    def log_probs(self, samples: Tensor) -> Tensor:
        return self.modules[3](self.memory(samples)).log_softmax(dim=-1)

    def tokens(self, samples: Tensor) -> tuple[int, ...]:
        return tuple(ctc_greedy_decode(self.log_probs(samples), torch.ones(1), blank_id=BLANK)[0])


def read(path: Path, seconds: float = 60.0) -> Tensor:
    samples, rate = soundfile.read(path, dtype="float32", frames=int(16_000 * seconds))
    assert rate == 16_000
    return torch.from_numpy(samples).unsqueeze(0)


@torch.no_grad()
def our_memory(model: ASR, samples: Tensor) -> Tensor:
    return model.encode(samples, torch.tensor([samples.shape[1]]))[0]


@pytest.fixture(scope="module", params=["hypermixing", "RelPosMHAXL", "RoPEMHA"])
def run(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"), shared_data, request.param)


@pytest.fixture
def clips(shared_data: Path) -> list[Path]:
    found = sorted((shared_data / "LibriSpeech-lossless" / "test-clean").rglob("*.flac"))
    assert len(found) == 30
    return found


@pytest.mark.parametrize("weights", ["random", "trained"])
def test_from_a_recipe_folder_to_the_same_tokens(run: Run, clips: list[Path], weights: str, tmp_path, capsys):
    """A whole run gives its best checkpoint; a checkpoint's own folder gives that one."""
    checkpoint = getattr(run, weights)
    run.modules.load_state_dict(torch.load(checkpoint / "model.ckpt"))
    folder = run.folder if weights == "trained" else checkpoint
    out = tmp_path / "model"
    assert main(["import-speechbrain", str(folder), "--output", str(out)]) == 0
    assert str(checkpoint / "model.ckpt") in capsys.readouterr().out
    model, _ = load_bundle(out)
    heard = set()
    for clip in clips:
        samples = read(clip, 6.0)
        log_probs = model.ctc_log_probs(our_memory(model, samples))
        torch.testing.assert_close(log_probs, run.log_probs(samples), rtol=0, atol=1e-3)
        heard.add(ctc_greedy(log_probs)[0].tokens)
        assert ctc_greedy(log_probs)[0].tokens == run.tokens(samples)
    assert len(heard) > 20
    whole = Transcriber.load(out).transcribe(clips[0])
    assert whole.segments[0].hypotheses[0].tokens == run.tokens(read(clips[0]))


def test_joint_beam_search_finds_the_same(run: Run, clips: list[Path], tmp_path: Path) -> None:
    run.modules.load_state_dict(torch.load(run.trained / "model.ckpt"))
    assert main(["import-speechbrain", str(run.folder), "--output", str(tmp_path / "model")]) == 0
    model, _ = load_bundle(tmp_path / "model")
    _, transformer, seq_lin, ctc_lin = run.modules
    # So little trained they would not end before the limit, where theirs counts what has not as finished.
    for bias in (seq_lin.w.bias, model.decoder.out.bias):
        bias.data[END] += 30
    shared = {"beam_size": 4, "max_decode_ratio": 0.2, "length_normalization": False}
    theirs = S2STransformerBeamSearcher(
        modules=[transformer, seq_lin],
        bos_index=BEGIN,
        eos_index=END,
        min_decode_ratio=0.1,
        using_eos_threshold=False,
        scorer=ScorerBuilder(
            full_scorers=[CTCScorer(ctc_fc=ctc_lin, blank_index=BLANK, eos_index=END)], weights={"ctc": 0.1}
        ),
        return_topk=True,
        topk=1,
        **shared,
    )
    ours = JointSearch(model, SearchOptions(ctc_weight=0.1, min_decode_ratio=0.1, **shared))
    for clip in clips[:3]:
        samples = read(clip, 3.0)
        with torch.no_grad():
            symbols, lengths, scores, _ = theirs(run.memory(samples), torch.ones(1))
        memory = our_memory(model, samples)
        [[hypothesis]] = ours(memory, torch.tensor([memory.shape[1]]))
        length = round(float(lengths[0, 0]) * symbols.shape[-1])
        assert tuple(symbols[0, 0, : length + 1].tolist()) == (*hypothesis.tokens, END)
        assert len(hypothesis.tokens) >= 7
        assert hypothesis.score == pytest.approx(float(scores[0, 0]), abs=1e-3)


def test_an_exported_bundle_loads_there_and_comes_back(run: Run, clips: list[Path], tmp_path: Path) -> None:
    bundle, folder, again = (tmp_path / name for name in ("model", "folder", "again"))
    assert main(["import-speechbrain", str(run.folder), "--output", str(bundle)]) == 0
    assert main(["export", "speechbrain", "--model", str(bundle), "--output", str(folder)]) == 0
    assert main(["import-speechbrain", str(folder), "--output", str(again)]) == 0
    first, second = (load_bundle(path)[0] for path in (bundle, again))
    assert first.config == second.config
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    run.modules.load_state_dict(torch.load(run.trained / "model.ckpt"))
    expected = run.tokens(read(clips[0]))
    run.modules.load_state_dict(torch.load(folder / "model.ckpt", weights_only=True), strict=True)
    normalizer = InputNormalization(norm_type="global").eval()
    normalizer._load(folder / "normalizer.ckpt")
    run.normalizer, kept = normalizer, run.normalizer
    assert run.tokens(read(clips[0])) == expected
    run.normalizer = kept


@pytest.mark.slow
def test_the_8m_model_on_every_clip(clips: list[Path]) -> None:
    modules = upstream("hypermixing", PAPER)
    model = imported(modules, PAPER)
    fbank, normalizer = Fbank(sample_rate=16_000, n_fft=400, n_mels=80), InputNormalization()
    for clip in clips:
        normalizer(fbank(read(clip)), torch.ones(1))
    normalizer.eval()
    model.normalizer.set_statistics(normalizer.glob_mean, normalizer.glob_std)
    for clip in clips:
        samples = read(clip)
        with torch.no_grad():
            memory = modules[1].encode(modules[0](normalizer(fbank(samples), torch.ones(1))), torch.ones(1))
            logits = modules[3](memory)
        theirs = ctc_greedy_decode(logits.log_softmax(dim=-1), torch.ones(1), blank_id=BLANK)[0]
        ours = our_memory(model, samples)
        torch.testing.assert_close(model.ctc_head(ours), logits, rtol=1e-4, atol=1e-4)
        assert ctc_greedy(model.ctc_log_probs(ours))[0].tokens == tuple(theirs)
