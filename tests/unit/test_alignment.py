"""Words of an alignment: their texts, times and confidences, and what cannot be aligned."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.decoding.alignment import SECONDS_PER_FRAME, TokenSpan, align, words
from hyperconformer.decoding.confidence import Calibration, fit_calibration
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.errors import InputError
from hyperconformer.features import LogMel
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.nn.subsampling import Subsampling
from hyperconformer.text import Tokenizer, train_tokenizer

B, A, SPACE = 3, 4, 5


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Each character is a token, and so is the space."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(
            ["AB BAB BA"], Path(folder) / "t.model", output_neurons=6, model_type="char"
        )
    assert tokenizer.encode("AB") == [SPACE, A, B]
    return tokenizer


def certain(path: list[int], vocabulary: int = 6) -> Tensor:
    """Log-probabilities of a path that is nearly certain."""
    one_hot = torch.nn.functional.one_hot(torch.tensor(path), vocabulary).double()
    return (20 * one_hot).log_softmax(-1)


@pytest.mark.parametrize("frame", [2, 7, 20])
def test_a_frame_hears_the_audio_around_its_centre(frame: int) -> None:
    """What the module says of a frame's place: 40 t ms, with as much before as after it."""
    features = torch.randn(1, 101, 80, requires_grad=True)
    front_end = Subsampling(80, 8, channels=(4, 4), dropout=0.0)
    front_end(features, torch.tensor([101]))[0][0, frame].sum().backward()  # type: ignore[no-untyped-call]  # torch's
    assert features.grad is not None
    heard = features.grad[0].abs().sum(dim=1).nonzero().flatten().tolist()
    assert (heard[0], heard[-1]) == (4 * frame - 3, 4 * frame + 3)


def test_a_feature_is_centred_on_its_hop() -> None:
    samples = torch.zeros(1, SAMPLE_RATE)
    samples[0, 8000] = 1.0  # half a second
    features, _ = LogMel()(samples, torch.tensor([SAMPLE_RATE]))
    assert int(features[0].mean(dim=1).argmax()) == 50


def test_a_word_takes_of_the_blanks_beside_it(tokenizer: Tokenizer) -> None:
    (word,) = words(certain([0] * 10 + [SPACE, A, A, B] + [0] * 10), [SPACE, A, B], tokenizer)
    # A starts in frame 11, whose first edge is at 0.42 s; B ends with frame 13, at 0.54 s.
    assert (word.start, word.end) == pytest.approx((0.39, 0.59))
    assert word.text == "AB" and word.confidence > 0.99


def test_neighbours_share_few_blanks(tokenizer: Tokenizer) -> None:
    one, two = words(certain([0, 0, A, SPACE, A, 0, 0]), [A, SPACE, A], tokenizer)
    # A frame of 40 ms lies between them, from 0.1 s: 25 ms go to the first word and 15 ms to the second.
    assert one.end == pytest.approx(0.125) and two.start == pytest.approx(0.125)


def test_no_word_ends_after_the_audio(tokenizer: Tokenizer) -> None:
    table = certain([0, A, 0, A])
    assert words(table, [A, A], tokenizer)[-1].end == pytest.approx(3 * SECONDS_PER_FRAME)
    assert words(table, [A, A], tokenizer, seconds=0.13)[-1].end == pytest.approx(0.13)


def test_a_space_of_its_own_counts_for_the_word_that_it_begins(tokenizer: Tokenizer) -> None:
    table = torch.full((5, 6), -50.0)
    for frame, (token, probability) in enumerate([(A, 0.9), (0, 1.0), (SPACE, 0.5), (B, 0.8), (0, 1.0)]):
        table[frame, token] = float(np.log(probability))
    assert [word.confidence for word in words(table, [A, SPACE, B], tokenizer)] == pytest.approx([0.9, 0.4])
    # A space before nothing counts for nothing.
    assert words(table, [A, SPACE], tokenizer)[0].confidence == pytest.approx(0.9)


def test_no_tokens_no_words(tokenizer: Tokenizer) -> None:
    assert align(torch.zeros(0, 6), []) == []
    assert words(torch.zeros(4, 6), [], tokenizer) == []
    assert words(torch.zeros(4, 6), [SPACE], tokenizer) == []


