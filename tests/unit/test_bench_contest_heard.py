"""Bench contest: what is heard of tests, alone and joined, and whose errors they are."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hyperconformer.bench.contest.joined import join, orders_of
from hyperconformer.bench.contest.testing import count_errors, hear_joined
from hyperconformer.scoring import score
from hyperconformer.types import Utterance


def spoken(speakers: str = "abc", each: int = 9, seconds: float = 3.0) -> list[Utterance]:
    rng = np.random.default_rng(0)
    return [
        Utterance(f"{who}{n}", float(seconds + rng.uniform(-1, 1)), "", who, "ONE TWO")
        for who in speakers
        for n in range(each)
    ]


@pytest.mark.parametrize("seconds", [1.0, 10.0, 1000.0])
def test_joined_recordings_hold_every_utterance_once(seconds: float) -> None:
    utterances = spoken()
    recordings = join(utterances, seconds)
    assert recordings == join(utterances[::-1], seconds)
    assert sorted(one.id for own in recordings for one in own) == [one.id for one in utterances]
    assert all(len(own) == 1 or sum(one.seconds for one in own) <= seconds for own in recordings)
    # Speakers follow each other, so that few recordings have two.
    order = [one.speaker for own in recordings for one in own]
    assert sum(a != b for a, b in itertools.pairwise(order)) == 2
    if seconds == 10.0:
        assert max(len(own) for own in recordings) >= 3


def test_small_tests_are_joined_in_several_orders() -> None:
    utterances = spoken()  # 81 s
    assert orders_of(utterances, 120.0, 16) == 24 and orders_of(utterances * 24, 120.0, 16) == 1
    assert join(utterances, 10.0, 1) != join(utterances, 10.0) == join(utterances, 10.0, 0)


class Frames:
    """Hears samples as numbers of words, one a frame of 40 ms, and nothing after the first minute."""

    frame = 640

    def __init__(self) -> None:
        self.ctc_head = torch.nn.Linear(20, 20, bias=False)
        torch.nn.init.eye_(self.ctc_head.weight)

    def features(
        self, samples_bs: torch.Tensor, lengths_b: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return samples_bs[:, :: self.frame], (lengths_b - 1) // self.frame + 1

    def encode_features(
        self, samples_bt: torch.Tensor, frames_b: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        samples_bt = samples_bt.clone()
        samples_bt[:, 1500:] = 0
        return torch.nn.functional.one_hot(samples_bt.long(), 20).float(), frames_b


def test_joined_recordings_are_cut_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is heard right is right at its utterance at every length, what is not is wrong there."""
    utterances = [replace(one, words=f"W{10 + n} W3") for n, one in enumerate(spoken("a", 9, 10.0))]

    def read(path: str) -> np.ndarray:
        samples = np.zeros(int(16_000 * utterances[int(path)].seconds), np.float32)
        # The first word at once, the other up to the end, as no alignment could know better.
        samples[:3000], samples[-3000:] = 10 + int(path), 3
        return samples

    monkeypatch.setattr("hyperconformer.bench.contest.joined.read_audio", read)
    utterances = [replace(one, path=str(n)) for n, one in enumerate(utterances)]
    tokenizer = SimpleNamespace(decode=lambda tokens: " ".join(f"W{token}" for token in tokens))
    short, long = (hear_joined(Frames(), tokenizer, utterances, seconds, 3) for seconds in (15.0, 120.0))
    assert long.words == short.words == [6] * 9 and short.recordings == long.recordings
    assert short.word_edits["greedy"] == short.character_edits["greedy"] == [0] * 9
    # Of a minute and a half only a minute is heard, in each of three orders: three to five utterances less.
    assert 3 * 3 * 2 <= sum(long.word_edits["greedy"]) <= 3 * 5 * 2
    assert max(long.word_edits["greedy"]) <= 6


def test_errors_are_those_of_scoring() -> None:
    utterances = spoken("a", 4)
    said = dict(zip(["a2", "a0", "a3", "a1"], ["ONE", "ONE TWO", "", "TO TWO TEN"], strict=True))
    pairs = [(one, said[one.id]) for one in reversed(utterances)]
    tested = count_errors({"greedy": pairs}, "test", {one.id: float(one.id[1]) for one in utterances})
    report = score(pairs, "test")
    assert tested.wer("greedy") == report.wer and tested.cer("greedy") == pytest.approx(report.cer)
    assert tested.word_edits["greedy"] == [0, 2, 1, 2] and tested.loss == [0.0, 1.0, 2.0, 3.0]
    other = count_errors({"greedy": [(replace(one, words="ONE"), "") for one in utterances]}, "test")
    assert other.recordings != tested.recordings and other.loss == []


def test_a_system_that_cannot_hear_so_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hyperconformer.bench.contest.testing.read_joined",
        lambda own: (np.zeros(16_000, np.float32), np.array([16_000])),
    )

    def refuse(*_: object) -> None:
        raise RuntimeError("The size of tensor a (3001) must match\nb (3000)")

    model = SimpleNamespace(ctc_head=torch.nn.Linear(1, 1), features=refuse)
    assert hear_joined(model, None, spoken(), 15.0).note == "1.0 s: The size of tensor a (3001) must match"
