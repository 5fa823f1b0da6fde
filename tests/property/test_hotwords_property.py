"""Whatever the phrases and however a text is cut into tokens, hotwords pay for its matches alone."""

import io
from functools import cache

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.decoding.hotwords import Hotwords
from hyperconformer.text import SPECIAL_TOKENS, Tokenizer

TEXT = ["AB BA A", "A B AB BAB", "ABBA B AB", "BAB ABBA BA", "A A B"]
KINDS = {
    "characters": {"model_type": "char", "vocab_size": 6},
    "pieces": {"model_type": "bpe", "vocab_size": 14},
    "pieces over several words": {"model_type": "bpe", "vocab_size": 24, "split_by_whitespace": False},
    "space behind words": {"model_type": "bpe", "vocab_size": 14, "treat_whitespace_as_suffix": True},
}
words = st.text("AB", min_size=1, max_size=4)
phrases = st.lists(st.lists(words, min_size=1, max_size=4).map(" ".join), min_size=0, max_size=6)


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_writer=model, unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
        normalization_rule_name="identity", hard_vocab_limit=False, minloglevel=2, **KINDS[kind],
    )  # fmt: skip
    return Tokenizer(model.getvalue())


def test_the_kinds_are_what_they_are_called() -> None:
    pieces = {kind: tokenizer_of(kind).pieces(range(tokenizer_of(kind).size)) for kind in KINDS}
    assert " " in pieces["characters"] and " AB" in pieces["pieces"]
    assert any(" " in piece.strip() for piece in pieces["pieces over several words"])
    assert any(piece != " " and piece.endswith(" ") for piece in pieces["space behind words"])


def matched_letters(text: str, phrases: list[str]) -> int:
    """Letters of the longest phrase at every word that no match has reached, by looking everywhere."""
    spoken, first, total = text.split(), 0, 0
    while first < len(spoken):
        fitting = [p.split() for p in phrases if spoken[first : first + len(p.split())] == p.split()]
        longest = max(fitting, key=len, default=[])
        total += len("".join(longest))
        first += len(longest) or 1
    return total


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150)
@given(phrases=phrases, data=st.data(), bonus=st.sampled_from([1.0, 0.25, -2.0]))
def test_the_bonuses_add_up_to_those_of_the_matches(
    kind: str, phrases: list[str], data: st.DataObject, bonus: float
) -> None:
    tokenizer = tokenizer_of(kind)
    hotwords = Hotwords(phrases, tokenizer, bonus, output_neurons=tokenizer.size + 1)
    tokens = data.draw(st.lists(st.integers(SPECIAL_TOKENS, tokenizer.size), max_size=12))
    state, total = hotwords.start(), 0.0
    for length in range(len(tokens) + 1):
        # Of every token that could come next, not only the one that does.
        row = hotwords.bonuses(state)
        for token in range(SPECIAL_TOKENS, len(row)):
            ended = total + row[token].item() + hotwords.finish(hotwords.advance(state, token))
            text = tokenizer.decode([*tokens[:length], token])
            assert ended == bonus * matched_letters(text, phrases), text
        assert total + hotwords.finish(state) == hotwords.score(tokens[:length])
        if length < len(tokens):
            total += row[tokens[length]].item()
            state = hotwords.advance(state, tokens[length])


@pytest.mark.parametrize("kind", KINDS)
@given(phrases=phrases, text=st.lists(words, max_size=8).map(" ".join))
def test_a_prefix_is_paid_what_fits_and_never_more_than_its_letters(
    kind: str, phrases: list[str], text: str
) -> None:
    tokenizer = tokenizer_of(kind)
    hotwords = Hotwords(phrases, tokenizer, 1.0)
    state, total, letters = hotwords.start(), 0.0, 0
    for token in tokenizer.encode(text):
        total += hotwords.bonuses(state)[token].item()
        letters += len(tokenizer.pieces([token])[0].replace(" ", ""))
        state = hotwords.advance(state, token)
        assert 0 <= total <= letters
        assert hotwords.finish(state) <= 0
