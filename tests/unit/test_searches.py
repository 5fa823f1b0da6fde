"""The searches by name: what they refuse, and that all of them agree on what a hypothesis scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import SEARCHES, Models, make_search
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig, ModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.ngram.model import Entries, NGram
from hyperconformer.text import Tokenizer, train_tokenizer
from tests.helpers import randomise

SIZES = {"output_neurons": 16, "d_model": 8, "nhead": 2, "d_ffn": 16}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return train_tokenizer(["AB BAC CAB"] * 9, tmp_path / "t.model", output_neurons=9, model_type="unigram")


@pytest.fixture
def models(tokenizer: Tokenizer) -> Models:
    asr = ASR(ModelConfig(**SIZES, num_encoder_layers=1, num_decoder_layers=1))
    lm = LanguageModel(LanguageModelConfig(**SIZES, num_layers=1))
    words = Entries(
        np.zeros(5, np.int64), np.arange(5, dtype=np.int32), np.float32([-3, -99, -1, -0.7, -1.2]),
        np.zeros(5, np.float32),
    )  # fmt: skip
    ngram = NGram.build(["<unk>", "<s>", "</s>", "AB", "CAB"], [words])
    return Models(randomise(asr).eval(), randomise(lm, 1).eval(), tokenizer, ngram, ("AB",))


MEMORY, FRAMES = torch.randn(2, 10, 8, generator=torch.Generator().manual_seed(4)), torch.tensor([10, 7])
EVERYTHING = SearchOptions(
    beam_size=8, nbest=3, lm_weight=0.5, ngram_weight=0.4, word_bonus=0.3, hotword_bonus=0.2
)


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_gives_what_it_promises(name: str, models: Models) -> None:
    found = make_search(name, models, EVERYTHING)(MEMORY, FRAMES)
    assert [len(nbest) for nbest in found] == ([1, 1] if name == "greedy" else [3, 3])
    for nbest in found:
        assert [one.score for one in nbest] == sorted((one.score for one in nbest), reverse=True)
        assert len({one.tokens for one in nbest}) == len(nbest)
        for one in nbest:
            if name != "greedy":
                assert not set(one.tokens) & {0, 1, 2}
                weights = EVERYTHING if name != "prefix" else replace(EVERYTHING, ctc_weight=1.0)
                total = sum(weights.weight(part) * value for part, value in one.parts.items())
                assert one.score == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("name", ["prefix", "rescore", "joint"])
def test_an_utterance_is_heard_the_same_alone(name: str, models: Models) -> None:
    search = make_search(name, models, EVERYTHING)
    together = search(MEMORY, FRAMES)
    for row, frames in enumerate(FRAMES.tolist()):
        [alone] = search(MEMORY[row : row + 1, :frames], FRAMES[row : row + 1])
        assert [one.tokens for one in alone] == [one.tokens for one in together[row]]
        assert [one.score for one in alone] == pytest.approx([one.score for one in together[row]], abs=1e-3)


def test_joint_search_and_rescoring_agree_on_every_part(models: Models) -> None:
    everything, frames = (
        replace(EVERYTHING, beam_size=200, nbest=200, max_decode_ratio=2.0),
        FRAMES.clamp(max=2),
    )
    [joint, _] = make_search("joint", models, everything)(MEMORY[:, :2], frames)
    [rescored, _] = make_search("rescore", models, everything)(MEMORY[:, :2], frames)
    # Two frames say nothing, one token, or two that differ.
    assert len(joint) == len(rescored) == 1 + 13 + 13 * 12
    assert [one.tokens for one in joint] == [one.tokens for one in rescored]
    for one, other in zip(joint, rescored, strict=True):
        assert one.parts == pytest.approx(other.parts, abs=1e-3)


def test_a_large_bonus_brings_the_hotword(models: Models) -> None:
    hot = replace(EVERYTHING, hotword_bonus=8.0, lm_weight=0.0)
    for name in ("prefix", "joint"):
        [best, *_] = make_search(name, models, hot)(MEMORY, FRAMES)[0]
        assert models.tokenizer and "AB" in models.tokenizer.decode(best.tokens).split()


@pytest.mark.parametrize(
    ("name", "changes", "gone", "fault"),
    [
        ("viterbi", {}, (), "search must be one of"),
        ("joint", {"lm_weight": 0.5}, ("language_model",), "there is no language model"),
        ("rescore", {"lm_weight": 0.5}, ("language_model",), "there is no language model"),
        ("prefix", {"ngram_weight": 0.5}, ("ngram",), "there is no n-gram model"),
        ("joint", {"word_bonus": 0.5}, ("tokenizer",), "need the tokenizer"),
        ("prefix", {"hotword_bonus": 0.5}, ("tokenizer",), "need the tokenizer"),
    ],
)
def test_what_is_missing_is_named(
    name: str, changes: dict[str, float], gone: tuple[str, ...], fault: str, models: Models
) -> None:
    with pytest.raises(ValueError, match=fault):
        make_search(name, replace(models, **dict.fromkeys(gone)), SearchOptions(**changes))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("width", [12, 20])
def test_a_language_model_may_have_other_output_neurons(width: int, tied: bool, models: Models) -> None:
    config = LanguageModelConfig(**{**SIZES, "output_neurons": width}, num_layers=1, tie_embeddings=tied)
    own = randomise(LanguageModel(config), 1).eval()
    everything = replace(EVERYTHING, beam_size=200, nbest=200, max_decode_ratio=2.0, lm_temperature=1.3)
    fitted, frames = replace(models, language_model=own), FRAMES.clamp(max=2)
    found = {name: make_search(name, fitted, everything)(MEMORY[:, :2], frames)[0] for name in SEARCHES}
    width = min(width, 16)
    for name in ("joint", "rescore"):
        sayable = [one for one in found[name] if one.score > -np.inf]
        # What the language model has no neuron for is never said: each of two frames a token or none.
        assert len(sayable) == 1 + (width - 3) + (width - 3) * (width - 4)
        assert {one.tokens for one in sayable} == {one.tokens for one in found["joint"]}
        for one in sayable:
            log_v = (own(torch.tensor([[1, *one.tokens]]))[0, :, :width] / 1.3).log_softmax(dim=1)
            truth = sum(log_v[at, token].item() for at, token in enumerate((*one.tokens, 2)))
            assert one.parts["lm"] == pytest.approx(truth, abs=1e-4)
    assert max(token for one in found["prefix"] for token in one.tokens) == width - 1


@pytest.mark.parametrize(
    "wrong",
    [{"beam_size": 0}, {"nbest": 11}, {"ctc_weight": 1.5}, {"temperature": 0.0}, {"eos_threshold": 0.5}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SearchOptions(**wrong)


@pytest.mark.parametrize("frames", [[10, 0], [10, 7]])
def test_joint_search_says_what_it_cannot_search(frames: list[int], models: Models) -> None:
    memory = MEMORY.clone()
    memory[1, 3] = torch.nan if frames[1] else 0.0
    search = make_search("joint", models, SearchOptions())
    with pytest.raises(ValueError, match="needs a frame, and encoder output that is finite"):
        search(memory, torch.tensor(frames))
    # What is wrong beyond an utterance's end is not heard.
    assert len(search(memory, torch.tensor([10, 3]))) == 2


@pytest.mark.parametrize(
    "wrong", [{"max_decode_ratio": float("inf")}, {"min_decode_ratio": 2.0}, {"word_bonus": float("inf")}]
)
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SearchOptions(**wrong)
