"""Hotwords: what they pay on the way, how phrases are spelt, and which lists are refused."""

from pathlib import Path

import pytest
import torch

from hyperconformer.decoding import hotwords as module
from hyperconformer.decoding.hotwords import Hotwords, read_hotwords
from hyperconformer.errors import InputError
from hyperconformer.text import Tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """One token a character, so that every step can be written down."""
    text = ["NEW YORK CITY HALL", "YORKSHIRE", "ISN'T"]
    return train_tokenizer(text, tmp_path_factory.mktemp("t") / "m", output_neurons=40, model_type="char")


def paid(hotwords: Hotwords, tokenizer: Tokenizer, text: str) -> list[float]:
    """What every character of a text is paid, the space before it included, and what the end is."""
    state, steps = hotwords.start(), []
    for token in tokenizer.encode(text):
        steps.append(hotwords.bonuses(state)[token].item())
        state = hotwords.advance(state, token)
    return [*steps, hotwords.finish(state)]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("NEW", [0, 1, 1, 1, 0]),
        ("NEWS", [0, 1, 1, 1, -3, 0]),
        ("NE", [0, 1, 1, -2]),
        ("A NEW", [0, 0, 0, 1, 1, 1, 0]),
        ("NEW NEW", [0, 1, 1, 1, 0, 1, 1, 1, 0]),
    ],
)
def test_letters_are_paid_as_they_fit_and_taken_back(
    text: str, steps: list[float], tokenizer: Tokenizer
) -> None:
    assert paid(Hotwords(["NEW"], tokenizer, 1.0), tokenizer, text.replace("A", "H")) == steps


def test_the_longest_match_counts_and_what_is_left_is_read_again(tokenizer: Tokenizer) -> None:
    hotwords = Hotwords(["NEW YORK", "NEW YORK CITY HALL", "CITY"], tokenizer, 1.0)
    assert sum(paid(hotwords, tokenizer, "NEW YORK CITY HALL")) == 15
    assert sum(paid(hotwords, tokenizer, "NEW YORK CITY HA")) == 7 + 4
    assert sum(paid(hotwords, tokenizer, "NEW YORK CI")) == 7
    assert sum(paid(hotwords, tokenizer, "NEW CITY")) == 4


def test_a_phrase_that_begins_inside_a_failed_one_is_paid_instead(tokenizer: Tokenizer) -> None:
    steps = paid(Hotwords(["NEW NEW YORK"], tokenizer, 1.0), tokenizer, "NEW NEW NEW YORK")
    # Behind two, a third NEW is the second one of the phrase.
    assert steps[8:12] == [0, -2, 1, 1] and sum(steps) == 10


def test_phrases_are_brought_into_what_the_model_writes(tokenizer: Tokenizer) -> None:
    hotwords = Hotwords(["new  york", "NEW YORK", "Isn't"], tokenizer, 1.0)
    assert hotwords.phrases == ("NEW YORK", "ISN'T")


def test_case_stays_where_the_model_has_both(tmp_path: Path) -> None:
    mixed = train_tokenizer(["Ada ADA ada \u00e9"], tmp_path / "m", output_neurons=30, model_type="char")
    assert Hotwords(["Ada", "ada", "e\u0301"], mixed, 1.0).phrases == ("Ada", "ada", "\u00e9")


def test_tokens_without_letters_change_nothing(tokenizer: Tokenizer) -> None:
    hotwords = Hotwords(["NEW"], tokenizer, 1.0, output_neurons=tokenizer.size + 2)
    state = hotwords.advance(hotwords.start(), tokenizer.encode("N")[-1])
    row = hotwords.bonuses(state)
    assert row.dtype == torch.float32 and row.shape == (tokenizer.size + 2,)
    for token in (0, 1, 2, tokenizer.size, tokenizer.size + 1):
        assert row[token] == 0 and hotwords.advance(state, token) == state


def test_no_phrase_pays_nothing(tokenizer: Tokenizer) -> None:
    hotwords = Hotwords([], tokenizer, 1.0)
    assert hotwords.score(tokenizer.encode("NEW YORK")) == 0
    assert not hotwords.bonuses(hotwords.start()).any()


def test_rows_are_kept_but_not_without_end(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    hotwords = Hotwords(["NEW"], tokenizer, 1.0)
    rows = [hotwords.bonuses(state).clone() for state in range(5)]
    assert len(hotwords._rows) <= 2
    assert all(torch.equal(hotwords.bonuses(state), row) for state, row in enumerate(rows))
    assert hotwords.bonuses(1) is hotwords.bonuses(1)


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        (" ", "a hotword is empty: take it out of the list"),
        ("NEW 2", "hotword 'NEW 2' has '2' (U+0032), which the model cannot write: spell it"),
        ("isn\u2019t", "hotword 'isn\u2019t' has '\u2019' (U+2019), which"),
        ("NEW\u2581YORK", "hotword 'NEW\u2581YORK' has '\u2581' (U+2581), which"),
    ],
)
def test_a_phrase_that_cannot_be_written_is_refused(
    phrase: str, message: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        Hotwords(["NEW", phrase], tokenizer, 1.0)
    assert str(refused.value).startswith(message)
    listed = tmp_path / "list.txt"
    listed.write_text(f"\ufeffYORK\n\n{phrase}\n", encoding="utf-8")
    if phrase.strip():
        with pytest.raises(InputError) as refused:
            read_hotwords(listed, tokenizer)
        assert str(refused.value).startswith(f"hotwords '{listed}', line 3: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"NEW\n\xff\n", ", line 2: not UTF-8: save the file as UTF-8"),
        (b" \n\n", " has no phrase: write one a line"),
        (None, " cannot be read (Is a directory): correct the path"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.mkdir() if content is None else listed.write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_hotwords(listed)
    assert str(refused.value) == f"hotwords '{listed}'{message}"


@pytest.mark.parametrize(("bonus", "width"), [(float("nan"), None), (float("inf"), None), (1.0, 3)])
def test_numbers_out_of_range_are_refused(bonus: float, width: int | None, tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="must be"):
        Hotwords(["NEW"], tokenizer, bonus, output_neurons=width)
