"""Lexicon search against all sequences of words, and what it refuses."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperconformer.decoding.ctc_probability import sequence_log_probs
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.ngram.counts import count_ngrams, encode_corpus
from hyperconformer.ngram.files import save_ngram
from hyperconformer.ngram.kneser_ney import estimate
from hyperconformer.ngram.model import NGram
from hyperconformer.text import Tokenizer, train_tokenizer

pytest.importorskip("flashlight.lib.text.decoder")

from hyperconformer.decoding.lexicon import LexiconSearch

pytestmark = pytest.mark.usefixtures("any_beam")

TEXT = ["A BA", "BA BA A", "A B", "BB A", "BA BB B A"] * 3
WORDS = ["A", "BA", "BB", "AB"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer, and a 2-gram model that lacks one of the words."""
    folder = tmp_path_factory.mktemp("lexicon")
    train_tokenizer(TEXT, folder / "tokenizer.model", output_neurons=9, model_type="bpe")
    corpus = encode_corpus(TEXT, folder, None)
    model, _ = estimate(corpus.words, count_ngrams(corpus, 2, folder), [1, 1])
    for name in ("lm.arpa", "lm.arpa.gz", "lm.safetensors"):
        save_ngram(model, folder / name)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder / "tokenizer.model")


@pytest.fixture(scope="module")
def ngram(folder: Path) -> NGram:
    from hyperconformer.ngram.files import load_ngram

    return load_ngram(folder / "lm.arpa")


def noise(seed: int, *shape: int, sharpness: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(*shape, generator=generator)).log_softmax(-1)


def sentences(frames: int) -> list[str]:
    """All sequences of words that can have a path, and more."""
    lengths = range(frames + 1)
    return [" ".join(words) for n in lengths for words in itertools.product(WORDS, repeat=n)]


@pytest.mark.parametrize("ngram_weight", [0.0, 0.7])
@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_what_enumeration_finds(
    seed: int, ngram_weight: float, folder: Path, tokenizer: Tokenizer, ngram: NGram
) -> None:
    options = SearchOptions(beam_size=5000, nbest=20, ngram_weight=ngram_weight, word_bonus=0.3)
    search = LexiconSearch(WORDS, tokenizer, options, arpa=folder / "lm.arpa", beam_threshold=1e6)
    log_probs = noise(seed, 1, 5, tokenizer.size + 2)
    texts = sentences(5)
    tokens = [tuple(tokenizer.encode(text)) for text in texts]
    scores = sequence_log_probs(log_probs[0].numpy(), tokens) + 0.3 * np.array(
        [len(t.split()) for t in texts]
    )
    scores += ngram_weight * np.array([ngram.score(text) for text in texts])
    best = np.argsort(-scores)[:20]
    found = search(log_probs, torch.tensor([5]))[0]
    assert [h.score for h in found] == pytest.approx(scores[best].tolist(), abs=1e-4)
    assert [h.tokens for h in found] == [tokens[index] for index in best]


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_parts_are_the_exact_ones(name: str, folder: Path, tokenizer: Tokenizer, ngram: NGram) -> None:
    options = SearchOptions(beam_size=300, nbest=10, ngram_weight=0.5, word_bonus=1.0)
    log_probs = noise(1, 3, 40, tokenizer.size)
    for row, found in enumerate(
        LexiconSearch(WORDS, tokenizer, options, arpa=folder / name)(log_probs, torch.tensor([40, 31, 7]))
    ):
        assert len(found) == 10 and len({h.tokens for h in found}) == 10
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        for hypothesis in found:
            words = tokenizer.decode(hypothesis.tokens)
            assert set(words.split()) <= set(WORDS)
            heard = log_probs[row, : (40, 31, 7)[row]].numpy()
            parts = hypothesis.parts
            assert parts["ctc"] == pytest.approx(sequence_log_probs(heard, [hypothesis.tokens])[0])
            assert parts["ngram"] == pytest.approx(ngram.score(words), abs=1e-4)
            assert parts["words"] == len(words.split())
            assert hypothesis.score == pytest.approx(parts["ctc"] + 0.5 * parts["ngram"] + parts["words"])


