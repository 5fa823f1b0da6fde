"""One utterance walks the README's nine stops, from a manifest's row to its WER."""

import re
from pathlib import Path

import pytest
import torch

from hyperconformer.audio import read_audio
from hyperconformer.constants import BEGIN, END, SAMPLE_RATE
from hyperconformer.data.librispeech import prepare_librispeech
from hyperconformer.data.manifest import read_manifest
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.nn.masks import padding_mask
from hyperconformer.nn.subsampling import subsampled
from hyperconformer.scoring import score
from hyperconformer.text import train_tokenizer
from hyperconformer.training.objectives import joint_loss

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.integration


@pytest.fixture(params=["tones", "speech"])
def corpus(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """A folder and a split: made of tones, and of a human voice where there is one."""
    if request.param == "tones":
        return request.getfixturevalue("tiny_librispeech")(), "test-tiny"
    return request.getfixturevalue("shared_data") / "digits", "test-digits"


def test_nine_stops(corpus: tuple[Path, str], tmp_path: Path) -> None:
    folder, split = corpus
    # 1 row
    utterances = read_manifest(prepare_librispeech(folder, [split], tmp_path, progress=False)[split])
    utterance = utterances[0]
    assert utterance.words and utterance.speaker
    # 2 samples
    samples_bs = torch.from_numpy(read_audio(utterance.path)).unsqueeze(0)
    lengths_b = torch.tensor([samples_bs.shape[1]])
    assert samples_bs.shape[1] == pytest.approx(utterance.seconds * SAMPLE_RATE, abs=16)
    # 3 features
    tokenizer = train_tokenizer((u.words for u in utterances), tmp_path / "t.model", output_neurons=40)
    torch.manual_seed(0)
    model = ASR(ModelConfig(output_neurons=40, d_model=16, nhead=2, d_ffn=32, num_encoder_layers=2)).eval()
    features_bfm, frames_b = model.features(samples_bs, lengths_b)
    assert features_bfm.shape == (1, samples_bs.shape[1] // 160 + 1, 80)
    # 4 front-end
    x_btd, encoder_frames_b = model.front_end(features_bfm, frames_b)
    assert x_btd.shape == (1, subsampled(features_bfm.shape[1]), 16)
    # 5 encoder
    padding = padding_mask(encoder_frames_b, x_btd.shape[1])
    memory_btd = model.encoder(x_btd, padding)
    assert memory_btd.shape == x_btd.shape
    # 6 heads and loss
    tokens = tokenizer.encode(utterance.words)
    outputs = model(features_bfm, frames_b, torch.tensor([[BEGIN, *tokens]]))
    torch.testing.assert_close(outputs.ctc_btv, model.ctc_head(memory_btd))
    count = torch.tensor([len(tokens)])
    loss = joint_loss(outputs, torch.tensor([tokens]), count, torch.tensor([[*tokens, END]]), ctc_weight=0.3)
    assert loss.mean.isfinite() and loss.mean > 0
    # 7 search
    greedy = ctc_greedy(model.ctc_log_probs(memory_btd), padding)[0]
    options = SearchOptions(beam_size=2, max_decode_ratio=0.2)
    [[joint]] = JointSearch(model, options)(memory_btd, encoder_frames_b)
    assert set(greedy.parts) == {"ctc"} and set(joint.parts) == {"ctc", "attention"} and joint.score <= 0
    # 8 words, 9 verdict: an untrained model is wrong, its reference is right
    for hypothesis in (greedy, joint):
        assert score([(utterance, tokenizer.decode(hypothesis.tokens))], split).counts.edits > 0
    assert score([(utterance, tokenizer.decode(tokens))], split).counts.wer == 0


def test_the_readme_names_the_same_stops() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) [\w, -]+ \| (.+?) \|", readme, flags=re.MULTILINE)
    assert [number for number, _ in rows] == [str(n) for n in range(1, 10)]
    files = [file for _, cell in rows for file in re.findall(r"`([^`]+\.py)`", cell)]
    assert all((ROOT / file).is_file() for file in files)
    lines = sum(len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in files)
    assert len(files) <= 13 and lines <= 2500, f"{len(files)} files, {lines} lines"
