"""What is said of a split: counted right, and nothing that surprises later is passed over."""

import pytest

from hyperconformer.data.summary import describe
from hyperconformer.data.words import plain_words
from hyperconformer.types import Utterance


def rows(*seconds: float, words: str = "YES") -> list[Utterance]:
    return [Utterance(f"{i}", s, "a.flac", str(i % 2), words) for i, s in enumerate(seconds)]


def test_every_utterance_is_in_the_histogram() -> None:
    lines = describe("dev", rows(0.99, 1.0, 1.5, 8.0, 59.9, 60.0, 3600.0)).splitlines()
    assert lines[0] == "dev: 7 utterances, 1.04 h, 2 speakers, 7 words (1 different)"
    assert lines[1] == "  seconds: min 0.99, median 8.00, max 3600.00"
    counts = {line[:16].strip(): int(line[16:].split()[0]) for line in lines[2:]}
    assert counts == {
        "0 to 1": 1, "1 to 2": 2, "2 to 4": 0, "4 to 8": 0, "8 to 12": 1, "12 to 16": 0,
        "16 to 20": 0, "20 to 30": 0, "30 to 60": 1, "60 and more": 2,
    }  # fmt: skip
    assert describe("dev", []) == "dev: no utterances"


def test_foreign_characters_and_dense_text_are_told() -> None:
    said = describe("train", rows(2.0, words="Née, 2"))
    assert said.splitlines()[-1].endswith("(all that LibriSpeech has): , 2 e é")
    assert "characters besides" not in describe("train", rows(2.0, words="DON'T"))
    said = describe("train", [*rows(2.0), *rows(0.1)])
    assert "1 utterances have more characters than encoder frames of 40 ms, e.g. '0': " in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("‘Tis  Bob’s rock-'n'-roll!", "TIS BOB'S ROCK N ROLL"),
        ("cafe\u0301 — 10,000 über", "CAFÉ 10 000 ÜBER"),
        ("...", ""),
        ("नमस्ते।", "नमस्ते"),
    ],
)
def test_words_without_punctuation(text: str, expected: str) -> None:
    assert plain_words(text, case="upper", strip_punctuation=True) == expected


def test_a_case_that_there_is_not() -> None:
    assert plain_words(" Yes, \n Sir ") == "Yes, Sir" and plain_words("ABC", case="lower") == "abc"
    with pytest.raises(ValueError, match="case 'title': choose from keep, upper, lower"):
        plain_words("abc", case="title")
