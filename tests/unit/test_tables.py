"""Rows enter a Markdown file where they belong and change nothing else in it."""

import subprocess
import sys
from pathlib import Path

import pytest

from hyperconformer.errors import InputError
from hyperconformer.tables import check_file, insert_rows, record_rows

TEXT = """# Results

## Runs

Why.

| system | WER % |
|---|---|
| a | 1 |

More.

## Later

| system | WER % |
|---|---|
| other | 9 |
"""


def test_a_row_goes_behind_the_last_row_of_its_table() -> None:
    new = insert_rows(TEXT, ["## Runs"], ["system", "WER %"], [["b|c", "2"], ["d", "3"]])
    assert new == TEXT.replace("| a | 1 |\n", "| a | 1 |\n| b\\|c | 2 |\n| d | 3 |\n")


def test_another_header_begins_another_table_in_the_same_section() -> None:
    new = insert_rows(TEXT, ["## Runs"], ["system", "CER %"], [["b", "2"]])
    assert new == TEXT.replace("More.\n", "More.\n\n| system | CER % |\n|---|---|\n| b | 2 |\n")


def test_missing_headings_are_made_from_the_outside_in() -> None:
    once = insert_rows(TEXT, ["## Runs", "### Small"], ["n"], [["1"]])
    assert once == TEXT.replace("More.\n", "More.\n\n### Small\n\n| n |\n|---|\n| 1 |\n")
    new = insert_rows(once, ["## New", "### Small"], ["n"], [["2"]])
    assert new == once + "\n## New\n\n### Small\n\n| n |\n|---|\n| 2 |\n"
    assert insert_rows(new, ["## New", "### Small"], ["n"], [["3"]]) == new + "| 3 |\n"


def test_a_comment_in_a_block_of_code_is_no_heading() -> None:
    text = "# Results\n\n## Runs\n\n```bash\n# train\n## Runs\n```\n\n## Later\n"
    new = insert_rows(text, ["## Runs"], ["n"], [["1"]])
    assert new == text.replace("```\n\n##", "```\n\n| n |\n|---|\n| 1 |\n\n##")


def test_a_file_is_made_and_then_grows(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    for value in "12":
        record_rows(file, ["## Runs"], ["n"], [[value]])
    assert file.read_text() == "# Results\n\n## Runs\n\n| n |\n|---|\n| 1 |\n| 2 |\n"


def test_programs_that_record_at_the_same_time_lose_no_row(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    code = "import sys; from pathlib import Path; from hyperconformer.tables import record_rows\n"
    code += "for n in range(50): record_rows(Path(sys.argv[1]), ['## Runs'], ['n'], [[sys.argv[2] + str(n)]])"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows = file.read_text().splitlines()[6:]
    assert sorted(rows) == sorted(f"| {name}{n} |" for name in "ab" for n in range(50))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        check_file("--record", tmp_path / "no" / "RESULTS.md")
    with pytest.raises(InputError, match="is a folder"):
        check_file("--record", tmp_path)
    with pytest.raises(InputError, match="cannot be recorded in '/proc/x.md'"):
        record_rows(Path("/proc/x.md"), ["## Runs"], ["n"], [["1"]])
    check_file("--record", tmp_path / "RESULTS.md")
