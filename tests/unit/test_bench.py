"""The benchmark measures what it says, refuses what is wrong and survives what crashes; no test is timed."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hyperconformer.bench import child, columns, command, figures, record, report, runner, upstream
from hyperconformer.bench.cases import PARTS, THEIR_MIXERS, Case, Kind, Outcome, Sizes
from hyperconformer.bench.checks import CheckFailed, check, check_padding, difference
from hyperconformer.bench.measure import FEWEST_REPEATS, measure, saved_bytes
from hyperconformer.bench.systems import build
from hyperconformer.cli import main
from hyperconformer.mixers import MIXERS, SummaryMixing
from hyperconformer.tables import insert_rows

TINY = Sizes(d_model=16, heads=2, layers=1, decoder_layers=1, output_neurons=20)
CASE = Case("mixer", "summary", "forward", seconds=0.5, batch_size=2, repeats=3, sizes=TINY)
SMALL = ["--d_model=16", "--heads=2", "--repeats=3", "--rounds=1", "--threads=1"]
ORIGIN = record.Origin("hyperconformer bench step", "abc", "a CPU", "2.11.0", "2026-01-31")


def quiet(_: str) -> None:
    pass


def last_json(said: str) -> dict:
    """The machine's line: the last one."""
    return json.loads(said.splitlines()[-1])


def test_mixer_where_upstream_crashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "RESULTS.md"
    results.write_text("# Results\n\n## Other\n\nKept.\n")
    arguments = ["bench", "mixer", "--frames=3001", "--batch_size=1", "--forward_only", *SMALL]
    systems = ["--mixers", "hypermixing,mlp", "upstream:hypermixing", "--against=hypermixing"]
    where = [f"--output={tmp_path / 'out'}", f"--record={results}"]
    assert main([*arguments, *systems, *where]) == 0
    said = capsys.readouterr()
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert '"cases"' not in said.out
    ours, mlp, theirs = (case["parts"]["forward"] for case in found["cases"])
    assert len(ours["times_ms"]) == 3 and ours["peak_bytes"] > 0 and ours["status"] == "ok"
    assert mlp["status"] == "too long" and "1500" in mlp["note"]
    assert theirs["status"] == "ok"
    assert "[1] mlp 120.04 s: 3001 frames" in said.out and "forward+backward" not in said.out
    assert found["command"].startswith(
        "hyperconformer bench mixer --frames 3001 --batch_size 1 --forward_only"
    )
    assert "output" not in found["command"] and found["date"] and found["hardware"] and found["commit"]
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"time.svg", "memory.png"}
    rows = [line for line in results.read_text().splitlines() if line.startswith("| hypermixing")]
    assert len(rows) == 1 and "Kept." in results.read_text() and found["command"] in rows[0]


def test_encoder_measures_both_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--layers=1", "--lengths=1", "--batch_seconds=2.5"]
    new = tmp_path / "new.md"
    assert main(["bench", "encoder", *sizes, *SMALL, "--mixers=summary", f"--record={new}"]) == 0
    found = last_json(capsys.readouterr().out)
    (case,) = found["cases"]
    assert case["batch_size"] == 2 and found["against"] == "summary"
    assert case["parts"]["backward"]["saved_bytes"] > 0
    assert case["ratios"]["backward time"] == 1
    assert new.read_text().startswith("# Results\n\n## Speed and memory\n\n### Encoder\n")


