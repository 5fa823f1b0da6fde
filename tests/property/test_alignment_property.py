"""Alignments, times and confidences, whatever the log-probabilities and tokens."""

import itertools
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperconformer.calibration import calibration
from hyperconformer.constants import BLANK, SAMPLE_RATE
from hyperconformer.decoding.alignment import SECONDS_PER_FRAME, align, words
from hyperconformer.decoding.confidence import MEASURES, Calibration
from hyperconformer.text import Tokenizer, train_tokenizer

TEXT = ["AB BABA", "A BAB ABBA", "B A"]
UNUSED = 2

TOKENIZER = st.sampled_from(["char", "bpe", "unigram"])
SEED = st.integers(0, 2**32 - 1)


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    """Pieces of one or more characters, with the space alone in some."""
    with tempfile.TemporaryDirectory() as folder:
        return train_tokenizer(TEXT, Path(folder) / "t.model", output_neurons=10, model_type=kind)  # type: ignore[arg-type]  # one of the three


def drawn(seed: int, frames: int, vocabulary: int) -> Tensor:
    """Random log-probabilities, some frames of them peaked."""
    generator = torch.Generator().manual_seed(seed)
    return (4 * torch.randn(frames, vocabulary, generator=generator, dtype=torch.float64)).log_softmax(-1)


def tokens_of(tokenizer: Tokenizer, count: int) -> st.SearchStrategy[list[int]]:
    """Any tokens, also ones that the tokenizer does not know: a network may be wider."""
    return st.lists(st.integers(3, tokenizer.size + UNUSED - 1), max_size=count)


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


@settings(deadline=None, max_examples=60)
@given(seed=SEED, frames=st.integers(1, 6), tokens=st.lists(st.integers(1, 2), min_size=1, max_size=4))
def test_no_other_path_is_more_probable(seed: int, frames: int, tokens: list[int]) -> None:
    """Against all paths there are."""
    log_probs = drawn(seed, frames, 3)
    best = max(
        (
            sum(float(log_probs[frame, label]) for frame, label in enumerate(path))
            for path in itertools.product(range(3), repeat=frames)
            if collapsed(path) == tokens
        ),
        default=None,
    )
    if best is None:
        with pytest.raises(ValueError, match="cannot be aligned"):
            align(log_probs, tokens)
        return
    path = [BLANK] * frames
    for token, (first, stop) in zip(tokens, align(log_probs, tokens), strict=True):
        path[first:stop] = [token] * (stop - first)
    assert collapsed(tuple(path)) == tokens
    score = sum(float(log_probs[frame, label]) for frame, label in enumerate(path))
    assert score == pytest.approx(best)


@settings(deadline=None, max_examples=150)
@given(
    seed=SEED,
    frames=st.integers(1, 40),
    kind=TOKENIZER,
    measure=st.sampled_from(list(MEASURES)),
    data=st.data(),
)
def test_words_are_the_texts_and_their_times_in_order(
    seed: int, frames: int, kind: str, measure: str, data: st.DataObject
) -> None:
    tokenizer = tokenizer_of(kind)
    tokens = data.draw(tokens_of(tokenizer, 15))
    log_probs = drawn(seed, frames, tokenizer.size + UNUSED)
    found = words(log_probs, tokens, tokenizer, measure=measure)
    assert [word.text for word in found] == tokenizer.decode(tokens).split()
    times = [time for word in found for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= time <= SECONDS_PER_FRAME * (frames - 1) for time in times)
    assert all(0 <= word.confidence <= 1 for word in found)


@settings(deadline=None, max_examples=60)
@given(seed=SEED, frames=st.integers(1, 40), bursts=st.integers(0, 5), kind=TOKENIZER, data=st.data())
def test_words_that_are_heard_keep_their_order_texts_and_confidences(
    seed: int, frames: int, bursts: int, kind: str, data: st.DataObject
) -> None:
    tokenizer = tokenizer_of(kind)
    tokens = data.draw(tokens_of(tokenizer, 15))
    log_probs = drawn(seed, frames, tokenizer.size + UNUSED)
    generator = np.random.default_rng(seed)
    samples = 1e-3 * generator.standard_normal(max(1, 640 * (frames - 1) + int(generator.integers(160))))
    for start in generator.integers(len(samples), size=bursts):
        samples[start : start + 3000] *= 300
    heard = words(log_probs, tokens, tokenizer, samples=samples)
    guessed = words(log_probs, tokens, tokenizer)
    assert [(word.text, word.confidence) for word in heard] == [(w.text, w.confidence) for w in guessed]
    times = [time for word in heard for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= time <= len(samples) / SAMPLE_RATE for time in times)


