"""Prefix beam search against loops over dictionaries, alone and with other models' scores."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hyperconformer.constants import BEGIN, END
from hyperconformer.decoding.ctc_probability import sequence_log_probs
from hyperconformer.decoding.fusion import NGramFusion
from hyperconformer.decoding.hotwords import Hotwords
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.prefix_beam import prefix_beam_search
from hyperconformer.decoding.prefix_reference import Judge, nothing_else, search_by_dictionary
from hyperconformer.decoding.transformer_fusion import TransformerFusion
from hyperconformer.errors import InputError
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.ngram.counts import count_ngrams, encode_corpus
from hyperconformer.ngram.kneser_ney import estimate
from hyperconformer.ngram.model import NGram
from hyperconformer.text import Tokenizer, train_tokenizer
from hyperconformer.types import Hypothesis
from tests.helpers import randomise

TEXT = ["BAD CAB", "A BAD DAD", "CAB A BAD CAB", "DAD", "ABBA ADDED A CAB"]


def random_log_probs(seed: int, frames: int, labels: int, sharpness: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(1, frames, labels, generator=generator, dtype=torch.float64)
    return logits.log_softmax(dim=-1)


def peaky_log_probs(seed: int, frames: int, labels: int) -> Tensor:
    """As a trained network's: blanks, and here and there a token with a rival or two."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, frames, labels, generator=generator, dtype=torch.float64)
    logits[..., 0] += 12
    for frame in range(1, frames, 4):
        rivals = torch.randint(3, labels, (3,), generator=generator)
        logits[0, frame, rivals] += 12 + 2 * torch.randn(3, generator=generator, dtype=torch.float64)
        logits[0, frame + 1 : frame + 2, rivals] += 10
    return logits.log_softmax(dim=-1)


def assert_same(found: list[Hypothesis], truth: list[Hypothesis], tolerance: float = 1e-9) -> None:
    assert [hypothesis.tokens for hypothesis in found] == [hypothesis.tokens for hypothesis in truth]
    for ours, theirs in zip(found, truth, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=tolerance)
        assert ours.parts["ctc"] == pytest.approx(theirs.parts["ctc"], abs=tolerance)


@pytest.mark.parametrize("sharpness", [0.5, 3, 9])
@pytest.mark.parametrize("beam_size", [1, 2, 5, 16])
def test_equals_the_dictionary(beam_size: int, sharpness: float) -> None:
    for seed in range(12):
        log_probs = random_log_probs(seed, frames=2 + 2 * seed, labels=4 + 3 * seed, sharpness=sharpness)
        options = SearchOptions(beam_size=beam_size, nbest=beam_size)
        found = prefix_beam_search(log_probs, torch.tensor([log_probs.shape[1]]), options)
        assert_same(found[0], search_by_dictionary(log_probs[0].tolist(), beam_size))


def test_equals_the_dictionary_on_a_long_utterance() -> None:
    log_probs = peaky_log_probs(0, frames=80, labels=200)
    found = prefix_beam_search(log_probs, torch.tensor([80]), SearchOptions(beam_size=8, nbest=8))
    assert_same(found[0], search_by_dictionary(log_probs[0].tolist(), 8))
    assert len(found[0][0].tokens) > 10


def test_repeats_need_a_blank_between_them() -> None:
    path = torch.tensor([[3, 3, 0, 3, 4, 4, 3]])
    log_probs = torch.nn.functional.one_hot(path, 5).double().log()
    (best,) = prefix_beam_search(log_probs, torch.tensor([7]), SearchOptions())[0]
    assert best.tokens == (3, 3, 4, 3)
    assert best.score == 0.0


def test_paths_that_merge_beat_the_best_path() -> None:
    """Greedy search would say nothing: the blank is the best label of both frames."""
    log_probs = torch.tensor([[[0.6, 0.0, 0.0, 0.4], [0.6, 0.0, 0.0, 0.4]]]).log()
    best, second = prefix_beam_search(log_probs, torch.tensor([2]), SearchOptions(nbest=2))[0]
    assert (best.tokens, second.tokens) == ((3,), ())
    assert math.exp(best.parts["ctc"]) == pytest.approx(0.64)


def test_the_mass_of_paths_that_left_the_beam_counts_in_the_end() -> None:
    """With one prefix kept, the paths that begin with a blank are lost on the way."""
    log_probs = torch.tensor([[[0.4, 0.0, 0.0, 0.6], [0.3, 0.0, 0.0, 0.7]]]).double().log()
    (best,) = prefix_beam_search(log_probs, torch.tensor([2]), SearchOptions(beam_size=1))[0]
    assert math.exp(best.parts["ctc"]) == pytest.approx(0.6 + 0.4 * 0.7)


