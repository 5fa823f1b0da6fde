"""Text as tokens: nothing lost, nothing twice, bounded batches, the same order for the same epoch."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperconformer.data import token_batches
from hyperconformer.data import tokens as tokens_module
from hyperconformer.data.sampler import Share
from hyperconformer.data.token_batches import TokenLoader, TokenSampler
from hyperconformer.data.tokens import TokenText, write_tokens
from hyperconformer.errors import InputError
from hyperconformer.text import Tokenizer, train_tokenizer

SENTENCES = ["A", "B A", "A B A B", "B", "A A A A A A A"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "t.model"
    return train_tokenizer(["A B"], path, output_neurons=6, model_type="char")


def test_every_sentence_comes_back(tokenizer: Tokenizer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tokens_module, "TOGETHER", 2)
    text = write_tokens(iter(SENTENCES), tokenizer, tmp_path / "text")
    assert (text.facts.sentences, text.facts.words) == (5, 15) and len(text) == 5
    batch = text[np.array([4, 0, 2])]
    rows = zip(batch.tokens_bl.tolist(), batch.lengths_b.tolist(), strict=True)
    assert [tokenizer.decode(row[:length]) for row, length in rows] == [SENTENCES[n] for n in (4, 0, 2)]
    assert batch.tokens_bl[1, 2:].tolist() == [0] * (batch.tokens_bl.shape[1] - 2)
    assert text.facts.tokens == text.lengths.sum() == sum(len(tokenizer.encode(s)) for s in SENTENCES)


def test_reading_processes_map_the_file_for_themselves(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = write_tokens(SENTENCES, tokenizer, tmp_path / "text")
    sent = pickle.dumps(text)
    assert len(sent) < 500 and pickle.loads(sent)[np.array([1])].tokens_bl.equal(
        text[np.array([1])].tokens_bl
    )
    assert TokenText(tmp_path / "text").facts == text.facts


def test_what_is_left_out_is_said(tokenizer: Tokenizer, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        text = write_tokens(["A", "C A", "A C", "A B A B A B"], tokenizer, tmp_path / "text", longest=4)
    assert (text.facts.sentences, text.facts.long, text.facts.strange) == (1, 1, 2)
    assert "Left out 2 sentences with characters that the tokenizer does not know, e.g. 'C A'" in caplog.text
    assert "Left out 1 sentences longer than max_sentence_tokens" in caplog.text
    with pytest.raises(
        InputError, match="no sentence of the text can be used .*unknown to the tokenizer is 'C'"
    ):
        write_tokens(["C"], tokenizer, tmp_path / "text")
    assert not (tmp_path / "text" / "facts.json").exists()
    with pytest.raises(InputError, match="all are too long"):
        write_tokens(["A B"], tokenizer, tmp_path / "text", longest=1)


def test_a_folder_that_cannot_be_written_is_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/text' \(Not a directory\): choose another output_folder"):
        write_tokens(["A"], tokenizer, tmp_path / "file" / "text")


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    bound=st.integers(1, 80),
    epoch=st.integers(1, 5),
    shuffle=st.booleans(),
    pool=st.sampled_from([1, 7, 1000]),
)
def test_every_sentence_once_in_bounded_batches(
    lengths: list[int], bound: int, epoch: int, shuffle: bool, pool: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_batches, "POOL", pool)
        sampler = TokenSampler(np.array(lengths), max_batch_tokens=bound, seed=3, shuffle=shuffle)
        sampler.set_epoch(epoch)
        batches = [batch.tolist() for batch in sampler]
        assert len(sampler) == len(batches)
        assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) == 1 or len(batch) * (1 + max(lengths[n] for n in batch)) <= bound
        again = TokenSampler(np.array(lengths), max_batch_tokens=bound, seed=3, shuffle=shuffle)
        again.set_epoch(epoch)
        assert [batch.tolist() for batch in again] == batches


def test_epochs_and_seeds_differ_and_similar_lengths_stay_together() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, size=3000)
    plans = []
    for seed, epoch in ((1, 1), (1, 2), (2, 1)):
        sampler = TokenSampler(lengths, max_batch_tokens=2000, seed=seed)
        sampler.set_epoch(epoch)
        plans.append([tuple(batch.tolist()) for batch in sampler])
        padded = sum(len(batch) * (1 + lengths[list(batch)].max()) for batch in plans[-1])
        assert padded < 1.05 * (lengths.sum() + len(lengths))
    assert len({tuple(plan) for plan in plans}) == 3
    with pytest.raises(ValueError, match="max_batch_tokens must be positive, got 0"):
        TokenSampler(lengths, max_batch_tokens=0)


@given(size=st.integers(1, 40), world=st.integers(1, 3), pieces=st.integers(1, 4), start=st.integers(0, 9))
def test_processes_share_every_batch_and_begin_in_the_middle(
    size: int, world: int, pieces: int, start: int
) -> None:
    lengths = np.full(size, 3)
    whole = TokenSampler(lengths, max_batch_tokens=40)
    shares = [
        TokenSampler(lengths, max_batch_tokens=40, share=Share(rank, world, pieces)) for rank in range(world)
    ]
    for sampler in (whole, *shares):
        sampler.set_epoch(2, start)
    batches = list(whole)
    assert len(batches) == len(whole) == max(0, whole.steps - start)
    for step in range(start, whole.steps):
        parts = [number for sampler in shares for piece in sampler.pieces(step) for number in piece.tolist()]
        assert sorted(parts) == sorted(batches[step - start].tolist())
        assert all(sampler.size(step) == len(parts) for sampler in shares)
    assert [len(list(sampler)) for sampler in shares] == [len(sampler) for sampler in shares]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_reads_what_the_sampler_plans(tokenizer: Tokenizer, tmp_path: Path, workers: int) -> None:
    text = write_tokens(SENTENCES, tokenizer, tmp_path / "text")
    loader = TokenLoader(text, TokenSampler(text.lengths, max_batch_tokens=12), num_workers=workers)
    for epoch, start in ((1, 0), (2, 1), (2, 0)):
        loader.steps.set_epoch(epoch, start)
        read = [[int(name.split()[1]) - 1 for name in batch.names] for batch in loader]
        assert read == [numbers.tolist() for numbers in loader.steps]