@settings(deadline=None, max_examples=60)
@given(seed=SEED, kind=TOKENIZER, data=st.data())
def test_the_second_of_two_joined_utterances_comes_later(seed: int, kind: str, data: st.DataObject) -> None:
    """Speech, a pause, speech: the times of both parts are their own, those of the second later."""
    tokenizer = tokenizer_of(kind)
    # A new word begins where the second part does.
    sentence = st.lists(st.sampled_from(["A", "B", "AB", "BA", "ABBA"]), min_size=1, max_size=4).map(" ".join)
    parts = [tokenizer.encode(data.draw(sentence)) for _ in range(2)]
    tables = [said(part, seed + number, tokenizer.size) for number, part in enumerate(parts)]
    alone = [words(table, part, tokenizer) for table, part in zip(tables, parts, strict=True)]
    joined = words(torch.cat(tables), parts[0] + parts[1], tokenizer)
    assert len(joined) == len(alone[0]) + len(alone[1])
    later = SECONDS_PER_FRAME * len(tables[0])
    expected = [*alone[0], *alone[1]]
    for number, (word, own) in enumerate(zip(joined, expected, strict=True)):
        shift = later if number >= len(alone[0]) else 0.0
        assert (word.text, word.confidence) == (own.text, own.confidence)
        assert (word.start, word.end) == pytest.approx((own.start + shift, own.end + shift))


def said(tokens: list[int], seed: int, vocabulary: int) -> Tensor:
    """Log-probabilities that clearly say these tokens, with pauses of random length and long ones outside."""
    generator = np.random.default_rng(seed)
    path = [BLANK] * 20
    for token in tokens:
        path += [token] * int(generator.integers(1, 4)) + [BLANK] * int(generator.integers(1, 12))
    labels = torch.tensor(path + [BLANK] * 20)
    noise = torch.from_numpy(generator.random((len(labels), vocabulary)))
    return (noise + 12 * torch.nn.functional.one_hot(labels, vocabulary)).log_softmax(-1)


@settings(deadline=None)
@given(low=st.floats(0, 1), high=st.floats(0, 1), scale=st.floats(0, 5), offset=st.floats(-5, 5))
def test_calibration_keeps_the_order(low: float, high: float, scale: float, offset: float) -> None:
    low, high = sorted((low, high))
    calibrated = Calibration(scale, offset)
    assert 0 <= calibrated(low) <= calibrated(high) <= 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]), st.booleans()), min_size=1))
def test_figures_of_calibration_against_loops(judged: list[tuple[float, bool]]) -> None:
    confidences, right = [list(column) for column in zip(*judged, strict=True)]
    report = calibration(confidences, right)
    by_bin: dict[int, list[tuple[float, bool]]] = {}
    for confidence, is_right in judged:
        by_bin.setdefault(min(9, round(confidence * 10)), []).append((confidence, is_right))
    gaps = [abs(sum(c for c, _ in rows) - sum(r for _, r in rows)) for rows in by_bin.values()]
    assert report.ece == pytest.approx(sum(gaps) / len(judged))
    assert sum(row.words for row in report.bins) == len(judged)
    rights, wrongs = ([c for c, r in judged if r is which] for which in (True, False))
    duels = [(a > b) + (a == b) / 2 for a in rights for b in wrongs]
    assert report.auc == pytest.approx(sum(duels) / len(duels) if duels else float("nan"), nan_ok=True)


MEASURED: dict[str, Callable[[list[float]], float]] = {
    "product": lambda peaks: float(np.prod(peaks)),
    "mean": lambda peaks: float(np.prod(peaks) ** (1 / len(peaks))),
    "min": min,
}


@settings(deadline=None, max_examples=40)
@given(seed=SEED, measure=st.sampled_from(list(MEASURED)))
def test_confidences_against_a_loop(seed: int, measure: str) -> None:
    tokenizer = tokenizer_of("char")
    tokens = tokenizer.encode("AB BABA")
    log_probs = drawn(seed, 30, tokenizer.size)
    peaks = [
        max(float(log_probs[frame, token].exp()) for frame in range(*span))
        for token, span in zip(tokens, align(log_probs, tokens), strict=True)
    ]
    # Space, A, B; space, B, A, B, A.
    expected = [MEASURED[measure](peaks[:3]), MEASURED[measure](peaks[3:])]
    found = words(log_probs, tokens, tokenizer, measure=measure)
    assert [word.confidence for word in found] == pytest.approx(expected)
