"""Broken and forged model folders: each is refused in one line, in little memory, and nothing is run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bundle_mutations import EITHER, OPENS, REFUSED, mutations

ROOT = Path(__file__).parents[2]
LEGAL = {REFUSED: {REFUSED}, OPENS: {OPENS}, EITHER: {REFUSED, OPENS}}
MOST_SECONDS, MOST_BYTES = 10, 2**28


def fault(sure: str, found: dict[str, Any]) -> str:
    """What is wrong with what became of a mutation, if anything."""
    said = found["said"]
    if found["outcome"] not in LEGAL[sure]:
        return f"{found['outcome']}: {said}"
    if found["seconds"] > MOST_SECONDS:
        return f"it took {found['seconds']:.1f} s"
    lines = [said] if found["outcome"] == REFUSED else said.splitlines()
    if not all(line.isprintable() for line in lines) or len(said) > 600:
        return f"not a line to read: {said!r}"
    reason = said.partition("': ")[2] or said.partition("' ")[2]
    if found["outcome"] == REFUSED and not (said.startswith("model '") and len(reason) > 10):
        return f"no reason: {said}"
    return ""


def test_every_mutation_is_refused_with_a_reason_in_little_memory(tiny_bundle: Path, tmp_path: Path) -> None:
    table = mutations()
    assert sum(sure == REFUSED for sure, _ in table.values()) >= 100
    # One process, whose address space may grow by a gigabyte.
    command = [sys.executable, "-m", "tests.bundle_mutations", str(tiny_bundle), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert list(found["found"]) == list(table)
    faults = {name: fault(sure, found["found"][name]) for name, (sure, _) in table.items()}
    assert not {name: said for name, said in faults.items() if said}
    assert not (tmp_path / "unpickled").exists()
    assert found["bytes"] < MOST_BYTES


def test_the_check_can_fail() -> None:
    good = {"outcome": REFUSED, "said": "model 'x': config.json cannot be used", "seconds": 0.1}
    assert not fault(REFUSED, good)
    for bad in (
        {"outcome": OPENS},
        {"outcome": "crashed"},
        {"said": "model 'x': two\nlines of it"},
        {"said": "model 'x': no"},
        {"seconds": 60.0},
    ):
        assert fault(REFUSED, good | bad)