@pytest.mark.parametrize(
    ("frames", "tokens", "least"), [(0, [3], 1), (2, [3, 4, 5], 3), (2, [3, 3], 3), (3, [3, 4, 4], 4)]
)
def test_too_many_tokens_are_named(frames: int, tokens: list[int], least: int) -> None:
    message = f"{len(tokens)} tokens cannot be aligned to {frames} frames: no path of at least {least} frames"
    with pytest.raises(ValueError, match=message):
        align(torch.zeros(frames, 6), tokens)


@pytest.mark.parametrize("poison", [-np.inf, np.nan])
def test_what_has_no_probability_cannot_be_aligned(poison: float) -> None:
    table = torch.zeros(4, 6)
    table[:, 4] = poison
    with pytest.raises(ValueError, match="has a probability"):
        align(table, [3, 4])


@pytest.mark.parametrize("token", [0, -1, 6])
def test_a_blank_or_a_token_beyond_the_table_is_named(token: int, tokenizer: Tokenizer) -> None:
    message = f"token {token} cannot be aligned: tokens are from 1 to 5"
    with pytest.raises(ValueError, match=message):
        align(torch.zeros(4, 6), [A, token])
    with pytest.raises(ValueError, match=message):
        words(torch.zeros(4, 6), [A, token], tokenizer)


def test_words_that_ctc_cannot_have_said_share_the_frames(tokenizer: Tokenizer) -> None:
    first, second = words(torch.zeros(4, 6), [A, B, SPACE, A, B, A], tokenizer)
    assert first.confidence == second.confidence == 0.0
    assert 0 <= first.start <= first.end <= second.start <= second.end <= 0.12


def test_an_unknown_measure_is_answered_with_the_legal_ones(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="'best' is not one of product, mean, min, tsallis"):
        words(torch.zeros(4, 6), [A], tokenizer, measure="best")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision(dtype: torch.dtype) -> None:
    assert align(certain([0, 5, 5, 0]).to(dtype), [5]) == [TokenSpan(1, 3)]


def test_words_are_the_same_alone_and_in_a_batch(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        output_neurons=6, d_model=16, nhead=2, d_ffn=32, num_encoder_layers=1, num_decoder_layers=1
    )
    model = ASR(config).eval().double()
    samples, lengths = torch.randn(2, 32_000, dtype=torch.float64), torch.tensor([32_000, 14_000])

    def heard(samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        memory, padding = model.encode(samples, lengths)
        return model.ctc_log_probs(memory), padding

    with torch.inference_mode():
        tables, padding = heard(samples, lengths)
        alone, _ = heard(samples[1:, :14_000], lengths[1:])
    frames = int((~padding[1]).sum())
    tokens = ctc_greedy(alone)[0].tokens
    assert tokens
    together = words(tables[1, :frames], tokens, tokenizer)
    for word, own in zip(together, words(alone[0], tokens, tokenizer), strict=True):
        assert (word.text, word.start, word.end) == (own.text, own.start, own.end)
        assert word.confidence == pytest.approx(own.confidence)


def test_a_calibration_is_learnt_from_words_that_follow_it() -> None:
    generator = np.random.default_rng(0)
    confidences = generator.uniform(0.02, 0.98, 20_000)
    truth = Calibration(scale=0.6, offset=-0.8)
    right = generator.random(20_000) < [truth(confidence) for confidence in confidences]
    found = fit_calibration(confidences.tolist(), right.tolist())
    assert (found.scale, found.offset) == pytest.approx((0.6, -0.8), abs=0.06)


def test_few_words_change_little_and_sure_ones_do_not_overflow() -> None:
    found = fit_calibration([1.0, 0.9], [True, True])
    assert 0.9 <= found(0.9) < 0.99
    sure = fit_calibration([1.0] * 500, [True] * 499 + [False])
    assert 0.98 < sure(1.0) < 1.0
    contrary = fit_calibration([0.9] * 50 + [0.1] * 50, [False] * 50 + [True] * 50)
    assert contrary.scale == 0.0


def test_what_a_calibration_cannot_be_or_learn_from() -> None:
    for scale, offset in ((-1.0, 0.0), (1.0, np.inf), (np.nan, 0.0)):
        with pytest.raises(ValueError, match="calibration"):
            Calibration(scale, offset)
    with pytest.raises(InputError, match="no words"):
        fit_calibration([], [])
    with pytest.raises(ValueError, match="1 confidences for 2 words"):
        fit_calibration([0.5], [True, False])
