"""An exported folder, opened by SpeechBrain's own inference, gives the text that our joint search gives."""

import socket
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from speechbrain.inference.ASR import EncoderDecoderASR
from torch import Tensor

from hyperconformer.audio import read_audio
from hyperconformer.constants import BEGIN, BLANK, END, SAMPLE_RATE
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import Models, make_search
from hyperconformer.export.speechbrain import export_folder
from hyperconformer.inference.bundle import load_bundle, save_bundle
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import Tokenizer, train_tokenizer
from hyperconformer.types import Hypothesis
from tests.helpers import randomise

SENTENCE = "ONE TWO THREE FOUR FIVE"
D_FFN = 64
SEED = 2
MIXERS: dict[str, dict[str, Any]] = {
    "hypermixing": {"length_norm": "none", "hypernet_size": D_FFN},
    "relative": {},
    "attention": {},
}
SEARCHES = {
    "defaults": SearchOptions(),
    "tuned": SearchOptions(
        beam_size=5,
        ctc_weight=0.6,
        temperature=1.2,
        length_normalization=True,
        min_decode_ratio=0.05,
        max_decode_ratio=0.9,
        eos_threshold=1.5,
    ),
    "attention alone": SearchOptions(ctc_weight=0.0, beam_size=4, min_decode_ratio=0.1),
}


def sound(number: int) -> Tensor:
    """Noise that comes and goes: (1, samples), each of another length."""
    samples = 16_000 + 2_437 * number
    generator = torch.Generator().manual_seed(number)
    swell = torch.linspace(0, 9 * (number + 1), samples).sin()
    return 0.1 * swell * torch.randn(1, samples, generator=generator)


@torch.no_grad()
def talkative(mixer: str, words: Tokenizer) -> ASR:
    """A recogniser that was never trained, but whose CTC hears a sentence in one sound, others in others."""
    config = ModelConfig(
        output_neurons=words.size, mixer=mixer, mixer_options=MIXERS[mixer], d_model=32, nhead=2, d_ffn=D_FFN,
        num_encoder_layers=2, num_decoder_layers=1, frontend_channels=(8, 4), branch_start=1.0,
    )  # fmt: skip
    torch.manual_seed(SEED)
    model = randomise(ASR(config), seed=SEED).eval()
    model.normalizer.set_statistics(torch.full((80,), -40.0), torch.full((80,), 20.0))
    memory_td = model.encode(sound(0), torch.tensor([sound(0).shape[1]]))[0][0]
    mean_d = memory_td.mean(dim=0)
    tokens = words.encode(SENTENCE)
    places = torch.linspace(2, len(memory_td) - 3, len(tokens)).long()
    head = model.ctc_head
    head.weight.zero_()
    head.bias.fill_(-4.0)
    head.bias[BLANK] = 0.0
    for token, frame_d in zip(tokens, memory_td[places] - mean_d, strict=True):
        head.weight[token] = 12.0 * frame_d / frame_d.square().sum()
        head.bias[token] = -6.0 - head.weight[token] @ mean_d
    out = model.decoder.out
    out.weight.mul_(0.5)
    # What is not said by any trained model, and an end that comes before the limit.
    out.bias[[BEGIN, BLANK]] -= 6.0
    out.bias[END] += 2.0
    return model


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects to anything fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(
        [SENTENCE] * 2, tmp_path_factory.mktemp("words") / "words.model", output_neurons=60
    )


def exported(mixer: str, words: Tokenizer, folder: Path, options: SearchOptions) -> tuple[ASR, Path]:
    """A bundle as we open it, and its exported folder."""
    bundle = save_bundle(folder / "model", talkative(mixer, words), words, metrics={}, card="# Small\n")
    return load_bundle(bundle)[0], export_folder(bundle, folder / "speechbrain", options)


