"""What the command does with several processes, and says as it goes."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from hyperconformer.cli import main
from hyperconformer.inference import jobs
from hyperconformer.inference.longform_options import LongformOptions
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.transcribe import run
from hyperconformer.types import Transcript


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Nine seconds of noise."""
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 9 * 16_000), 16_000)
    return path


def test_there_are_no_more_jobs_than_files(tiny_bundle: Path, recording: Path, monkeypatch, capsys) -> None:
    def start(*_: object) -> None:
        raise AssertionError("one file needs no process")

    monkeypatch.setattr(jobs, "_started", start)
    given = ["--model", str(tiny_bundle), "--output_dir", str(recording.parent / "out"), "--jobs", "2"]
    assert main(["transcribe", str(recording), *given]) == 0
    said = capsys.readouterr().err
    assert "1 file, " in said and "by 2 jobs" not in said


def test_standard_input_is_counted_as_it_is_heard(tiny_bundle: Path, recording: Path, monkeypatch) -> None:
    options = LongformOptions(max_segment_seconds=2.0, vad="none", batch_seconds=2.0)
    transcriber = Transcriber.load(tiny_bundle, longform=options)
    expected = transcriber.transcribe(recording)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(recording.read_bytes())))
    *seconds, (place, found) = run._hear(transcriber, 3, [])
    assert place == 3 and isinstance(found, Transcript)
    assert (found.text, found.seconds, sum(seconds)) == (expected.text, 9.0, 9.0)
    # Once for each segment that has text, and for what is left.
    assert len(seconds) == 1 + len(expected.segments) > 2
