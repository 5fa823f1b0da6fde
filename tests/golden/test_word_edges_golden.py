"""Times of words against recorded joints: strings of spoken digits, joined here from single recordings.

No recogniser is asked: CTC's table is made up, with every word one token that shows in a single frame, in the
first half of the word and 50 to 200 ms after its start. That is where trained models put it.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from hyperconformer.decoding.alignment import SECONDS_PER_FRAME, words
from hyperconformer.text import Tokenizer, train_tokenizer
from tests.recipe.digits import Joined, joined_strings, single_digits

DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE"
CLOSE = 0.12


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Every digit is a token."""
    path = tmp_path_factory.mktemp("tokenizer") / "t.model"
    generator = np.random.default_rng(0)
    sentences = [" ".join(generator.choice(DIGITS.split(), 5)) for _ in range(200)]
    tokenizer = train_tokenizer(sentences, path, output_neurons=30)
    assert len(tokenizer.encode(DIGITS)) == 10
    return tokenizer


def said(joined: Joined, tokens: list[int], vocabulary: int, generator: np.random.Generator) -> torch.Tensor:
    """What CTC would say of it."""
    path = torch.zeros(len(joined.samples) // 640 + 1, dtype=torch.long)
    for token, (start, end) in zip(tokens, joined.times, strict=True):
        peak = min(start + generator.uniform(0.05, 0.2), (start + end) / 2)
        path[round(peak / SECONDS_PER_FRAME)] = token
    return (20.0 * torch.nn.functional.one_hot(path, vocabulary)).log_softmax(-1)


@pytest.mark.parametrize(
    ("pause", "share", "mean"), [((0.05, 0.5), 0.99, 0.02), ((0.0, 0.0), 0.95, 0.03)], ids=["pauses", "none"]
)
def test_recorded_joints_are_found(
    shared_data: Path, tokenizer: Tokenizer, pause: tuple[float, float], share: float, mean: float
) -> None:
    generator = np.random.default_rng(0)
    heard: list[float] = []
    guessed: list[float] = []
    for joined in joined_strings(single_digits(shared_data / "digits" / "test-digits"), 60, pause, seed=0):
        tokens = tokenizer.encode(joined.text)
        table = said(joined, tokens, tokenizer.size, generator)
        for errors, samples in ((heard, joined.samples), (guessed, None)):
            found = words(table, tokens, tokenizer, samples=samples)
            for word, (start, end) in zip(found, joined.times, strict=True):
                errors += [abs(word.start - start), abs(word.end - end)]
    assert np.mean(np.array(heard) <= CLOSE) >= share > np.mean(np.array(guessed) <= CLOSE)
    assert np.mean(heard) <= mean < np.mean(guessed)