@torch.inference_mode()
def ours(model: ASR, samples: Tensor, options: SearchOptions) -> Hypothesis:
    memory, _ = model.encode(samples, torch.tensor([samples.shape[1]]))
    found = make_search("joint", Models(model), options)(memory, torch.tensor([memory.shape[1]]))[0][0]
    # What does not end by itself is cut where SpeechBrain counts it as finished.
    assert len(found.tokens) < options.max_decode_ratio * memory.shape[1] - 1
    return found


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("mixer", MIXERS)
def test_the_text_is_the_same(mixer: str, search: str, words: Tokenizer, tmp_path: Path) -> None:
    options = SEARCHES[search]
    model, folder = exported(mixer, words, tmp_path, options)
    theirs = EncoderDecoderASR.from_hparams(source=str(folder), savedir=str(tmp_path / "kept"))
    # Their loader forgives what is missing or too much.
    stored = torch.load(folder / "model.ckpt", weights_only=True)
    assert set(stored) == set(theirs.mods.model.state_dict())
    for name, value in theirs.mods.model.state_dict().items():
        assert torch.equal(stored[name], value), name
    said = set()
    for number in range(3):
        samples = sound(number)
        expected = ours(model, samples, options)
        texts, tokens = theirs.transcribe_batch(samples, torch.ones(1))
        assert tuple(tokens[0]) == expected.tokens
        assert " ".join(texts[0].split()) == words.decode(expected.tokens)
        said.add(words.decode(expected.tokens))
    assert len(said) >= 2 and all(said)


@pytest.mark.usefixtures("offline")
def test_a_file_is_heard_as_its_samples_are(words: Tokenizer, tmp_path: Path) -> None:
    model, folder = exported("attention", words, tmp_path, SearchOptions())
    theirs = EncoderDecoderASR.from_hparams(source=str(folder), savedir=str(tmp_path / "kept"))
    soundfile.write(tmp_path / "heard.wav", sound(1)[0].numpy(), SAMPLE_RATE, subtype="FLOAT")
    expected = words.decode(ours(model, sound(1), SearchOptions()).tokens)
    assert " ".join(theirs.transcribe_file(str(tmp_path / "heard.wav")).split()) == expected != ""


@pytest.mark.usefixtures("offline")
def test_real_voices_are_heard_alike(shared_data: Path, words: Tokenizer, tmp_path: Path) -> None:
    model, folder = exported("hypermixing", words, tmp_path, SearchOptions())
    theirs = EncoderDecoderASR.from_hparams(source=str(folder), savedir=str(tmp_path / "kept"))
    said = set()
    for clip in sorted((shared_data / "digits" / "test-digits").rglob("*.opus"))[:3]:
        samples = torch.from_numpy(read_audio(clip)).unsqueeze(0)
        expected = words.decode(ours(model, samples, SearchOptions()).tokens)
        assert " ".join(theirs.transcribe_file(str(clip)).split()) == expected
        said.add(expected)
    assert len(said) == 3 and all(said)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("bias", [2.0, -30.0])
def test_without_training_only_the_begin_symbol_makes_a_difference(
    bias: float, words: Tokenizer, tmp_path: Path
) -> None:
    """SpeechBrain's search takes it for a token like any other; a trained model never says it."""
    torch.manual_seed(SEED)
    sizes = {"d_model": 32, "nhead": 2, "d_ffn": D_FFN, "num_encoder_layers": 2, "num_decoder_layers": 1}
    sizes |= {"frontend_channels": (8, 4), "branch_start": 1.0}
    model = ASR(ModelConfig(output_neurons=words.size, mixer="attention", **sizes))
    model.normalizer.set_statistics(torch.full((80,), -40.0), torch.full((80,), 20.0))
    with torch.no_grad():
        for head in (model.decoder.out, model.ctc_head):
            head.bias[BEGIN] += bias
    bundle = save_bundle(tmp_path / "model", model.eval(), words, metrics={}, card="# Untrained\n")
    folder = export_folder(bundle, tmp_path / "speechbrain", SearchOptions())
    theirs = EncoderDecoderASR.from_hparams(source=str(folder), savedir=str(tmp_path / "kept"))
    for number in range(3):
        found = tuple(theirs.transcribe_batch(sound(number), torch.ones(1))[1][0])
        same = found == ours(model, sound(number), SearchOptions()).tokens
        assert same == (BEGIN not in found) == (bias < 0)


@pytest.mark.usefixtures("offline")
def test_the_search_can_be_set_there(words: Tokenizer, tmp_path: Path) -> None:
    """SpeechBrain's overrides reach the search, and it may do without a folder of its own."""
    model, folder = exported("relative", words, tmp_path, SearchOptions())
    theirs = EncoderDecoderASR.from_hparams(source=str(folder), overrides={"beam_size": 3, "ctc_weight": 0.7})
    expected = ours(model, sound(2), SearchOptions(beam_size=3, ctc_weight=0.7)).tokens
    assert tuple(theirs.transcribe_batch(sound(2), torch.ones(1))[1][0]) == expected
    assert expected != ours(model, sound(2), SearchOptions()).tokens