def test_step_of_upstream(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--layers=1", "--decoder_layers=1", "--output_neurons=20"]
    mixers = ["--mixers=upstream:RoPEMHA"]
    assert main(["bench", "step", "--seconds=1", "--batch_size=1", *sizes, *mixers, *SMALL]) == 0
    (case,) = last_json(capsys.readouterr().out)["cases"]
    assert case["parts"]["step"]["fastest_ms"] > 0 and case["audio_seconds_per_second"] > 0


@pytest.mark.parametrize("kind", [kind for kind in PARTS if kind != "text"])
@pytest.mark.parametrize("system", [*MIXERS, *(f"upstream:{name}" for name in THEIR_MIXERS)])
def test_every_system_passes_its_check(kind, system: str) -> None:
    check(replace(CASE, kind=kind, system=system, part=PARTS[kind][-1]))


@pytest.mark.parametrize("part", ["forward", "backward"])
def test_a_wrong_mixer_is_refused(part, monkeypatch: pytest.MonkeyPatch) -> None:
    correct = SummaryMixing.forward
    monkeypatch.setattr(
        SummaryMixing, "forward", lambda self, x, padding=None: 1.001 * correct(self, x, padding)
    )
    with pytest.raises(CheckFailed, match=f"mixer summary 0.5 s {part}: outputs differ .* by 1.0e-03"):
        runner.run_rounds([replace(CASE, part=part)], 1, quiet, launch=child.examine)


@pytest.mark.parametrize(
    "pair", [(torch.ones(2), torch.tensor([1.0, torch.nan])), (torch.tensor([torch.inf]), torch.ones(1))]
)
def test_what_is_not_finite_passes_no_check(pair) -> None:
    assert difference(*pair) == torch.inf


def test_a_mixer_that_hears_padding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = SummaryMixing.forward
    monkeypatch.setattr(SummaryMixing, "forward", lambda self, x, padding=None: correct(self, x))
    with pytest.raises(CheckFailed, match="alone and in a padded batch"):
        check_padding(replace(CASE, kind="encoder"))


def test_a_wrong_upstream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = upstream.TransformerASR.encode
    monkeypatch.setattr(upstream.TransformerASR, "encode", lambda *given: 1.001 * correct(*given))
    with pytest.raises(CheckFailed, match="with the same weights ours gives another output, off by 1.0e-03"):
        check(replace(CASE, system="upstream:hypermixing"))


def test_the_command_reports_nothing_of_a_wrong_system(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise CheckFailed("mixer summary: outputs differ by 1")

    monkeypatch.setattr(runner, "run_rounds", refuse)
    assert main(["bench", "mixer", "--mixers=summary"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err == "error: not measured: mixer summary: outputs differ by 1\n"


@pytest.mark.parametrize(
    ("program", "limit_seconds", "note"),
    [
        ("import os; os.kill(os.getpid(), 9)", 60, "killed by signal 9 (out of memory?)"),
        ("raise MemoryError", 60, "status 1: MemoryError"),
        ("import time; time.sleep(60)", 0.2, "over 0.2 s"),
        ("pass", 60, "status 0: nothing said"),
    ],
)
def test_a_crash_becomes_a_cell(program: str, limit_seconds: float, note: str) -> None:
    case = replace(CASE, limit_seconds=limit_seconds)
    calls = []

    def launch(case: Case) -> Outcome:
        calls.append(case)
        return runner.launch(case, [sys.executable, "-c", program])

    outcomes = runner.run_rounds([case], 3, quiet, launch=launch)
    assert len(calls) == 1, "tried again"
    (row,) = report.rows_of(outcomes, "summary")
    assert row.parts["forward"].status == "fails" and note in row.parts["forward"].note
    assert note in columns.text_table([row], "summary")


@pytest.mark.parametrize(
    "error", [MemoryError("no"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_is_named(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: Case) -> None:
        raise error

    monkeypatch.setattr(child, "measure", crash)
    assert child.examine(CASE).note == "out of memory"


def test_saved_bytes_count_a_storage_once_and_neither_weights_nor_inputs() -> None:
    x = torch.ones(8, 4, requires_grad=True)
    weight = torch.ones(4, 4, requires_grad=True)

    def forward() -> torch.Tensor:
        hidden = (x @ weight).exp()  # saves x, weight and, 8 x 4 floats, its result
        return hidden[:4] * hidden[4:]  # saves two views of that result

    assert saved_bytes(forward, [x, weight]) == 8 * 4 * 4
    assert saved_bytes(forward, [x]) == 8 * 4 * 4 + 4 * 4 * 4


def test_a_slow_case_repeats_less() -> None:
    assert len(measure(replace(CASE, repeats=50, limit_seconds=0)).times_ms) == FEWEST_REPEATS


@pytest.mark.parametrize("system", ["hypermixing", "upstream:RelPosMHAXL"])
def test_precision_reaches_the_system(system: str) -> None:
    case = replace(CASE, kind="encoder", system=system, part="backward", precision="bf16")
    check(case)
    assert measure(case).saved_bytes < measure(replace(case, precision="fp32")).saved_bytes


def test_a_graph_within_the_forward_pass_is_not_counted() -> None:
    x = torch.ones(10, requires_grad=True)

    def forward() -> torch.Tensor:
        with torch.enable_grad():
            inner = torch.ones(1000, requires_grad=True)
            torch.autograd.grad(inner.exp().sum(), inner)
        return x.exp()

    assert saved_bytes(forward, [x]) == 40


def test_a_whole_training_step_is_counted() -> None:
    case = replace(CASE, kind="step", part="step", system="hypermixing")
    found = measure(case)
    assert found.saved_bytes and found.status == "ok"


def test_all_systems_train_on_the_same_batch() -> None:
    ours, theirs = (build(replace(CASE, kind="step", system=s)) for s in ("attention", "upstream:RoPEMHA"))
    assert torch.equal(ours.inputs[0], theirs.inputs[0])
    assert 0.3 < ours.forward().item() / theirs.forward().item() < 3


def test_rounds_are_joined_and_compared() -> None:
    other = replace(CASE, system="attention")
    found = [
        Outcome(case, "ok", times_ms=times, peak_bytes=peak, parameters=7)
        for case, times, peak in (
            (other, (8.0, 10.0), 100),
            (CASE, (3.0, 5.0), 30),
            (other, (10.0, 12.0), 100),
            (CASE, (5.0, 6.0), 50),
        )
    ]
    reference, row = report.rows_of(found, "attention")
    assert row.parts["forward"].fastest_ms == 3 and row.parts["forward"].median_ms == 5
    assert row.ratios == {"forward time": 0.5, "forward peak": 0.4}
    assert row.audio_seconds_per_second == 200
    assert reference.ratios["forward time"] == 1


def rows_of_step(system: str) -> list[report.Row]:
    case = replace(CASE, kind="step", part="step", system=system)
    return report.rows_of([Outcome(case, "fails", "a | b")], system)


def add_rows(text: str, kind: Kind, rows: list[report.Row]) -> str:
    return insert_rows(text, *record.table_of(kind, rows, "attention", ORIGIN))


def test_rows_enter_results() -> None:
    text = "# Results\n\n## Small systems\n\n| a |\n|---|\n| 1 |\n\n## Later\n\nText.\n"
    once = add_rows(text, "step", rows_of_step("attention"))
    twice = add_rows(once, "step", rows_of_step("summary"))
    both = add_rows(twice, "mixer", [])
    again = add_rows(both, "step", rows_of_step("mlp"))
    assert again.startswith(text)
    step, mixer = again.split("## Speed and memory\n")[1].split("### Mixer")
    lines = [line for line in step.splitlines() if line]
    assert lines[0] == "### Training step" and lines[1].startswith("| system | mode |")
    assert [line.split()[1] for line in lines[3:]] == ["attention", "summary", "mlp"]
    assert (
        r"fails: a \| b" in lines[3]
        and "`hyperconformer bench step` | abc | a CPU | 2026-01-31 |" in lines[3]
    )
    assert {line.count(" | ") for line in lines[1:2] + lines[3:]} == {lines[1].count(" | ")}
    assert mixer.count("| system |") == 1 and "\n\n\n" not in again


def test_rows_enter_a_section_in_the_middle_and_an_old_table_is_left_alone() -> None:
    text = (
        "# Results\n\n## Speed and memory\n\nWhy.\n\n### Training step\n\n| old |\n|---|\n| 1 |\n\n## Later\n"
    )
    new = add_rows(text, "step", rows_of_step("attention"))
    assert (
        new.index("| old |\n|---|\n| 1 |\n\n| system |")
        < new.index("| attention |")
        < new.index("\n\n## Later\n")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mixers=summary,fourrier"], "--mixers fourrier: choose from"),
        (["--precision=fp16"], "use bf16 on a CPU"),
        (["--modes=fast"], "--modes fast: choose from eager, compile"),
        (["--mixers=summary", "--against=attention"], "--against attention is not measured"),
        (["--lengths=0"], "length '0' is no positive number"),
        (["--lengths=5,x"], "length 'x' is no positive number"),
        (["--device=tpu"], "--device=tpu is no device"),
        (["--record=no/such/file.md"], "--record no/such/file.md: there is no such folder"),
        (["--output=/dev/null/out"], "--output /dev/null/out cannot be made"),
    ],
)
def test_bad_arguments_are_answered_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "encoder", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_what_is_missing_is_said_before_measuring(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "find_spec", lambda _: None)
    assert main(["bench", "mixer", f"--output={tmp_path}"]) == 2
    assert "pip install 'hyperconformer[bench]'" in capsys.readouterr().err
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert main(["bench", "mixer", "--mixers=upstream:hypermixing"]) == 2
    assert "SpeechBrain is not installed" in capsys.readouterr().err
