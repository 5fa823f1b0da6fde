"""What ``hyperconformer evaluate`` takes from earlier work: a model's search options, and calibrations."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hyperconformer.cli import main
from hyperconformer.decoding.confidence import Calibration
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.evaluate.settings import Settings
from hyperconformer.inference import trained
from tests.unit.test_evaluate import lines


def with_metrics(model: Path, folder: Path, metrics: str) -> str:
    """A copy of a bundle with another metrics.json."""
    copy = shutil.copytree(model, folder)
    (copy / "metrics.json").write_text(metrics)
    return str(copy)


def test_searches_begin_with_what_the_model_was_tested_with(
    tiny_bundle: Path, tiny_librispeech, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dials = {"beam_size": 3, "ctc_weight_decode": 0.6, "length_normalization": True, "lm_weight": 0.5}
    model = with_metrics(tiny_bundle, tmp_path / "model", json.dumps({"decode": {"joint": dials}}))
    given = ["evaluate", model, "--data_folder", str(tiny_librispeech()), "--splits", "test-tiny"]
    given += ["--decode", "greedy", "prefix", "rescore", "joint"]
    out = ["--output_dir", str(tmp_path / "out"), "--record", str(tmp_path / "RESULTS.md")]
    assert main([*given, "--ctc_weight", "0.3", *out]) == 0
    said = capsys.readouterr().out
    assert "joint: beam_size 3, ctc_weight 0.3, length_normalization true\n" in said
    assert "prefix: beam_size 10\n" in said and "greedy: no options\n" in said
    used = json.loads((tmp_path / "out" / "evaluate.json").read_text())["options"]
    ours = SearchOptions(beam_size=3, ctc_weight=0.3, length_normalization=True)
    assert used["joint"] == used["rescore"] == asdict(ours)
    assert used["prefix"] == asdict(SearchOptions(ctc_weight=0.3))
    rows = (tmp_path / "RESULTS.md").read_text()
    assert "| joint (beam_size 3, ctc_weight 0.3, length_normalization True) |" in rows
    sweep_of_joint = [*given[:-4], "joint", "--sweep", "beam_size=1,2", "--no-length_normalization"]
    assert main(sweep_of_joint) == 0
    said = capsys.readouterr().out
    assert "joint: ctc_weight 0.6\n" in said and "--no-length_normalization" in said.splitlines()[-1]


def test_a_language_model_begins_with_the_weight_that_it_was_tested_with(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    dials = {"lm_weight": 0.5, "lm_temperature": 1.5}
    model = with_metrics(tiny_bundle, tmp_path / "model", json.dumps({"decode": {"joint": dials}}))

    def settings(**more: Any) -> Settings:
        return Settings(model, "data", ("test",), ("joint",), **more)

    (plain,) = settings().combinations("joint")
    assert plain == SearchOptions()
    (helped,) = settings(lm="there").combinations("joint")
    assert (helped.lm_weight, helped.lm_temperature) == (0.5, 1.5)
    (given,) = settings(lm="there", given={"lm_weight": 0.2}).combinations("joint")
    assert (given.lm_weight, given.lm_temperature) == (0.2, 1.5)
    with pytest.raises(InputError, match="--lm says nothing without --lm_weight"):
        settings(lm="there", given={"lm_weight": 0.0})
    with pytest.raises(InputError, match="--lm says nothing without --lm_weight"):
        Settings(str(tiny_bundle), "data", ("test",), ("joint",), lm="there")


def test_a_pipe_in_the_place_of_metrics_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.json")
    assert trained.trained_options(tmp_path, "joint") == {}


@pytest.mark.parametrize(
    "metrics",
    [
        "{",
        "[]",
        "{}",
        '{"decode": ["joint"]}',
        '{"decode": {"greedy": {}}}',
        '{"decode": {"joint": {"beam_size": 2.5}}}',
        '{"decode": {"joint": {"beam_size": "2"}}}',
        '{"decode": {"joint": {"beam_size": 20000}}}',
        '{"decode": {"joint": {"beam_size": 1e400}}}',
        '{"decode": {"joint": {"ctc_weight_decode": 7}}}',
        '{"decode": {"joint": {"length_normalization": "no"}}}',
        "[" * 60_000,
    ],
)
def test_foreign_metrics_are_no_defaults(tmp_path: Path, metrics: str) -> None:
    (tmp_path / "metrics.json").write_text(metrics)
    assert trained.trained_options(tmp_path, "joint") == {}


@pytest.mark.parametrize("given", [{"beam_size": 1_001}, {"nbest": 0}, {"beam_size": 1_001, "nbest": 1_001}])
def test_no_beam_is_wider_than_memory(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{min(given)} must lie between 1 and 1000, got"):
        SearchOptions(**given)
    assert SearchOptions(beam_size=1_000, nbest=1_000).nbest == 1_000


def test_a_calibration_is_fitted_and_used(
    tiny_bundle: Path, tiny_librispeech, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["evaluate", str(tiny_bundle), "--data_folder", str(tiny_librispeech()), "--splits", "train-tiny"]
    given += ["--decode", "greedy", "prefix", "--word_timestamps"]
    out = tmp_path / "out"
    assert main([*given, "--output_dir", str(out), "--fit_calibration"]) == 0
    plain = lines(out / "wer_train-tiny_prefix.jsonl")
    path = out / "calibration.json"
    fitted = json.loads(path.read_text())
    assert set(fitted) == {"greedy", "prefix"}
    calibration = Calibration(**fitted["prefix"])
    assert calibration.offset < 0
    assert main([*given, "--output_dir", str(out), "--calibration", str(path)]) == 0
    sure = [
        (word["confidence"], other["confidence"])
        for name, row in lines(out / "wer_train-tiny_prefix.jsonl").items()
        for word, other in zip(row["words"], plain[name]["words"], strict=True)
    ]
    assert sure
    for ours, before in sure:
        assert ours == pytest.approx(calibration(before), abs=2e-3)
    del fitted["prefix"]
    path.write_text(json.dumps(fitted))
    assert main([*given, "--output_dir", str(out), "--calibration", str(path)]) == 2
    assert "was not fitted to --decode prefix" in capsys.readouterr().err
