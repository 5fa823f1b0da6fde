"""One pass over a recording: slices that lose nothing, and models that cannot."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperconformer.decoding.alignment import words
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.errors import InputError
from hyperconformer.inference.encoding import encode
from hyperconformer.inference.longform_options import LongformOptions
from hyperconformer.inference.one_pass import check_one_pass, one_pass, slices
from hyperconformer.mixers import MIXERS
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import Tokenizer, train_tokenizer
from hyperconformer.types import Segment, Word

VOCABULARY = 30


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokens") / "t.model"
    return train_tokenizer(["ONE TWO THREE FOUR FIVE SIX"], path, output_neurons=20, model_type="char")


def recogniser(tokenizer: Tokenizer) -> Callable[[list[Tensor]], list[Segment]]:
    """Greedy words of one-hot encoder output."""

    def recognise(memories: list[Tensor]) -> list[Segment]:
        said = []
        for memory_td in memories:
            log_probs_tv = (20.0 * memory_td).log_softmax(dim=-1)
            [hypothesis] = ctc_greedy(log_probs_tv[None])
            found = tuple(words(log_probs_tv, hypothesis.tokens, tokenizer))
            text = tokenizer.decode(hypothesis.tokens)
            said.append(Segment(0.0, 0.04 * len(memory_td), text, found, (hypothesis,)))
        return said

    return recognise


def path_of(tokens: list[int], blanks: np.ndarray) -> Tensor:
    """Each token in one frame, after so many blanks."""
    frames = [label for token, gap in zip(tokens, blanks, strict=True) for label in [*[0] * gap, token]]
    return torch.tensor([*frames, *[0] * 40])


def test_slices_say_what_the_whole_says(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    text = " ".join(rng.choice(["ONE", "TWO", "THREE", "FIVE"], 200))
    tokens = tokenizer.encode(text)
    pieces = tokenizer.pieces(tokens)
    begins = [piece.startswith(" ") or piece.isspace() for piece in pieces]
    blanks = np.where(begins, rng.integers(4, 40, len(tokens)), rng.integers(1, 3, len(tokens)))
    path_t = path_of(tokens, blanks)
    memory_btd = torch.nn.functional.one_hot(path_t, tokenizer.size).float()[None]

    def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        return memory_btd, torch.tensor([len(path_t)])

    options = LongformOptions(max_segment_seconds=5.0, overlap_seconds=0.0, batch_seconds=12.0)
    samples = np.zeros(640 * len(path_t), np.float32)
    found = list(one_pass(samples, hear, lambda rows: rows, recogniser(tokenizer), options))
    assert len(found) > 20
    assert " ".join(segment.text for segment in found) == text
    spikes = [0.04 * frame for frame in (path_t > 0).nonzero().flatten().tolist()]
    said = [word for segment in found for word in segment.words]
    for word in said:
        assert any(word.start <= spike <= word.end for spike in spikes)
    starts = [word.start for word in said]
    assert starts == sorted(starts) and said[-1].end <= 0.04 * len(path_t)
    assert all(segment.start == segment.words[0].start for segment in found)
    assert all(segment.end - segment.start <= 5.0 for segment in found)


@settings(deadline=None, max_examples=200)
@given(gaps=st.lists(st.integers(0, 90), max_size=60), tail=st.integers(0, 90), longest=st.integers(8, 200))
def test_slices_keep_every_label(gaps: list[int], tail: int, longest: int) -> None:
    blank_t = np.array([flag for gap in gaps for flag in [*[True] * gap, False]] + [True] * tail, np.bool_)
    found = slices(blank_t, longest)
    covered = np.zeros(len(blank_t), np.bool_)
    for first, stop in found:
        assert 0 < stop - first <= longest
        assert not covered[first:stop].any()
        assert not blank_t[first:stop].all()
        covered[first:stop] = True
    assert covered[~blank_t].all()
    assert found == sorted(found)


def test_a_real_encoder_hears_all_at_once() -> None:
    """Greedy decoding of slices gives the tokens of the whole, up to what is cut without a blank."""
    torch.manual_seed(0)
    config = ModelConfig(
        output_neurons=VOCABULARY,
        d_model=16,
        nhead=2,
        d_ffn=32,
        num_encoder_layers=1,
        num_decoder_layers=1,
        branch_start=1.0,
    )
    model = ASR(config).eval()
    model.ctc_head.bias.data[0] += 0.5
    samples = np.random.default_rng(0).normal(scale=0.1, size=16_000 * 90).astype(np.float32)
    calls = []

    def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(samples_bs.shape)
        return encode(model, samples_bs, lengths_b)

    def recognise(memories: list[Tensor]) -> list[Segment]:
        hypotheses = [ctc_greedy(model.ctc_log_probs(memory_td[None]))[0] for memory_td in memories]
        return [Segment(0.0, 1.0, "X", hypotheses=(hypothesis,)) for hypothesis in hypotheses]

    said = list(one_pass(samples, hear, model.ctc_head, recognise))
    assert calls == [(1, len(samples))] and len(said) > 3
    with torch.inference_mode():
        memory_btd, _ = encode(model, torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        [whole] = ctc_greedy(model.ctc_log_probs(memory_btd))
    assert [token for segment in said for token in segment.hypotheses[0].tokens] == list(whole.tokens)


def test_nothing_is_said_after_the_end() -> None:
    """The last frame may reach beyond the samples."""

    def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        return torch.eye(3)[torch.tensor([[0, 2, 2]])], torch.tensor([3])

    def recognise(memories: list[Tensor]) -> list[Segment]:
        return [Segment(0.0, 0.12, "TWO", words=said) for _ in memories]

    for said in ((), (Word("TWO", 0.04, 0.12, 1.0),)):
        [segment] = one_pass(np.zeros(1_500, np.float32), hear, lambda rows: rows, recognise)
        assert segment.end == 1_500 / 16_000
        assert [word.end for word in segment.words] == [segment.end] * len(said)


def test_samples_that_no_model_can_hear() -> None:
    def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((1, 5, 3), torch.nan), torch.tensor([5])

    with pytest.raises(InputError, match="no finite scores"):
        list(one_pass(np.zeros(10, np.float32), hear, lambda rows: rows, lambda memories: []))


@pytest.mark.parametrize("mixer", sorted(MIXERS))
def test_who_can_hear_two_hours_at_once(mixer: str) -> None:
    config = ModelConfig(output_neurons=30, mixer=mixer)
    check_one_pass(config, 50.0)
    if mixer in ("attention", "relative", "mlp", "gmlp"):
        with pytest.raises(InputError, match=rf"one pass over 7200 s is too much for mixer '{mixer}'"):
            check_one_pass(config, 7200.0)
    else:
        check_one_pass(config, 7200.0)
