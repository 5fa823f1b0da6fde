"""Whatever the text and the kind of tokenizer: words survive, ids stay in range."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.errors import InputError
from hyperconformer.text import END, SPECIAL_TOKENS, ModelType, train_tokenizer

# Angle brackets could spell "<unk>"; the two blocks are SentencePiece's own.
CHARACTERS = st.characters(
    codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="<>\u2581\u2585"
) | st.sampled_from("ABC'")
WORDS = st.lists(st.text(CHARACTERS, min_size=1, max_size=12), min_size=1, max_size=6).map(" ".join)
MODEL_TYPE = st.sampled_from(("unigram", "bpe", "char"))


@settings(max_examples=60, deadline=None)
@given(
    sentences=st.lists(WORDS, min_size=1, max_size=6),
    model_type=MODEL_TYPE,
    spare=st.integers(0, 50),
    data=st.data(),
)
def test_words_survive(sentences: list[str], model_type: ModelType, spare: int, data: st.DataObject) -> None:
    """decode(encode(words)) == words for any words in the alphabet of the training text."""
    alphabet = sorted(set("".join(sentences)) - {" "})
    unseen = data.draw(st.lists(st.text(alphabet, min_size=1, max_size=9), max_size=5).map(" ".join))
    output_neurons = len(alphabet) + 1 + SPECIAL_TOKENS + spare
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        tokenizer = train_tokenizer(sentences, path, output_neurons=output_neurons, model_type=model_type)
    assert output_neurons - spare <= tokenizer.size <= output_neurons
    for words in (*sentences, unseen):
        tokens = tokenizer.encode(words)
        assert all(END < token < tokenizer.size for token in tokens)
        assert tokenizer.decode(tokens) == words


@settings(max_examples=30, deadline=None)
@given(sentences=st.lists(WORDS, min_size=1, max_size=3), model_type=MODEL_TYPE, lacking=st.integers(1, 50))
def test_too_small_is_always_said_in_one_line(
    sentences: list[str], model_type: ModelType, lacking: int
) -> None:
    """No text and no kind reaches SentencePiece with fewer ids than characters."""
    least = len(set("".join(sentences)) | {" "}) + SPECIAL_TOKENS
    with tempfile.TemporaryDirectory() as folder:
        try:
            train_tokenizer(
                sentences, Path(folder) / "t.model", output_neurons=least - lacking, model_type=model_type
            )
        except InputError as error:
            assert str(error).endswith(f"give at least {least}")
        else:
            raise AssertionError("accepted")


@settings(max_examples=50, deadline=None)
@given(tokens=st.lists(st.integers(-5, 60), max_size=20))
def test_any_ids_decode_to_clean_words(tokens: list[int]) -> None:
    """Ids from anywhere give single-spaced words, and special or unused ones change nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.model"
        tokenizer = train_tokenizer(["AB BA", "A CAB"], path, output_neurons=40, model_type="bpe")
    words = tokenizer.decode(tokens)
    assert words == " ".join(words.split())
    assert words == tokenizer.decode([token for token in tokens if END < token < tokenizer.size])
