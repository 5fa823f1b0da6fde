"""``hyperconformer compare`` finds runs, pairs what belongs together and says what came out."""

import json
from pathlib import Path

import pytest

from hyperconformer.cli import main
from hyperconformer.types import Utterance
from hyperconformer.wer_tables import report_split

REFERENCE = "ONE TWO THREE FOUR"
GOOD, FAIR, BAD = REFERENCE, "ONE TWO THREE", "ONE"


def leave(folder: Path, split: str = "test", speakers: int = 8, **heard: str) -> Path:
    """Write what a test leaves: for each search the same words, whoever speaks."""
    folder.mkdir(parents=True, exist_ok=True)
    spoken = [Utterance(f"u{n}", 1.0, "", f"s{n}", REFERENCE) for n in range(speakers)]
    report_split(split, {search: [(u, words) for u in spoken] for search, words in heard.items()}, folder)
    return folder


@pytest.fixture
def systems(tmp_path: Path) -> tuple[Path, Path]:
    """Two systems of two seeds; the second one is better, and its greedy search worse."""
    for seed, words in ((1, FAIR), (2, BAD)):
        leave(tmp_path / "a" / str(seed), greedy=BAD, joint=words)
        leave(tmp_path / "b" / str(seed), greedy=FAIR, joint=GOOD)
        leave(tmp_path / "b" / str(seed), split="other", joint=GOOD)
    (tmp_path / "a" / "notes").mkdir()
    return tmp_path / "a", tmp_path / "b"


def compared(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict:
    """The only comparison of a call."""
    assert main(["compare", *map(str, arguments), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["comparisons"]
    return found


def test_folders_of_seeds_by_their_results(systems, capsys) -> None:
    found = compared(capsys, *systems)
    assert (found["split"], found["search_a"], found["search_b"]) == ("test", "joint", "joint")
    assert found["wers_a"] == [25, 75] and found["wers_b"] == [0, 0]
    assert found["difference"] == -50 and found["low"] < -50 < found["high"] <= 0
    assert [Path(file).name for file in found["files_a"]] == ["wer_test.jsonl"] * 2


def test_single_runs_and_a_verdict(systems, capsys) -> None:
    a, b = systems
    assert main(["compare", f"{a}/1", f"{b}/1"]) == 0
    said = capsys.readouterr().out
    assert "test: 8 utterances, 32 words, 8 speakers" in said and said.endswith("B is better.\n")
    assert "A is one run" in said and "B is one run" in said and "over speakers\n" in said
    assert main(["compare", f"{b}/1", f"{a}/1"]) == 0
    assert capsys.readouterr().out.endswith("B is worse.\n")
    assert main(["compare", f"{a}/1", f"{a}/1"]) == 0
    assert "No difference is shown" in capsys.readouterr().out


def test_a_list_of_runs_and_another_search(systems, capsys) -> None:
    a, b = systems
    found = compared(capsys, f"{a}/1,{a}/2", f"{b}/2", "--search", "greedy", "--split", "test")
    assert found["wers_a"] == [75, 75] and found["wers_b"] == [25]
    assert found["search_a"] == found["search_b"] == "greedy"


def test_a_file_brings_its_search_along(systems, capsys) -> None:
    a, b = systems
    found = compared(capsys, a / "1" / "wer_test_greedy.txt", b / "1")
    assert (found["search_a"], found["search_b"]) == ("greedy", "greedy")
    found = compared(capsys, a / "1", a / "1" / "wer_test_greedy.jsonl")
    assert (found["search_a"], found["search_b"]) == ("greedy", "greedy")
    found = compared(capsys, a / "1" / "wer_test_greedy.txt", a / "1" / "wer_test.txt")
    assert (found["search_a"], found["search_b"]) == ("greedy", "joint") and found["difference"] == -50


def test_few_speakers_show_nothing(tmp_path: Path, capsys) -> None:
    a, b = leave(tmp_path / "a", speakers=4, joint=BAD), leave(tmp_path / "b", speakers=4, joint=GOOD)
    found = compared(capsys, a, b)
    assert found["p_permutation"] == found["p_least"] == 2 / 2**4 and found["verdict"] == "open"


def test_a_comma_in_a_name_is_no_list(tmp_path: Path, capsys) -> None:
    a, b = leave(tmp_path / "lr,high", joint=BAD), leave(tmp_path / "b", joint=GOOD)
    assert compared(capsys, a, b)["wers_a"] == [75]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a/1", "no"], "'no' does not exist"),
        (["a/notes", "b"], "'a/notes' holds no results"),
        (["a", "b", "--split", "dev"], "'a/1' has no split 'dev': choose from test"),
        (["a", "b", "--split", "other"], "'a/1' has no split 'other'"),
        (["a", "b", "--search", "beam"], "'a/1' has no beam results of 'test': it has joint, greedy"),
        (["a/1,a/1", "b"], "'a/1' is named twice"),
        (["a", "d"], "1 utterances, for instance 'u8', are in one run and not in the other"),
        (["a", "c"], "'a/1' and 'c' have no split in common"),
        (["d,e", "a"], "the result of 'd' is of joint, that of 'e' of greedy: give --search"),
        (["f/wer_test.txt", "a"], "'f/wer_test.jsonl' does not exist: test the run again"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(
    arguments: list[str], message: str, systems, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path / "c", split="third", joint=GOOD)
    leave(tmp_path / "d", speakers=9, joint=GOOD)
    leave(tmp_path / "e", speakers=9, greedy=GOOD)
    (leave(tmp_path / "f", joint=GOOD) / "wer_test.jsonl").unlink()
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
