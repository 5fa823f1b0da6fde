"""Transcription is measured where every system says the same; no test is timed."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hyperconformer.audio import read_audio
from hyperconformer.bench import child, columns, command, report, runner, transcribe
from hyperconformer.bench.cases import Case, Outcome
from hyperconformer.bench.checks import CheckFailed
from hyperconformer.bench.transcribe_plan import join, plan_transcribing
from hyperconformer.bench.transcribing import Heard, Transcribing, references, word_errors
from hyperconformer.cli import main
from hyperconformer.inference import backends
from hyperconformer.inference.bundle import load_bundle, save_bundle
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.types import Segment, Transcript
from tests.helpers import randomise

Launch = Callable[[Case], Outcome]
CASE = Case("transcribe", "one by one", "files", 9.0, 1, transcribing=Transcribing("one by one", "m", "f", 3))


def quiet(_: str) -> None:
    pass


def lively_model(tiny_bundle: Path, folder: Path, seed: int) -> Path:
    """A model that says something, with this seed something of its own."""
    model, tokenizer = load_bundle(tiny_bundle)
    return save_bundle(folder, randomise(model, seed), tokenizer, metrics={}, card="# Lively\n")


@pytest.fixture(scope="module")
def model(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lively_model(tiny_bundle, tmp_path_factory.mktemp("lively") / "model", 5)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three recordings of noise with references."""
    chapter = tmp_path / "recordings" / "7" / "1"
    chapter.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, seconds in enumerate((0.6, 1.4, 1.0)):
        noise = rng.normal(scale=0.1, size=round(16_000 * seconds))
        soundfile.write(chapter / f"7-1-{number:04}.flac", noise, 16_000)
    words = [f"7-1-{number:04} ONE TWO\n" for number in range(3)]
    (chapter / "7-1.trans.txt").write_text("".join(words), encoding="utf-8")
    return tmp_path / "recordings"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases are examined in this process."""
    monkeypatch.setattr(runner, "run_rounds", partial(runner.run_rounds, launch=child.examine))


def planned(model: Path, files: Path, *further: str) -> list[Case]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given = ["transcribe", f"--model={model}", f"--files={files}", "--limit=5", *further]
    return plan_transcribing(parser.parse_args(given), {}, files.parent, quiet)


def rows_of(cases: list[Case], rounds: int = 1, launch: Launch = child.examine) -> list[report.Row]:
    return report.rows_of(runner.run_rounds(cases, rounds, quiet, launch=launch), "one by one")


def exported(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, *, int8: bool = False) -> Path:
    """What stands for an exported folder: PyTorch and a model's folder take its place."""

    def opened(choice: backends.Choice) -> backends.Opened:
        asr, *others = backends._torch(replace(choice, folder=str(model)))
        asr.int8 = int8
        return asr, *others

    monkeypatch.setitem(backends.BACKENDS, "onnxruntime", opened)
    return folder


