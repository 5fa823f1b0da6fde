"""Bench contest: what is heard of tests, alone and joined, and whose errors they are."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hyperconformer.bench.contest.joined import join, orders_of, share_out
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
    assert orders_of(utterances, 120.0) == 24 and orders_of(utterances * 24, 120.0) == 1
    assert join(utterances, 10.0, 1) != join(utterances, 10.0) == join(utterances, 10.0, 0)


@pytest.mark.parametrize("heard", ["", "ONE", "TWO ONE TWO TEN ONE", "TEN " * 40, "ONE TWO " * 6])
def test_what_is_shared_out_has_the_errors_of_the_whole(heard: str) -> None:
    recording = spoken("a", 6)
    parts = share_out(recording, heard)
    assert [one for one, _ in parts] == recording
    assert " ".join(words for _, words in parts).split() == heard.split()
    whole = replace(recording[0], words=" ".join(one.words for one in recording))
    assert score(parts, "parts").counts.edits == score([(whole, heard)], "whole").counts.edits


def test_errors_of_joined_recordings_are_found_at_their_utterances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every recording is heard right but for the utterance a3, of which nothing is heard."""
    utterances = [replace(one, words=f"W{one.id} AND") for one in spoken("ab", 6)]
    said: list[str] = []

    def read(recording: list[Utterance]) -> np.ndarray:
        said.append(" ".join(one.words for one in recording if one.id != "a3"))
        return np.zeros(16_000, np.float32)

    monkeypatch.setattr("hyperconformer.bench.contest.testing.read_joined", read)
    monkeypatch.setattr(
        "hyperconformer.bench.contest.testing.greedy_search", lambda *_: [SimpleNamespace(tokens=[])]
    )
    model = SimpleNamespace(
        ctc_head=torch.nn.Linear(1, 1), features=lambda *_: (None,), encode_features=lambda *_: (None,)
    )
    tokenizer = SimpleNamespace(decode=lambda _: said[-1])
    short, long = (hear_joined(model, tokenizer, utterances, seconds, 3) for seconds in (9.0, 120.0))
    assert long.words == short.words == [6] * 12 and short.recordings == long.recordings
    assert long.word_edits["greedy"] == short.word_edits["greedy"] == [0, 0, 0, 6] + [0] * 8


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
        "hyperconformer.bench.contest.testing.read_joined", lambda own: np.zeros(16_000, np.float32)
    )

    def refuse(*_: object) -> None:
        raise RuntimeError("The size of tensor a (3001) must match\nb (3000)")

    model = SimpleNamespace(ctc_head=torch.nn.Linear(1, 1), features=refuse)
    assert hear_joined(model, None, spoken(), 15.0).note == "1.0 s: The size of tensor a (3001) must match"
