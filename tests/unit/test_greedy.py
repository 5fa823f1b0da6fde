"""Greedy decoding against a loop over frames."""

import itertools

import pytest
import torch

from hyperconformer.decoding.greedy import ctc_greedy


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
