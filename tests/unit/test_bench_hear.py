"""onnxruntime beside PyTorch: measured only where it says the same; the files have tests of their own."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hyperconformer.bench import hearing
from hyperconformer.bench.cases import Case, Outcome, Sizes
from hyperconformer.bench.checks import CheckFailed, check_runtime
from hyperconformer.bench.columns import text_table
from hyperconformer.bench.command import PLANS, add_arguments
from hyperconformer.bench.report import rows_of
from hyperconformer.bench.systems import build
from hyperconformer.cli import main
from hyperconformer.inference.bundle import load_bundle

SIZES = Sizes(d_model=16, heads=2, layers=1, decoder_layers=1, output_neurons=12)
CASE = Case("hear", "summary", "forward", seconds=1.0, batch_size=2, sizes=SIZES)


@pytest.mark.parametrize(("system", "off"), [("onnx:summary", 0.003), ("int8:summary", 0.06)])
def test_a_runtime_that_says_something_else_is_refused(system: str, off: float) -> None:
    load = build(CASE)
    truth = load.forward()
    for times, fine in ((1 + off / 10, True), (1 + off, False)):
        wrong = replace(load, forward=lambda times=times: times * truth)
        if fine:
            check_runtime(replace(CASE, system=system), wrong)
        else:
            with pytest.raises(CheckFailed, match="it differs from PyTorch by"):
                check_runtime(replace(CASE, system=system), wrong)


def test_files_are_written_of_the_weights_that_are_measured(tmp_path: Path, monkeypatch) -> None:
    written = []
    monkeypatch.setattr(
        hearing, "export_onnx", lambda bundle, out, **options: written.append((bundle, out.name, options))
    )
    systems = hearing.systems_of(["summary", "summary"])
    hearing.export_all([replace(CASE, system=s, files=str(tmp_path)) for s in systems], lambda line: None)
    assert [(name, options) for _, name, options in written] == [
        ("onnx:summary", {"int8": False, "graphs": None}),
        ("int8:summary", {"int8": True, "graphs": tmp_path / "onnx:summary"}),
    ]
    model, _ = load_bundle(written[0][0])
    ours = dict(build(CASE).module.named_parameters())
    assert all(torch.equal(ours[name], weight) for name, weight in model.named_parameters())


def test_ratios_refer_to_pytorch(monkeypatch) -> None:
    monkeypatch.setattr(hearing, "export_onnx", lambda *_, **__: None)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(["hear", "--lengths", "1,2", "--mixers", "identity"])
    with PLANS["hear"](arguments) as (cases, against):
        assert [case.system for case in cases[:3]] == ["identity", "onnx:identity", "int8:identity"]
        assert [(case.seconds, case.batch_size) for case in cases[::3]] == [(1.0, 60), (2.0, 30)]
        rows = rows_of([Outcome(c, "ok", times_ms=(10.0 * n,)) for n, c in enumerate(cases, 1)], against)
    assert [round(row.ratios["forward time"], 2) for row in rows] == [1.0, 2.0, 3.0, 1.0, 1.25, 1.5]
    assert "multiples of identity" in text_table(rows, against)


@pytest.mark.parametrize("mixer", ["magic", "fourier", "upstream:hypermixing"])
def test_a_mixer_that_cannot_be_measured_is_named(mixer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "hear", "--mixers", mixer]) == 2
    assert f"--mixers {mixer}: choose from" in capsys.readouterr().err
