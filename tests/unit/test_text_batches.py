"""Labelled texts as tokens: nothing lost, nothing mixed up, what is cut is said, what cannot be is named."""

import logging
import pickle

import numpy as np
import pytest
import torch

from hyperconformer.data.labelled import LabelledText
from hyperconformer.data.text_batches import EncodedTexts, LabelledBatch, encode_texts
from hyperconformer.data.token_batches import TokenLoader, TokenSampler
from hyperconformer.errors import InputError
from hyperconformer.text import Tokenizer, train_tokenizer

LABELS = ("n", "y")
SINGLE = [LabelledText("A", "y"), LabelledText("B  A", "n"), LabelledText("A B A B", "y")]
PAIRS = [LabelledText("A", "y", "B A B"), LabelledText("B A", "n", "B"), LabelledText("A B A", "y", "A A")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "t.model"
    return train_tokenizer(["A B"], path, output_neurons=6, model_type="char")


def words(tokenizer: Tokenizer, tokens_bl: torch.Tensor, lengths_b: torch.Tensor) -> list[str]:
    """What the rows say, and that nothing stands behind them."""
    rows = list(zip(tokens_bl.tolist(), lengths_b.tolist(), strict=True))
    assert all(not any(row[length:]) for row, length in rows)
    return [tokenizer.decode(row[:length]) for row, length in rows]


def test_single_texts_come_back(tokenizer: Tokenizer) -> None:
    texts = encode_texts(SINGLE, tokenizer, LABELS, longest=99)
    batch = texts[np.array([2, 0])]
    assert words(tokenizer, batch.tokens_bl, batch.lengths_b) == ["A B A B", "A"]
    assert batch.second_bl is None and batch.second_lengths_b is None
    assert batch.labels_b.tolist() == [1, 1] and batch.names == ("text 3", "text 1")
    assert batch.tokens_bl.dtype == batch.labels_b.dtype == torch.long
    assert texts.lengths.tolist() == [len(tokenizer.encode(one.text)) for one in SINGLE] and texts.cut == 0


def test_pairs_come_back(tokenizer: Tokenizer) -> None:
    texts = encode_texts(PAIRS, tokenizer, LABELS, longest=99)
    batch = texts[np.array([1, 2, 0])].to("cpu")
    assert words(tokenizer, batch.tokens_bl, batch.lengths_b) == ["B A", "A B A", "A"]
    assert batch.second_bl is not None and batch.second_lengths_b is not None
    assert words(tokenizer, batch.second_bl, batch.second_lengths_b) == ["B", "A A", "B A B"]
    assert batch.labels_b.tolist() == [0, 1, 1]
    both = [len(tokenizer.encode(one.text)) + 1 + len(tokenizer.encode(one.second)) for one in PAIRS]
    assert texts.lengths.tolist() == both


def test_long_texts_are_cut_and_counted_once(tokenizer: Tokenizer, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        texts = encode_texts([*PAIRS, *PAIRS], tokenizer, LABELS, longest=4)
    assert texts.cut == 4 and [record.getMessage() for record in caplog.records] == [
        "Cut 4 of 6 texts off behind 4 tokens: max_text_tokens"
    ]
    assert max(map(len, [*texts.tokens, *texts.second])) == 4
    assert texts.tokens[2].tolist() == tokenizer.encode("A B A")[:4]
    assert not encode_texts(SINGLE[:2], tokenizer, LABELS, longest=4).cut


def test_unknown_characters_are_token_0(tokenizer: Tokenizer) -> None:
    texts = encode_texts([LabelledText("ZZ", "n"), LabelledText("A ZZ", "y")], tokenizer, LABELS, longest=99)
    assert all(0 in row for row in texts.tokens)


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ([LabelledText("A", "m")], "text 1, 'A', has the label 'm', which is none of the 2 that are learnt"),
        ([SINGLE[0], LabelledText(" ", "n")], "text 2, of the label 'n': it has no words: take it out"),
        (
            [PAIRS[0], LabelledText("A", "n")],
            r"text 2, of the label 'n': a part of the pair \('A', ''\) has no words",
        ),
        ([LabelledText("", "n", "A")], r"text 1, .*\('', 'A'\) has no words"),
    ],
    ids=["label", "empty", "no second", "no first"],
)
def test_what_cannot_be_is_named(tokenizer: Tokenizer, texts: list[LabelledText], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as raised:
        encode_texts(texts, tokenizer, LABELS, longest=9)
    assert "\n" not in str(raised.value)


def test_the_key_knows_tokens_bounds_parts_and_labels(tokenizer: Tokenizer) -> None:
    def key(*texts: LabelledText) -> str:
        return encode_texts(texts, tokenizer, LABELS, longest=9).key

    assert key(*SINGLE) == key(*SINGLE)
    one = [np.array(row, dtype=np.int32) for row in ([3, 4], [5])]
    other = [np.array(row, dtype=np.int32) for row in ([3], [4, 5])]
    labels = np.array([0, 1])
    kinds = [
        EncodedTexts(one, [], labels),
        EncodedTexts(other, [], labels),
        EncodedTexts(one, [], labels[::-1].copy()),
        EncodedTexts(one, other, labels),
        EncodedTexts(other, one, labels),
    ]
    assert len({texts.key for texts in kinds}) == len(kinds)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("texts", [SINGLE, PAIRS], ids=["single", "pairs"])
def test_the_loader_reads_what_the_sampler_plans(
    tokenizer: Tokenizer, texts: list[LabelledText], workers: int
) -> None:
    encoded = encode_texts(texts, tokenizer, LABELS, longest=99)
    loader = TokenLoader(encoded, TokenSampler(encoded.lengths, max_batch_tokens=16), num_workers=workers)
    for epoch, start in ((1, 0), (2, 1)):
        loader.steps.set_epoch(epoch, start)
        batches: list[LabelledBatch] = list(loader)
        assert [batch.numbers.tolist() for batch in batches] == [n.tolist() for n in loader.steps]
        for batch in batches:
            assert batch.labels_b.tolist() == [LABELS.index(texts[n].label) for n in batch.numbers]
            assert words(tokenizer, batch.tokens_bl, batch.lengths_b) == [
                " ".join(texts[n].text.split()) for n in batch.numbers
            ]


def test_texts_travel_to_reading_processes(tokenizer: Tokenizer) -> None:
    texts = encode_texts(PAIRS, tokenizer, LABELS, longest=9)
    assert pickle.loads(pickle.dumps(texts)).key == texts.key
