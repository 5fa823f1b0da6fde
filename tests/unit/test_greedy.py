"""Greedy decoding against a loop over frames."""

import itertools

import pytest
import torch

from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.decoding.greedy_logits import CPU_ROWS, greedy_search
from hyperconformer.nn.masks import padding_mask


def test_greedy_equals_the_loop() -> None:
    log_probs = torch.randn(5, 30, 4, dtype=torch.float64).log_softmax(-1)
    for row, hypothesis in enumerate(ctc_greedy(log_probs)):
        path = log_probs[row].argmax(-1).tolist()
        assert hypothesis.tokens == tuple(label for label, _ in itertools.groupby(path) if label)
        assert hypothesis.score == pytest.approx(
            sum(log_probs[row, t, label].item() for t, label in enumerate(path))
        )


def test_a_label_that_runs_into_padding_is_not_lost_nor_doubled() -> None:
    path = torch.tensor([[3, 3, 3, 3]])
    log_probs = torch.nn.functional.one_hot(path, 5).double().log()
    padding = torch.tensor([[False, False, True, True]])
    assert ctc_greedy(log_probs, padding)[0].tokens == (3,)


@pytest.mark.parametrize("lengths", [[9, 3, 7], [0, 0, 0], [CPU_ROWS, CPU_ROWS + 1, 1]])
def test_without_all_log_probabilities_it_is_the_same(lengths: list[int]) -> None:
    torch.manual_seed(0)
    head, lengths_b = torch.nn.Linear(4, 6), torch.tensor(lengths)
    memory_btd = 3 * torch.randn(3, CPU_ROWS + 2, 4)
    padding = padding_mask(lengths_b, memory_btd.shape[1])
    before = memory_btd.clone()
    slow = ctc_greedy(head(memory_btd).log_softmax(dim=-1), padding)
    for ours, truth in zip(greedy_search(head, memory_btd, lengths_b), slow, strict=True):
        assert ours.tokens == truth.tokens and ours.score == pytest.approx(truth.score, abs=1e-4)
    assert torch.equal(memory_btd, before)
