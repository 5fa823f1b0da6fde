"""Whatever the text, every context's probabilities sum to one, and equal the definition's, counted slowly."""

import itertools
import math
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.ngram.counts import count_ngrams, encode_corpus
from hyperconformer.ngram.files import load_ngram, save_ngram
from hyperconformer.ngram.kneser_ney import FALLBACK, estimate
from hyperconformer.ngram.model import NGram

Gram = tuple[str, ...]

texts = st.lists(
    st.lists(st.sampled_from("AABBCD"), min_size=1, max_size=6).map(" ".join), min_size=1, max_size=12
)
limits = st.lists(st.integers(1, 3), min_size=0, max_size=3).map(lambda rest: [1, *sorted(rest)])


def slow_counts(text: list[str], length: int) -> Counter[Gram]:
    """How often every n-gram of a length occurs."""
    counts: Counter[Gram] = Counter()
    for sentence in text:
        words = ("<s>", *sentence.split(), "</s>")
        counts.update(words[start : start + length] for start in range(len(words) - length + 1))
    return counts


def slow_company(text: list[str], length: int, order: int) -> Counter[Gram]:
    """What smoothing counts: different words in front, or occurrences where none is or can be."""
    counts = slow_counts(text, length)
    if length == order:
        company = counts.copy()
    else:
        company = Counter(gram[1:] for gram in slow_counts(text, length + 1))
        company.update({gram: count for gram, count in counts.items() if gram[0] == "<s>"})
    if length == 1:
        del company["<s>",]
    return company


def slow_discounts(company: Counter[Gram]) -> tuple[float, ...]:
    one, two, three, four = (sum(n == count for n in company.values()) for count in (1, 2, 3, 4))
    if not (one and two and three and four):
        return FALLBACK
    y = one / (one + 2 * two)
    amounts = (1 - 2 * y * two / one, 2 - 3 * y * three / two, 3 - 4 * y * four / three)
    return amounts if all(0 < d <= n for n, d in enumerate(amounts, 1)) else FALLBACK


def slow_probability(text: list[str], words: list[str], min_counts: list[int], gram: Gram) -> float:
    """P(last word | the others) by the definition, over and over again."""
    if not gram:
        return 1 / (len(words) - 1)
    order, length = len(min_counts), len(gram)
    company, seen = slow_company(text, length, order), slow_counts(text, length)
    shorter = slow_probability(text, words, min_counts, gram[1:])
    parent_seen = slow_counts(text, length - 1)[gram[:-1]] if length > 1 else 1
    followers = {g: n for g, n in company.items() if g[:-1] == gram[:-1]}
    if not followers or (length > 1 and parent_seen < min_counts[length - 2]):
        return shorter
    discounts = slow_discounts(company)
    total, direct, left = sum(followers.values()), 0.0, 0.0
    for follower, count in followers.items():
        kept = length == 1 or seen[follower] >= min_counts[length - 1]
        taken = discounts[min(count, 3) - 1] if kept else count
        left += taken
        if follower == gram:
            direct = count - taken
    return (direct + left * shorter) / total


def build(text: list[str], min_counts: list[int], vocabulary: int | None = None) -> NGram:
    with tempfile.TemporaryDirectory() as scratch:
        corpus = encode_corpus(text, Path(scratch), vocabulary)
        levels = count_ngrams(corpus, len(min_counts), Path(scratch))
    return estimate(corpus.words, levels, min_counts)[0]


def after(model: NGram, context: Gram) -> dict[str, float]:
    """Probability of every word behind a context."""
    state = model.start(begin=context[:1] == ("<s>",))
    for word in context[context[:1] == ("<s>",) :]:
        _, state = model.step(state, model.index(word))
    return {word: math.exp(model.step(state, model.index(word))[0]) for word in model.words if word != "<s>"}


@settings(deadline=None, max_examples=30)
@given(text=texts, min_counts=limits)
def test_probabilities_are_those_of_the_definition(text: list[str], min_counts: list[int]) -> None:
    model = build(text, min_counts)
    words = [word for word in model.words if word != "</s>"]
    for context in itertools.chain([()], *(itertools.product(words, repeat=n) for n in (1, 2))):
        if "<s>" in context[1:] or len(context) >= len(min_counts):
            continue
        found = after(model, context)
        assert sum(found.values()) == pytest.approx(1, abs=1e-5)
        for word, probability in found.items():
            truth = slow_probability(text, model.words, min_counts, (*context, word))
            assert probability == pytest.approx(truth, rel=1e-5), (context, word)


@settings(deadline=None, max_examples=60)
@given(text=texts, min_counts=limits, vocabulary=st.integers(1, 4))
def test_every_state_of_a_cut_model_sums_to_one_and_files_keep_it(
    text: list[str], min_counts: list[int], vocabulary: int
) -> None:
    model = build(text, min_counts, vocabulary)
    assert len(model.words) <= 3 + vocabulary
    for state in range(len(model.backoff)):
        if model.word[state] == 2:
            continue
        logs = [model.step(state, word)[0] for word in range(len(model.words)) if word != 1]
        assert sum(map(math.exp, logs)) == pytest.approx(1, abs=1e-5)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("lm.arpa", "lm.arpa.gz", "lm.safetensors"):
            same = load_ngram(save_ngram(model, Path(folder) / name))
            for array in ("word", "log", "suffix", "backoff", "first"):
                assert (getattr(same, array) == getattr(model, array)).all(), (name, array)
            assert same.words == model.words and same.order == model.order