def test_signs_are_never_heard() -> None:
    log_probs = torch.tensor([[[0.1, 0.4, 0.4, 0.1], [0.1, 0.4, 0.4, 0.1]]]).log()
    for hypothesis in prefix_beam_search(log_probs, torch.tensor([2]), SearchOptions(nbest=2))[0]:
        assert not {BEGIN, END} & set(hypothesis.tokens)


def test_something_is_returned_where_nothing_is_possible() -> None:
    log_probs = torch.tensor([[[0.0, 0.5, 0.5, 0.0]] * 3]).log()
    (only,) = prefix_beam_search(log_probs, torch.tensor([3]), SearchOptions(nbest=5))[0]
    assert only.score == -math.inf
    (empty,) = prefix_beam_search(log_probs, torch.tensor([0]), SearchOptions(nbest=5))[0]
    assert (empty.tokens, empty.score) == ((), 0.0)


def test_what_is_not_a_number_is_refused() -> None:
    log_probs = random_log_probs(0, 3, 5).repeat(2, 1, 1)
    log_probs[1, 1, 2] = math.nan
    with pytest.raises(ValueError, match=r"log_probs_btv\[1\]"):
        prefix_beam_search(log_probs, torch.tensor([3, 3]), SearchOptions())
    assert prefix_beam_search(log_probs, torch.tensor([3, 1]), SearchOptions())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_numbers_are_searched_as_they_are(dtype: torch.dtype) -> None:
    narrow = peaky_log_probs(1, frames=40, labels=30).to(dtype)
    options = SearchOptions(beam_size=5, nbest=5)
    wide = prefix_beam_search(narrow.double(), torch.tensor([40]), options)
    assert_same(prefix_beam_search(narrow, torch.tensor([40]), options)[0], wide[0])


def test_sequence_log_probs_are_those_of_the_loss() -> None:
    log_probs = random_log_probs(4, frames=30, labels=12)
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(1, 5, (length,), generator=generator).tolist() for length in range(14)]
    loss = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1).expand(-1, 14, -1),
        torch.tensor([token for sequence in sequences for token in sequence]),
        torch.full((14,), 30),
        torch.tensor([len(sequence) for sequence in sequences]),
        reduction="none",
    )
    np.testing.assert_allclose(sequence_log_probs(log_probs[0].numpy(), sequences), -loss, atol=1e-9)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[NGram, Tokenizer]]:
    """An n-gram model of a few words, and a tokenizer of a kind."""
    scratch = tmp_path_factory.mktemp("words")
    corpus = encode_corpus(TEXT, scratch, 4)
    ngram = estimate(corpus.words, count_ngrams(corpus, 3, scratch), [1, 1, 1])[0]

    def make(model_type: str) -> tuple[NGram, Tokenizer]:
        return ngram, train_tokenizer(TEXT, scratch / model_type, output_neurons=14, model_type=model_type)

    return make


def word_judge(ngram: NGram | None, tokenizer: Tokenizer, options: SearchOptions) -> Judge:
    """Score all complete words of a prefix anew."""

    def judge(tokens: tuple[int, ...], whole: bool) -> Mapping[str, float]:
        complete = tokenizer.decode(tokens).split()
        if not whole and not "".join(tokenizer.pieces(tokens)).endswith(" "):
            complete = complete[:-1]
        log = 0.0 if ngram is None else ngram.score(" ".join(complete), end=whole)
        return {"ngram": options.ngram_weight * log, "words": options.word_bonus * len(complete)}

    return judge


@pytest.mark.parametrize("word_bonus", [-1.0, 0.0, 2.5])
@pytest.mark.parametrize("model_type", ["char", "unigram", "bpe"])
def test_words_of_an_ngram_model(
    model_type: str, word_bonus: float, words: Callable[[str], tuple[NGram, Tokenizer]]
) -> None:
    ngram, tokenizer = words(model_type)
    fusion = NGramFusion(ngram, tokenizer)
    unknown = 0
    for seed in range(8):
        # One label more than the tokenizer has ids.
        log_probs = random_log_probs(seed, frames=6 + 3 * seed, labels=tokenizer.size + 1, sharpness=2.0)
        options = SearchOptions(beam_size=6, nbest=6, ngram_weight=0.5 + seed / 4, word_bonus=word_bonus)
        found = prefix_beam_search(log_probs, torch.tensor([log_probs.shape[1]]), options, fusion=[fusion])
        judge = word_judge(ngram, tokenizer, options)
        assert_same(found[0], search_by_dictionary(log_probs[0].tolist(), 6, judge))
        for hypothesis in found[0]:
            text = tokenizer.decode(hypothesis.tokens)
            assert hypothesis.parts["ngram"] == pytest.approx(ngram.score(text))
            assert hypothesis.parts["words"] == len(text.split())
            unknown += any(ngram.index(word) == 0 for word in text.split())
    assert unknown


