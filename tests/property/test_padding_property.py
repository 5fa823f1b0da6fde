"""Padding is invisible: an utterance gives the same result alone and in any batch, through every layer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.data.pipeline import Batch, Example, collate
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.mixers import MIXERS
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.encoder import EncoderLayer
from hyperconformer.nn.convolution import ConvolutionModule
from hyperconformer.nn.masks import padding_mask
from hyperconformer.nn.subsampling import Subsampling
from hyperconformer.training.objectives import joint_loss
from hyperconformer.types import Utterance
from tests.helpers import randomise

LENGTHS = st.lists(st.integers(1, 23), min_size=1, max_size=4)
FEW = settings(max_examples=10, deadline=None)


def tiny(mixer: str) -> ASR:
    torch.manual_seed(0)
    config = ModelConfig(
        output_neurons=9, mixer=mixer, d_model=8, nhead=2, d_ffn=16, kernel_size=7, num_encoder_layers=2,
        num_decoder_layers=1, frontend_channels=(4, 4), n_mels=16,
    )  # fmt: skip
    return randomise(ASR(config)).double().eval()


def utterance_batch(samples: list[int], tokens: list[int], seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    return collate(
        [
            Example(
                Utterance(str(n), s / 16_000, "", "", "A"),
                rng.normal(size=s).astype(np.float32),
                rng.integers(3, 9, size=t).tolist(),
                np.zeros(0, np.int64),
            )
            for n, (s, t) in enumerate(zip(samples, tokens, strict=True))
        ]
    )


@FEW
@given(lengths=LENGTHS, extra=st.integers(0, 9), seed=st.integers(0, 99))
def test_front_end(lengths: list[int], extra: int, seed: int) -> None:
    module = Subsampling(8, 4, channels=(3, 2), dropout=0.0).double()
    x = torch.randn(
        len(lengths), max(lengths) + extra, 8, generator=torch.Generator().manual_seed(seed)
    ).double()
    batched, out_lengths = module(x, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone, _ = module(x[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(batched[row, : out_lengths[row]], alone[0])
        assert not batched[row, out_lengths[row] :].any()


@pytest.mark.parametrize("mixer", MIXERS)
@FEW
@given(lengths=LENGTHS, extra=st.integers(0, 9), seed=st.integers(0, 99))
def test_encoder_layer_and_convolution(mixer: str, lengths: list[int], extra: int, seed: int) -> None:
    layer = randomise(EncoderLayer(8, 2, 16, 7, mixer=mixer, mixer_options={}, dropout=0.1)).double().eval()
    convolution: ConvolutionModule = layer.convolution
    x = torch.randn(
        len(lengths), max(lengths) + extra, 8, generator=torch.Generator().manual_seed(seed)
    ).double()
    padding = padding_mask(torch.tensor(lengths), x.shape[1])
    for module in (layer, convolution):
        batched = module(x, padding)
        for row, length in enumerate(lengths):
            torch.testing.assert_close(batched[row, :length], module(x[row : row + 1, :length], None)[0])


@pytest.mark.parametrize("mixer", MIXERS)
@FEW
@given(
    samples=st.lists(st.integers(1, 9000), min_size=1, max_size=3),
    count=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_logits_losses_and_greedy_search(mixer: str, samples: list[int], count: int, seed: int) -> None:
    model = tiny(mixer)
    batch = utterance_batch(samples, [count + n for n in range(len(samples))], seed)

    def run(part: Batch):
        features, frames = model.features(part.samples_bs.double(), part.lengths_b)
        outputs = model(features, frames, part.decoder_input(), (1,))
        loss = joint_loss(
            outputs,
            part.tokens_bl,
            part.token_lengths_b,
            part.decoder_target(),
            ctc_weight=0.3,
            inter_ctc_weight=0.4,
        )
        memory, lengths = model.encode_features(features, frames)
        padding = padding_mask(lengths, memory.shape[1])
        return outputs, loss, ctc_greedy(model.ctc_log_probs(memory), padding)

    outputs, loss, hypotheses = run(batch)
    for row, length in enumerate(batch.lengths_b.tolist()):
        tokens = int(batch.token_lengths_b[row])
        one = utterance_batch([length], [tokens], 0)
        one.samples_bs.copy_(batch.samples_bs[row : row + 1, :length])
        one.tokens_bl.copy_(batch.tokens_bl[row : row + 1, :tokens])
        alone, alone_loss, alone_hypotheses = run(one)
        frames = int(alone.lengths_b[0])
        torch.testing.assert_close(outputs.ctc_btv[row, :frames], alone.ctc_btv[0])
        torch.testing.assert_close(outputs.inter_ctc[0][row, :frames], alone.inter_ctc[0][0])
        torch.testing.assert_close(outputs.attention_blv[row, : tokens + 1], alone.attention_blv[0])
        torch.testing.assert_close(loss.total_b[row], alone_loss.total_b[0])
        assert hypotheses[row].tokens == alone_hypotheses[0].tokens
        assert hypotheses[row].score == pytest.approx(alone_hypotheses[0].score)


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_8m_model_on_real_speech(mixer: str, shared_data) -> None:
    from hyperconformer.audio import read_audio

    torch.manual_seed(1)
    model = ASR(ModelConfig(output_neurons=5000, mixer=mixer)).eval()
    clips = sorted((shared_data / "LibriSpeech" / "test-clean").rglob("*.opus"))[:60:20]
    samples = [torch.from_numpy(read_audio(clip)) for clip in clips]
    lengths = torch.tensor([len(s) for s in samples])
    padded = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)
    with torch.inference_mode():
        memory, _ = model.encode(padded, lengths)
        tokens = torch.randint(3, 5000, (len(clips), 7))
        logits = model(*model.features(padded, lengths), tokens).attention_blv
        for row, sample in enumerate(samples):
            one = sample.unsqueeze(0), lengths[row : row + 1]
            alone, _ = model.encode(*one)
            together = model.ctc_head(memory[row, : alone.shape[1]])
            torch.testing.assert_close(together, model.ctc_head(alone[0]), rtol=1e-5, atol=1e-5)
            alone_logits = model(*model.features(*one), tokens[row : row + 1]).attention_blv
            torch.testing.assert_close(logits[row], alone_logits[0], rtol=1e-5, atol=1e-5)
