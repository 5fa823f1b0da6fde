"""Our estimates equal those of KenLM's lmplz (its numbers stand here), and both read our files alike."""

import random
from pathlib import Path

import pytest

from hyperconformer.data.sentences import read_sentences
from hyperconformer.ngram.counts import count_ngrams, encode_corpus
from hyperconformer.ngram.files import save_ngram
from hyperconformer.ngram.kneser_ney import estimate
from hyperconformer.ngram.model import NATS, NGram

# lmplz -o 3 --prune 0 0 0, and 0 1 2, on the sentences below: log10 of probability and back-off weight.
UNPRUNED = """-2.691258	<unk>	0
-1.040092	</s>	0
-1.4416282	W7	-0.41370368
-0.9328471	W1	-0.5509572
-1.7818434	W500	-0.28738755
-0.7931651	<s> W2	-0.7531814
-0.6733347	W2 W1	-0.7359711
-0.7411107	W1 W1	-1.053026
-0.8928889	W3 </s>	0
-0.68694097	W1 W1 </s>	0
-0.47665852	W1 W2 W1	0
-0.38043407	<s> W1 W1	0
-0.4123506	W2 W1 W1	0
-0.3673781	<s> W4 W1	0"""
PRUNED = """-2.691258	<unk>	0
-1.040092	</s>	0
-1.4416282	W7	-0.34283176
-0.9328471	W1	-0.48242605
-1.7818434	W500	-0.22236365
-0.7896518	<s> W2	-0.6284157
-0.66029924	W2 W1	-0.61668825
-0.7278892	W1 W1	-0.9517212
-0.8760721	W3 </s>	0
-0.67889553	W1 W1 </s>	0
-0.46986264	W1 W2 W1	0
-0.37415075	<s> W1 W1	0
-0.39920306	W2 W1 W1	0
-0.32967624	<s> W4 W1	0"""
DISCOUNTS = [
    (0.573034, 1.09521, 1.62472),
    (0.733333, 1.14062, 1.35733),
    (0.827511, 0.868719, 0.517467),
]


def sentences() -> list[str]:
    """400 sentences of words from a long-tailed distribution."""
    draw = random.Random(1)
    return [
        " ".join(f"W{min(int(draw.paretovariate(0.8)), 500)}" for _ in range(draw.randint(1, 9)))
        for _ in range(400)
    ]


def build(text: list[str], min_counts: list[int], scratch: Path):
    corpus = encode_corpus(text, scratch, None)
    return estimate(corpus.words, count_ngrams(corpus, len(min_counts), scratch), min_counts)


def node_of(model: NGram, words: str) -> int:
    """The node of an n-gram that the model has."""
    node = 0
    for word in words.split():
        low, high = model.first[node], model.first[node + 1]
        node = next(child for child in range(low, high) if model.word[child] == model.index(word))
    return node


@pytest.mark.parametrize(
    ("min_counts", "expected", "sizes"),
    [([1, 1, 1], UNPRUNED, [112, 509, 959]), ([1, 2, 3], PRUNED, [112, 163, 122])],
    ids=["all", "pruned"],
)
def test_estimates_are_those_of_lmplz(
    min_counts: list[int], expected: str, sizes: list[int], tmp_path: Path
) -> None:
    model, discounts = build(sentences(), min_counts, tmp_path)
    assert [high - low for low, high in model.levels()] == sizes
    for ours, theirs in zip(discounts, DISCOUNTS, strict=True):
        assert ours.estimated and ours.amounts == pytest.approx(theirs, abs=6e-6)
    for line in expected.splitlines():
        log, words, backoff = line.split("\t")
        node = node_of(model, words)
        assert float(model.log[node]) == pytest.approx(float(log), abs=2e-6), words
        weight = model.backoff[node] if node < len(model.backoff) else 0
        assert float(weight) == pytest.approx(float(backoff), abs=2e-6), words


@pytest.mark.parametrize("min_counts", [[1, 1], [1, 1, 1], [1, 2, 3, 3]])
@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_kenlm_reads_our_files_and_gives_our_numbers(
    min_counts: list[int], name: str, tmp_path: Path
) -> None:
    kenlm = pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    from flashlight.lib.text.dictionary import Dictionary

    text = sentences()
    model, _ = build(text[:300], min_counts, tmp_path)
    names = Dictionary(model.words)
    reader = kenlm.KenLM(str(save_ngram(model, tmp_path / name)), names)
    for sentence in [*text, "NEVER HEARD OF", "W1 NEVER W1 W1"]:
        state, total = reader.start(False), 0.0
        for word in sentence.split():
            state, log = reader.score(state, names.get_index(model.words[model.index(word)]))
            total += log
        total += reader.finish(state)[1]
        assert model.score(sentence) / NATS == pytest.approx(total, abs=1e-5), sentence


def test_more_context_foresees_real_sentences_better(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "LibriSpeech").rglob("*.trans.txt"))
    held_out, text = list(read_sentences(files[::10])), []
    for number, file in enumerate(files):
        text += list(read_sentences([file])) if number % 10 else []
    found = []
    for order in (1, 2, 3):
        scratch = tmp_path / str(order)
        scratch.mkdir()
        found.append(build(text, [1] * order, scratch)[0].perplexity(held_out))
    assert found[0].perplexity > 1.5 * found[1].perplexity > 1.5 * found[2].perplexity
    assert 500 < found[2].perplexity < 1000 and found[2].words > 5000
