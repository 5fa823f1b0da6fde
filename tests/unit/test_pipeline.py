"""Batches: padding, targets, and augmentation that depends on the key alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hyperconformer.audio import read_audio
from hyperconformer.data.augment import SpecAugment, sped_up_samples
from hyperconformer.data.librispeech import scan_split
from hyperconformer.data.pipeline import IGNORE, SpeechDataset, make_loader
from hyperconformer.data.sampler import BatchSampler, Draw
from hyperconformer.text import Tokenizer, train_tokenizer


@pytest.fixture
def utterances(tiny_librispeech) -> list:
    return scan_split(tiny_librispeech(), "train-tiny")


@pytest.fixture
def tokenizer(utterances, tmp_path: Path) -> Tokenizer:
    return train_tokenizer((u.words for u in utterances), tmp_path / "t.model", output_neurons=30)


def test_targets_are_the_reference_and_an_end(utterances, tokenizer) -> None:
    sampler = BatchSampler([u.seconds for u in utterances], max_batch_seconds=100, shuffle=False)
    (batch,) = make_loader(SpeechDataset(utterances, tokenizer), sampler)
    assert len(batch.utterances) == 6 and batch.plans_bp.shape == (6, 0)
    for row, utterance in enumerate(batch.utterances):
        tokens = tokenizer.encode(utterance.words)
        count = len(tokens)
        assert batch.tokens_bl[row, :count].tolist() == tokens
        assert batch.decoder_input()[row, : count + 1].tolist() == [1, *tokens]
        assert batch.decoder_target()[row, : count + 1].tolist() == [*tokens, 2]
        assert set(batch.decoder_target()[row, count + 1 :].tolist()) <= {IGNORE}
        samples = torch.from_numpy(read_audio(utterance.path))
        assert torch.equal(batch.samples_bs[row, : batch.lengths_b[row]], samples)


def test_speed_changes_length_and_the_key_decides_the_masks(utterances, tokenizer) -> None:
    dataset = SpeechDataset(utterances, tokenizer, seed=1, augment=SpecAugment())
    one, same, other = (dataset[Draw(0, epoch, 105)] for epoch in (1, 1, 2))
    assert len(one.samples) == sped_up_samples(16_000, 105)
    assert np.array_equal(one.plan, same.plan) and not np.array_equal(one.plan, other.plan)


def test_two_views_keep_the_masks_of_one_and_draw_others(utterances, tokenizer) -> None:
    augment = SpecAugment()
    one, two = (
        SpeechDataset(utterances, tokenizer, seed=1, augment=augment, views=views)[Draw(0, 1, 100)]
        for views in (1, 2)
    )
    first, second = np.split(two.plan, 2)
    assert np.array_equal(first, one.plan) and not np.array_equal(first, second)
    assert np.array_equal(first[:2], second[:2])
    assert np.array_equal(one.samples, two.samples)


def test_an_unknown_character_leaves_no_blank_in_the_target(utterances, tokenizer) -> None:
    from dataclasses import replace

    strange = replace(utterances[0], words="ONE ÿ TWO")
    assert 0 in tokenizer.encode(strange.words)
    assert 0 not in SpeechDataset([strange], tokenizer)[Draw(0, 1, 100)].tokens


@pytest.mark.parametrize("workers", [0, 1])
def test_epochs_are_the_same_whoever_reads(utterances, tokenizer, workers: int) -> None:
    def load(number: int) -> list:
        sampler = BatchSampler([u.seconds for u in utterances], max_batch_seconds=3, speeds=(95, 105))
        dataset = SpeechDataset(utterances, tokenizer, augment=SpecAugment())
        sampler.set_epoch(4)
        return list(make_loader(dataset, sampler, num_workers=number))

    for ours, plain in zip(load(workers), load(0), strict=True):
        assert ours.utterances == plain.utterances
        assert torch.equal(ours.samples_bs, plain.samples_bs) and torch.equal(ours.plans_bp, plain.plans_bp)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_goes_onwards_gives_what_a_new_one_would(
    utterances, tokenizer, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def loader(**options):
        seconds = [u.seconds for u in utterances]
        sampler = BatchSampler(seconds, max_batch_seconds=2.5, seed=3, speeds=(95, 105))
        dataset = SpeechDataset(utterances, tokenizer, seed=3, augment=SpecAugment())
        return make_loader(dataset, sampler, num_workers=workers, **options)

    begun, onwards = [], BatchSampler.onwards
    monkeypatch.setattr(BatchSampler, "onwards", lambda self: (begun.append(self.epoch), onwards(self))[1])
    ahead = loader(onwards=True)
    # The third follows the second; the fourth is broken off, so the fifth begins anew, in its middle.
    for epoch, start, taken in ((1, 1, 99), (2, 0, 99), (3, 0, 99), (4, 0, 1), (4, 2, 99), (2, 0, 99)):
        ahead.steps.set_epoch(epoch, start)
        plain = loader()
        plain.steps.set_epoch(epoch, start)
        for _, ours, theirs in zip(range(taken), ahead, plain, strict=False):
            assert ours.names == theirs.names and torch.equal(ours.plans_bp, theirs.plans_bp)
            assert torch.equal(ours.samples_bs, theirs.samples_bs)
    assert begun == [1, 4, 2]