def test_words_are_counted_without_a_model(words: Callable[[str], tuple[NGram, Tokenizer]]) -> None:
    tokenizer = words("unigram")[1]
    log_probs, options = random_log_probs(3, 15, tokenizer.size), SearchOptions(nbest=8, word_bonus=1.5)
    fusion = [NGramFusion(None, tokenizer)]
    found = prefix_beam_search(log_probs, torch.tensor([15]), options, fusion=fusion)[0]
    judge = word_judge(None, tokenizer, options)
    assert_same(found, search_by_dictionary(log_probs[0].tolist(), 10, judge)[:8])
    assert found[0].parts["ngram"] == 0 and found[0].parts["words"] > 0


def test_pieces_may_hold_the_end_of_a_word_or_several(
    words: Callable[[str], tuple[NGram, Tokenizer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ngram, tokenizer = words("char")
    texts = ["", "", "", " A", "CAB ", " A BAD", "D", " ", " DAD A ", "B"]
    monkeypatch.setattr(Tokenizer, "size", len(texts))
    monkeypatch.setattr(Tokenizer, "pieces", lambda self, tokens: [texts[token] for token in tokens])
    fusion = NGramFusion(ngram, tokenizer)
    monkeypatch.setattr(
        Tokenizer, "decode", lambda self, tokens: " ".join("".join(texts[t] for t in tokens).split())
    )

    def judge(tokens: tuple[int, ...], whole: bool) -> Mapping[str, float]:
        spelt = "".join(texts[token] for token in tokens) + " " * whole
        complete = spelt.split() if spelt.endswith(" ") else spelt.split()[:-1]
        return {"ngram": 0.7 * ngram.score(" ".join(complete), end=whole), "words": 1.0 * len(complete)}

    options = SearchOptions(beam_size=7, nbest=7, ngram_weight=0.7, word_bonus=1.0)
    for seed in range(8):
        log_probs = random_log_probs(seed, 12, len(texts), sharpness=2.0)
        found = prefix_beam_search(log_probs, torch.tensor([12]), options, fusion=[fusion])[0]
        assert_same(found, search_by_dictionary(log_probs[0].tolist(), 7, judge))


def test_a_model_in_another_case_is_refused(
    words: Callable[[str], tuple[NGram, Tokenizer]], tmp_path: Path
) -> None:
    lower = train_tokenizer(["bad cab"], tmp_path / "lower.model", output_neurons=8, model_type="char")
    with pytest.raises(InputError, match="none of the n-gram model's words"):
        NGramFusion(words("char")[0], lower)


class Chain:
    """Bonuses for tokens that rise one by one, taken back when the chain breaks before a length of three."""

    def __init__(self, labels: int, bonus: float) -> None:
        self.labels, self.bonus = labels, bonus

    def start(self) -> int:
        return 0

    def bonuses(self, state: int) -> Tensor:
        last, length = divmod(state, 10)
        bonuses = torch.full((self.labels,), -self.bonus * (length if length < 3 else 0))
        if state and last + 1 < self.labels:
            bonuses[last + 1] = self.bonus
        return bonuses

    def advance(self, state: int, token: int) -> int:
        last, length = divmod(state, 10)
        return 10 * token + (min(9, length + 1) if state and token == last + 1 else 0)

    def finish(self, state: int) -> float:
        length = state % 10
        return -self.bonus * (length if length < 3 else 0)

    def judge(self, tokens: tuple[int, ...], whole: bool) -> Mapping[str, float]:
        state, total = self.start(), 0.0
        for token in tokens:
            total += self.bonuses(state)[token].item()
            state = self.advance(state, token)
        return {"hotwords": total + (self.finish(state) if whole else 0.0)}


@pytest.mark.parametrize("bonus", [2.0, 4.0])
def test_hotwords(bonus: float) -> None:
    plain = biased = 0.0
    for seed in range(8):
        log_probs, chain = random_log_probs(seed, 20, 12), Chain(12, bonus)
        options, lengths = SearchOptions(beam_size=6, nbest=6), torch.tensor([20])
        found = prefix_beam_search(log_probs, lengths, options, hotwords=chain)[0]
        assert_same(found, search_by_dictionary(log_probs[0].tolist(), 6, chain.judge))
        without = prefix_beam_search(log_probs, lengths, options)[0][0].tokens
        plain += chain.judge(without, True)["hotwords"]
        biased += found[0].parts["hotwords"]
    assert biased > plain


def test_phrases(words: Callable[[str], tuple[NGram, Tokenizer]]) -> None:
    tokenizer = words("unigram")[1]
    hotwords = Hotwords(["BAD DAD", "CAB"], tokenizer, bonus=1.5)

    def judge(tokens: tuple[int, ...], whole: bool) -> Mapping[str, float]:
        state, total = hotwords.start(), 0.0
        for token in tokens:
            total += hotwords.bonuses(state)[token].item()
            state = hotwords.advance(state, token)
        return {"hotwords": total + (hotwords.finish(state) if whole else 0.0)}

    options, heard = SearchOptions(beam_size=6, nbest=6), 0
    for seed in range(6):
        log_probs = random_log_probs(seed, 18, tokenizer.size, sharpness=2.0)
        found = prefix_beam_search(log_probs, torch.tensor([18]), options, hotwords=hotwords)[0]
        assert_same(found, search_by_dictionary(log_probs[0].tolist(), 6, judge))
        for hypothesis in found:
            assert hypothesis.parts["hotwords"] == pytest.approx(hotwords.score(hypothesis.tokens))
            heard += hypothesis.parts["hotwords"] > 0
    assert heard


@pytest.fixture(scope="module")
def language_model() -> LanguageModel:
    config = LanguageModelConfig(output_neurons=20, d_model=12, nhead=3, d_ffn=20, num_layers=2)
    torch.manual_seed(0)
    return randomise(LanguageModel(config).double()).eval()


def lm_judge(model: LanguageModel, options: SearchOptions) -> Judge:
    """Run the model over the whole prefix anew."""

    @cache
    @torch.no_grad()
    def judge(tokens: tuple[int, ...], whole: bool) -> Mapping[str, float]:
        logits_lv = model(torch.tensor([[BEGIN, *tokens]]))[0] / options.lm_temperature
        following = [*tokens, *([END] if whole else [])]
        logs = logits_lv.log_softmax(dim=-1)[torch.arange(len(following)), following]
        return {"lm": options.lm_weight * logs.sum().item()}

    return judge


@pytest.mark.parametrize("lm_weight", [0.2, 1.0])
def test_a_transformer(lm_weight: float, language_model: LanguageModel) -> None:
    options = SearchOptions(beam_size=6, nbest=6, lm_weight=lm_weight, lm_temperature=1.3)
    fusion = [TransformerFusion(language_model, options)]
    lengths = torch.tensor([16, 1, 8, 0, 12])
    log_probs = torch.cat([random_log_probs(seed, 16, 20, sharpness=2.0) for seed in range(5)])
    found = prefix_beam_search(log_probs, lengths, options, fusion=fusion)
    judge = lm_judge(language_model, options)
    for row, length in enumerate(lengths.tolist()):
        assert_same(found[row], search_by_dictionary(log_probs[row, :length].tolist(), 6, judge))


def test_a_transformer_is_asked_only_about_prefixes_that_may_go_on(language_model: LanguageModel) -> None:
    options = SearchOptions(beam_size=10, lm_weight=0.5)
    fusion = TransformerFusion(language_model, options)
    started = []
    start = fusion.start
    fusion.start = lambda utterances: started.append(start(utterances)) or started[-1]
    log_probs = peaky_log_probs(3, frames=100, labels=20)
    prefix_beam_search(log_probs, torch.tensor([100]), options, fusion=[fusion])
    (scorer,) = started
    # Ten prefixes are live at each of a hundred frames, and every one differs from its neighbours.
    assert 25 < scorer.evaluated < 400
    assert scorer._state.tokens <= scorer.evaluated


def test_all_at_once(words: Callable[[str], tuple[NGram, Tokenizer]], language_model: LanguageModel) -> None:
    ngram, tokenizer = words("unigram")
    options = SearchOptions(beam_size=5, nbest=5, lm_weight=0.3, ngram_weight=0.4, word_bonus=0.5)
    chain = Chain(20, 0.6)
    judges = lm_judge(language_model, options), word_judge(ngram, tokenizer, options), chain.judge
    fusion = [TransformerFusion(language_model, options), NGramFusion(ngram, tokenizer)]

    def judge(tokens: tuple[int, ...], whole: bool) -> Mapping[str, float]:
        return {name: part for one in judges for name, part in one(tokens, whole).items()}

    log_probs, lengths = random_log_probs(7, 14, 20, sharpness=2.0), torch.tensor([14])
    found = prefix_beam_search(log_probs, lengths, options, fusion=fusion, hotwords=chain)[0]
    assert_same(found, search_by_dictionary(log_probs[0].tolist(), 5, judge))
    weights = {"ctc": 1, "lm": 0.3, "ngram": 0.4, "words": 0.5, "hotwords": 1}
    for hypothesis in found:
        assert set(hypothesis.parts) == set(weights)
        total = sum(weights[name] * part for name, part in hypothesis.parts.items())
        assert hypothesis.score == pytest.approx(total)


def test_the_reference_without_a_judge_asks_nobody() -> None:
    assert nothing_else((3,), True) == {}