def test_everything_is_measured(
    model: Path, files: Path, here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--model={model}", f"--files={files}", "--limit=5", "--long=6,3", "--rounds=1", "--repeats=1"]
    given.append("--jobs=2")
    results = tmp_path / "RESULTS.md"
    assert main(["bench", "transcribe", *given, "--threads=1", f"--record={results}"]) == 0
    said = capsys.readouterr().out.splitlines()
    found = json.loads(said[-1])
    systems = [case["system"] for case in found["cases"]]
    shorts = ["one by one", "batched", "shared by 2"]
    assert systems == [*shorts, "segmented", "segmented", "first transcript", "--help"]
    alone, batched, shared, short, long, first, usage = found["cases"]
    # The first two files come twice.
    assert alone["seconds"] == batched["seconds"] == pytest.approx(5.0)
    speeds = [case["audio_seconds_per_second"] for case in (alone, batched)]
    assert batched["ratios"]["files speed"] == pytest.approx(speeds[1] / speeds[0])
    heard = [case["parts"]["files"]["heard"] for case in (alone, batched)]
    assert heard[0]["wer"] == heard[1]["wer"] > 0 and heard[1]["more_wer"] == 0
    assert shared["seconds"] == pytest.approx(5.0) and shared["ratios"]["files speed"] > 0
    assert shared["parts"]["files"]["heard"]["wer"] == heard[0]["wer"]
    assert shared["parts"]["files"]["heard"]["other_texts"] == 0
    assert heard[1]["other_texts"] == 0 and heard[0]["load_seconds"] > 0
    assert heard[0]["process_bytes"] > alone["parts"]["files"]["peak_bytes"]
    assert (short["seconds"], long["seconds"]) == pytest.approx((3.0, 7.5))
    assert short["ratios"]["long peak"] == 1 and long["ratios"]["long speed"] > 0
    assert first["seconds"] == pytest.approx(1.4) and len(usage["parts"]["start"]["times_ms"]) == 1
    assert first["parts"]["start"]["heard"]["other_texts"] == 0
    assert "times: fastest / median; x: multiples of one by one" in said
    assert "x of long recordings: multiples of that of 3 s" in said
    assert "### Transcription\n" in results.read_text()
    assert "| batched | 5 | 0.0833 |" in results.read_text()


def test_texts_are_those_of_the_recordings(model: Path, files: Path) -> None:
    alone, batched = (child.examine(case) for case in planned(model, files, "--parts=files"))
    transcriber = Transcriber.load(model)
    paths = sorted(map(str, files.rglob("*.flac")))
    assert alone.heard.texts == batched.heard.texts == {p: transcriber.transcribe(p).text for p in paths}
    assert len(set(alone.heard.texts.values())) > 1
    edits, words = word_errors(["ONE TWO"] * 3, [alone.heard.texts[path] for path in paths])
    assert (alone.heard.edits, alone.heard.words) == (edits, words) and words == 6


def test_another_text_is_refused_and_the_file_named(
    model: Path,
    files: Path,
    here: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong(transcriber: Transcriber, paths: list[str]) -> transcribe.Said:
        for path, said in transcribe._batched(transcriber, paths):
            text = "SOMETHING ELSE" if path.endswith("0001.flac") else said.text
            yield path, Transcript(said.seconds, (Segment(0.0, said.seconds, text),))

    monkeypatch.setitem(transcribe.WAYS, "batched", wrong)
    given = [f"--model={model}", f"--files={files}", "--limit=5", "--parts=files", "--rounds=1"]
    results = tmp_path / "RESULTS.md"
    assert main(["bench", "transcribe", *given, f"--record={results}"]) == 1
    said = capsys.readouterr()
    assert "error: not measured: transcribe batched 5 s files: another text than one by one:" in said.err
    assert "7-1-0001.flac: 'SOMETHING ELSE' and '" in said.err and not said.out and not results.exists()


def test_onnxruntime_must_say_the_same(
    model: Path, files: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = exported(tmp_path / "onnx", model, monkeypatch)
    cases = planned(model, files, "--parts=files", f"--onnx={onnx}")
    systems = ["one by one", "batched", "onnxruntime one by one", "onnxruntime batched"]
    assert [row.case.system for row in rows_of(cases)] == systems
    exported(tmp_path / "other", lively_model(tiny_bundle, tmp_path / "model", 6), monkeypatch)
    with pytest.raises(CheckFailed, match="onnxruntime one by one 5 s files: another text than one by one"):
        rows_of(cases)


def test_other_texts_of_eight_bits_are_counted(
    model: Path, files: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = lively_model(tiny_bundle, tmp_path / "model", 6)
    onnx = exported(tmp_path / "onnx", other, monkeypatch, int8=True)
    rows = rows_of(planned(model, files, "--parts=files", f"--onnx={onnx}"))
    assert [row.case.system for row in rows[2:]] == [
        "onnxruntime int8 one by one",
        "onnxruntime int8 batched",
    ]
    truth, said = (
        {path: Transcriber.load(folder).transcribe(path).text for path in map(str, files.rglob("*.flac"))}
        for folder in (model, other)
    )
    count = sum(truth[path] != said[path] for path in truth)
    assert count > 0
    for row in rows[2:]:
        assert row.first.heard.other_texts == count
        assert row.first.heard.more_wer == row.first.heard.wer - rows[0].first.heard.wer


def test_eight_bits_must_say_the_same_in_every_round() -> None:
    case = replace(CASE, transcribing=replace(CASE.transcribing, int8=True))
    texts = iter(["ONE TWO THREE", "ONE TOO THREE"])
    with pytest.raises(CheckFailed, match="a.flac: 'TOO THREE' and 'TWO THREE' after 1 words"):
        rows_of([case], 2, lambda case: Outcome(case, "ok", heard=Heard({"a.flac": next(texts)})))


def test_a_recording_that_changes_from_turn_to_turn_is_refused(
    model: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moody(transcriber: Transcriber, paths: list[str]) -> transcribe.Said:
        for turn, (path, said) in enumerate(transcribe._one_by_one(transcriber, paths)):
            yield path, Transcript(said.seconds, (Segment(0.0, said.seconds, f"TURN {turn}"),))

    monkeypatch.setitem(transcribe.WAYS, "one by one", moody)
    outcome = child.examine(planned(model, files)[0])
    assert outcome.status == "refused" and "7-1-0000.flac: once 'TURN 0', then 'TURN 3'" in outcome.note


def test_audio_that_nobody_heard_is_missed(model: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        transcribe.WAYS, "segmented", lambda transcriber, paths: iter([(paths[0], Transcript(2.9, ()))])
    )
    outcome = child.examine(planned(model, files, "--parts=long", "--long=3")[0])
    assert outcome.status == "refused" and "2.9 s of 3.0 s were heard" in outcome.note


def test_joined_recordings_have_pauses_between_them(files: Path, tmp_path: Path) -> None:
    paths = sorted(map(str, files.rglob("*.flac")))
    number, seconds = join(paths, 5.0, tmp_path / "long.flac")
    samples, alone = read_audio(tmp_path / "long.flac"), [read_audio(path) for path in paths]
    assert (number, seconds) == (4, len(samples) / 16_000) == (4, pytest.approx(5.6))
    expected = [part for samples in (*alone, alone[0]) for part in (samples, np.zeros(8_000))]
    np.testing.assert_allclose(samples, np.concatenate(expected), atol=2e-4)


def test_a_long_recording_is_scored_as_what_was_joined(model: Path, files: Path) -> None:
    [case] = planned(model, files, "--parts=long", "--long=5", "--limit=2")
    heard = child.examine(case).heard
    [text] = heard.texts.values()
    # The first file comes again at the end.
    assert (heard.edits, heard.words) == word_errors(["ONE TWO " * 4], [text]) and heard.words == 8


def test_one_pass_has_texts_of_its_own(model: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = planned(model, files, "--parts=long", "--long=30", "--one_pass")
    # Otherwise both might find the same.
    right = " ".join(["ONE TWO"] * cases[1].transcribing.number)
    single = Transcript(cases[1].seconds, (Segment(0.0, 1.0, right),))
    monkeypatch.setitem(transcribe.WAYS, "one pass", lambda heard, paths: iter([(paths[0], single)]))
    segmented, one_pass = rows_of(cases, rounds=2)
    assert segmented.first.heard.wer > one_pass.first.heard.wer == 0
    assert segmented.first.heard.other_texts is one_pass.first.heard.other_texts is None
    monkeypatch.undo()
    taken = []
    monkeypatch.setattr(transcribe, "Transcriber", Recorded(taken))
    assert [child.examine(case).status for case in cases] == ["ok", "ok"] and taken == [False, True]


class Recorded:
    """Opens transcribers and takes down whether they hear in one pass."""

    def __init__(self, taken: list[bool]) -> None:
        self.taken = taken

    def load(self, *given: object, one_pass: bool, **named: object) -> Transcriber:
        self.taken.append(one_pass)
        return Transcriber.load(*given, one_pass=one_pass, **named)


def test_without_all_references_there_is_no_error_rate(model: Path, files: Path) -> None:
    (files / "7/1/7-1.trans.txt").write_text("7-1-0000 ONE\n\n7-1-0001\n", encoding="utf-8")
    assert list(references(map(str, sorted(files.rglob("*.flac")))).values()) == ["ONE"]
    row = rows_of(planned(model, files, "--parts=files"))[0]
    assert row.first.heard.wer is None and "WER" not in columns.text_table([row], "one by one")


def test_long_recordings_are_compared_with_the_shortest() -> None:
    cases = [replace(CASE, system="segmented", part="long", seconds=seconds) for seconds in (600.0, 7200.0)]
    found = [
        Outcome(case, "ok", times_ms=(ms,), peak_bytes=peak, heard=Heard(process_bytes=10 * peak))
        for case, ms, peak in zip(cases, (6e3, 9e4), (200, 250), strict=True)
    ]
    short, long = report.rows_of([Outcome(CASE, "ok", times_ms=(1.0,)), *found], "one by one")[1:]
    assert set(short.ratios.values()) == {1.0}
    assert long.ratios == {"long time": 15, "long speed": 0.8, "long peak": 1.25, "long process": 1.25}


def test_a_case_and_what_it_heard_travel() -> None:
    outcome = Outcome(CASE, "ok", times_ms=(1.0,), heard=Heard({"a.flac": "ONE"}, 0.5, 2**20, 1, 2))
    case = Case.from_json(outcome.case.to_json())
    assert case == outcome.case and Outcome.from_json(case, outcome.to_json()) == outcome


def test_a_program_that_does_not_start_is_a_failure(
    model: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(transcribe.STARTS, "--help", lambda case: ["--halp"])
    outcome = child.examine(planned(model, files, "--parts=start")[-1])
    assert outcome.status == "fails" and "the program ended with status 2: error:" in outcome.note


def test_a_broken_file_is_named(model: Path, files: Path) -> None:
    path = files / "7/1/7-1-0001.flac"
    cases = planned(model, files, "--parts=files")
    path.write_bytes(path.read_bytes()[:9_000])
    for case in cases:
        outcome = child.examine(case)
        assert outcome.status == "fails" and "7-1-0001.flac" in outcome.note


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--parts=all"], "--parts all: choose from files, long, start"),
        (["--parts=long"], "--parts long goes with --long"),
        (["--parts=files", "--long=60"], "--parts long goes with --long"),
        (["--long=x"], "length 'x' is no positive number"),
        (["--files=no/such"], "--files no/such is no folder: give one with recordings"),
        (["--files=EMPTY"], "holds no audio file"),
        (["--model=no/such"], "model 'no/such' is not a folder"),
        (["--onnx=no/such"], "no/such"),
        (["--against=batched", "--parts=start"], "--against batched is not measured: add it to --parts"),
    ],
)
def test_bad_arguments_are_answered_in_one_line(
    further: list[str],
    message: str,
    model: Path,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "EMPTY").mkdir()
    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "onnx", tmp_path / "no/such", monkeypatch)
    assert main(["bench", "transcribe", f"--model={model}", f"--files={files}", *further]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and not said.out


def test_exported_folders_of_one_kind_are_refused(
    model: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [exported(tmp_path / name, model, monkeypatch) for name in ("a", "b")]
    with pytest.raises(Exception, match="b and .*a are of one kind: give one of them"):
        planned(model, files, "--onnx", *map(str, folders))
