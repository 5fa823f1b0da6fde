"""What a test heard is read back as it was written, and the file of another test never passes for it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperconformer.errors import InputError
from hyperconformer.scoring import WerReport, score
from hyperconformer.types import Utterance
from hyperconformer.wer_files import (
    Trial,
    find_trials,
    read_results,
    read_trial,
    remove_trials,
    write_results,
)
from hyperconformer.wer_tables import report_split

WORD = st.text(min_size=1, max_size=5).filter(lambda word: word.split() == [word])
WORDS = st.lists(WORD, max_size=6).map(" ".join)
ROW = st.tuples(st.text(max_size=4), WORDS.filter(bool), WORDS)


def scored(rows: list[tuple[str, str, str]], split: str = "test") -> WerReport:
    """Score rows of speaker, reference and hypothesis."""
    pairs = [
        (Utterance(f"u{index}", 1.0, "u.flac", speaker, reference), hypothesis)
        for index, (speaker, reference, hypothesis) in enumerate(rows)
    ]
    return score(pairs, split)


def hear(folder: Path, split: str, **heard: str) -> None:
    """Leave in a run's folder what each search heard."""
    utterance = Utterance("u1", 1.0, "u.flac", "anna", "ONE TWO THREE")
    report_split(split, {search: [(utterance, words)] for search, words in heard.items()}, folder)


@given(rows=st.lists(ROW, min_size=1, max_size=5))
def test_what_is_read_is_what_was_written(rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("run") / "wer_test.txt"
    report = scored(rows)
    write_results(report, Trial("test", "greedy"), path)
    assert read_results(path) == read_results(path.with_suffix(".jsonl")) == report
    assert read_trial(path) == Trial("test", "greedy")


def test_a_run_lists_its_result_first(tmp_path: Path) -> None:
    hear(tmp_path, "test", joint="ONE", greedy="ONE TWO")
    hear(tmp_path, "test_other", greedy="ONE")
    assert {str(trial): path.name for trial, path in find_trials(tmp_path).items()} == {
        "test, greedy": "wer_test.jsonl",
        "test, joint": "wer_test_joint.jsonl",
        "test_other, greedy": "wer_test_other.jsonl",
    }
    assert next(iter(find_trials(tmp_path))) == Trial("test", "greedy")


def test_a_new_test_leaves_nothing_of_the_last_one(tmp_path: Path) -> None:
    hear(tmp_path, "test", greedy="ONE", joint="ONE TWO")
    hear(tmp_path, "test_greedy", greedy="ONE")
    hear(tmp_path, "test", joint="ONE TWO THREE")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "wer_test.jsonl", "wer_test.txt", "wer_test_greedy.jsonl", "wer_test_greedy.txt"
    ]  # fmt: skip
    assert {*find_trials(tmp_path)} == {Trial("test", "joint"), Trial("test_greedy", "greedy")}
    assert read_results(tmp_path / "wer_test.txt").wer == 0


HEAD = '{"split": "test", "search": "greedy"}\n'
ROW_ONE = {"id": "u1", "speaker": "a", "reference": "ONE", "hypothesis": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, cannot be used"),
        ("[1]\n", "line 1, cannot be used"),
        (HEAD + "{\n", "line 2, cannot be used"),
        (HEAD + json.dumps(ROW_ONE) + '\n{"id": "u2"}\n', "line 3, cannot be used .'speaker'"),
        (HEAD + json.dumps(ROW_ONE | {"reference": 1}), "line 2, .* must be strings"),
        (HEAD, "has no utterances"),
        (HEAD + 2 * (json.dumps(ROW_ONE) + "\n"), "'u1' comes twice"),
    ],
)
def test_a_broken_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wer_test.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=f"{path.name}.*{message}") as raised:
        read_results(path)
    assert "\n" not in str(raised.value)


def test_a_broken_file_does_not_cost_a_new_result(tmp_path: Path) -> None:
    (tmp_path / "wer_dev.jsonl").write_text("broken")
    remove_trials(tmp_path, "test")
    hear(tmp_path, "test", greedy="ONE")
    assert read_results(tmp_path / "wer_test.txt").counts.deletions == 2