def test_padding_is_invisible(folder: Path, tokenizer: Tokenizer) -> None:
    search = LexiconSearch(WORDS, tokenizer, SearchOptions(beam_size=20, nbest=5), arpa=folder / "lm.arpa")
    log_probs, lengths = noise(2, 4, 25, tokenizer.size), [25, 0, 12, 1]
    for row, found in enumerate(search(log_probs, torch.tensor(lengths))):
        alone = search(log_probs[row : row + 1, : lengths[row]], torch.tensor([lengths[row]]))
        assert alone == [found]
    assert search(log_probs, torch.tensor(lengths))[1][0].tokens == ()


@pytest.mark.parametrize("run", [1, 2, 5])
def test_a_long_last_token_is_one(run: int, tokenizer: Tokenizer) -> None:
    """A decoder made for words that end with silence would lose the run."""
    tokens = tokenizer.encode("BA")
    path = [0, *tokens, *[tokens[-1]] * (run - 1), 0, 0]
    log_probs = torch.full((1, len(path), tokenizer.size), -torch.inf)
    log_probs[0, range(len(path)), path] = 0
    [[best]] = LexiconSearch(WORDS, tokenizer, SearchOptions())(log_probs, torch.tensor([len(path)]))
    assert best.tokens == tuple(tokens) and best.score == 0


def test_what_no_word_fits_is_silence(tokenizer: Tokenizer) -> None:
    log_probs = torch.full((1, 3, tokenizer.size), -torch.inf)
    log_probs[..., 2] = 0  # the end symbol, which is no part of any word
    [[best]] = LexiconSearch(WORDS, tokenizer, SearchOptions())(log_probs, torch.tensor([3]))
    assert best.tokens == () and best.score == -torch.inf


def test_words_that_cannot_be_written_are_left_out(tokenizer: Tokenizer) -> None:
    search = LexiconSearch(["<unk>", "<s>", "</s>", "A", "C", "BA A"], tokenizer, SearchOptions())
    assert search.words == ("A", "BA") and search.left_out == ("C",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["<s>", " "], "the lexicon has no words: give it some"),
        (["C", "a"], "the tokenizer can write none of the lexicon's 2 words, for instance 'C': spell them"),
    ],
)
def test_a_lexicon_of_no_use_is_refused(words: list[str], message: str, tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError) as refused:
        LexiconSearch(words, tokenizer, SearchOptions())
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.arpa", None, "cannot be read (No such file or directory): correct its path"),
        ("empty.arpa", b"", "cannot be used by KenLM (End of file"),
        ("text.arpa", b"hello\n", "cannot be used by KenLM (first non-empty line was \"hello\""),
        ("one.arpa", b"\\data\\\nngram 1=3\n\n\\1-grams:\n", "cannot be used by KenLM (This ngram "),
        ("torn.arpa.gz", b"\x1f\x8b\x08\x00\x00\x00", "cannot be used by KenLM ("),
        ("lm.safetensors", b"", "is no ARPA file: write one with 'hyperconformer ngram --model "),
    ],
)  # fmt: skip
def test_a_model_of_no_use_is_refused(
    name: str, content: bytes | None, message: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        LexiconSearch(WORDS, tokenizer, SearchOptions(), arpa=path)
    said = str(refused.value)
    assert said.startswith(f"n-gram model '{path}' {message}") and "\n" not in said


def test_a_cut_model_is_refused(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    for name in ("lm.arpa", "lm.arpa.gz"):
        whole = (folder / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(InputError, match="cannot be used by KenLM"):
            LexiconSearch(WORDS, tokenizer, SearchOptions(), arpa=tmp_path / name)


def test_numbers_that_contradict_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=r"ngram_weight 0\.5 needs a model"):
        LexiconSearch(WORDS, tokenizer, SearchOptions(ngram_weight=0.5))
    with pytest.raises(ValueError, match="has 3 labels"):
        LexiconSearch(WORDS, tokenizer, SearchOptions())(noise(0, 1, 2, 3), torch.tensor([2]))


def test_without_the_extra_the_remedy_is_said(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder", None)
    with pytest.raises(InputError, match=r"pip install 'hyperconformer\[lexicon\]'"):
        LexiconSearch(WORDS, tokenizer, SearchOptions())
