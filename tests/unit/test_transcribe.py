"""The command that turns files into text: what it takes, writes, skips, prints and complains about."""

import io
import json
import os
import shlex
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from hyperconformer.cli import main
from hyperconformer.decoding.options import HEEDED
from hyperconformer.errors import InputError
from hyperconformer.inference import reading
from hyperconformer.inference.backends import BACKENDS
from hyperconformer.inference.longform_options import LongformOptions
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.inference.writers import WRITERS
from hyperconformer.transcribe import command
from hyperconformer.transcribe.inputs import find_inputs
from hyperconformer.transcribe.outputs import Outputs
from hyperconformer.transcribe.run import transcribe as run
from hyperconformer.transcribe.settings import Settings
from tests.broken_audio import make_broken_files


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A folder of noise: five files of several lengths, one of them in a folder below."""
    folder = tmp_path / "speech"
    (folder / "below").mkdir(parents=True)
    draw = np.random.default_rng(0)
    names = ("a.wav", "b.flac", "c.wav", "d.ogg", "below/e.wav")
    for name, seconds in zip(names, (1.0, 0.4, 2.0, 0.7, 1.3), strict=True):
        soundfile.write(folder / name, draw.normal(0, 0.1, int(16_000 * seconds)), 16_000)
    return folder


def transcribe(bundle: Path, *arguments: object) -> int:
    return main(["transcribe", "--model", str(bundle), *map(str, arguments)])


def test_names_are_those_of_the_tables() -> None:
    assert tuple(BACKENDS) == command.BACKENDS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"output_format": "all"}, "give --output_dir"),
        ({"output_format": "txt", "jsonl": True}, "both go to standard output"),
        ({"overwrite": True}, "--overwrite is about files"),
        ({"word_timestamps": True}, "--word_timestamps shows in JSON"),
        ({"decode": "joint", "given": {"nbest": 2}}, "--nbest shows in JSON"),
        ({"output_dir": "talk.srt"}, "is a folder, whose files are called as the audio"),
        ({"given": {"beam_size": 3}}, "--beam_size does nothing in greedy search"),
        ({"decode": "joint", "lm": "lm"}, "--lm says nothing without --lm_weight"),
        ({"decode": "joint", "given": {"lm_weight": 0.3}}, "--lm_weight needs --lm"),
        ({"calibration": "c.json"}, "--word_timestamps"),
        ({"files": ("a.wav", "-"), "jobs": 2}, "standard input is one recording"),
        ({"jobs": 100_000}, "--jobs 100000 is more than"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "--precision is PyTorch's"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Settings(**{"files": ("a.wav",), "model": "model", **given})


def test_word_times_are_made_where_something_shows_them() -> None:
    def made(**given: object) -> bool:
        return Settings(("a",), "model", output_dir="out", **given).word_times

    assert [made(output_format=name) for name in ("txt", "srt", "vtt", "tsv", "json")] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert made(output_format="json", word_timestamps=True) and made(output_format="all")


def test_files_of_a_folder_keep_their_places(speech: Path) -> None:
    (speech / "notes.txt").write_text("no audio")
    (speech / "loop").symlink_to(speech)
    os.link(speech / "a.wav", speech / "a.flac")
    stems = [one.stem for one in find_inputs([str(speech), str(speech / "a.wav")])[0]]
    assert stems == ["a.flac", "a.wav", "b", "below/e", "c", "d"]


def test_two_files_of_one_name_keep_their_places(tmp_path: Path) -> None:
    inputs, _ = find_inputs([str(tmp_path / "x" / "a.wav"), "b.wav", str(tmp_path / "y" / "a.wav")])
    here = str(tmp_path)[1:]
    assert [one.stem for one in inputs] == [f"{here}/x/a", "b", f"{here}/y/a"]


def test_two_files_that_would_still_share_a_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.wav", "a.mp3", "a.wav.flac"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="would both be written to 'a.wav': rename one"):
        find_inputs([str(tmp_path)])


def test_an_empty_folder_does_not_end_the_rest(
    tiny_bundle: Path, speech: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "empty").mkdir()
    assert transcribe(tiny_bundle, tmp_path / "empty", speech / "a.wav") == 1
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and "holds no audio file" in err


def test_printed_text_comes_in_the_order_of_the_files(tiny_bundle: Path, speech: Path, capsys) -> None:
    files = [speech / name for name in ("d.ogg", "a.wav", "c.wav", "b.flac")]
    assert transcribe(tiny_bundle, *files) == 0
    out, err = capsys.readouterr()
    alone = Transcriber.load(tiny_bundle)
    assert out.splitlines() == [f"{file}: {alone.transcribe(file).text}" for file in files]
    assert "4 files" in err and "x real time" in err and err.count("\n") == 1


@pytest.mark.parametrize("decode", HEEDED)
def test_a_batch_says_what_each_file_alone_does(decode: str, tiny_bundle: Path, speech: Path) -> None:
    transcriber = Transcriber.load(tiny_bundle, decode=decode, word_times=True)
    files = sorted(speech.rglob("*.*"))
    together = dict(transcriber.transcribe_files(files))
    for file, path in enumerate(files):
        alone = transcriber.transcribe(path)
        assert together[file].text == alone.text and together[file].seconds == alone.seconds
        for one, other in zip(together[file].words, alone.words, strict=True):
            assert (one.start, one.end) == pytest.approx((other.start, other.end))
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
    assert set(together[0].timings) == set(alone.timings) == {"read", "encode", "search", "words"}


def test_every_format_is_written_and_a_second_run_skips_it(
    tiny_bundle: Path, speech: Path, tmp_path, capsys
) -> None:
    out = tmp_path / "out"
    given = (speech, "-o", out, "-f", "all")
    assert transcribe(tiny_bundle, *given) == 0
    assert sum(path.is_file() and path.name[0] != "." for path in out.rglob("*")) == 5 * len(WRITERS)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    assert (out / "below" / "e.txt").read_text().strip() == Transcriber.load(tiny_bundle).transcribe(
        speech / "below" / "e.wav"
    ).text
    capsys.readouterr()
    (out / "c.vtt").unlink()
    os.utime(speech / "d.ogg")
    os.utime(out / "d.txt", (1, 1))
    assert transcribe(tiny_bundle, *given) == 0
    out_text, err = capsys.readouterr()
    assert out_text == "" and err.startswith("3 files done before") and "2 files, 0.0 min" in err
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    changed = {path.stem for path in after if after[path] != before.get(path) and path.name[0] != "."}
    assert changed == {"c", "d"}
    assert transcribe(tiny_bundle, *given, "--overwrite") == 0
    assert "done before" not in capsys.readouterr().err


def test_only_what_was_made_the_same_way_is_skipped(
    tiny_bundle: Path, speech: Path, tmp_path, capsys
) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("ONE TWO")
    given = (speech / "a.wav", "-o", tmp_path / "out")
    helped = (*given, "--decode", "prefix", "--hotwords", phrases, "--hotword_bonus", 2)

    def skipped(*arguments: object) -> bool:
        assert transcribe(tiny_bundle, *arguments) == 0
        return "1 file done before" in capsys.readouterr().err

    assert not skipped(*given) and skipped(*given)
    assert not skipped(*given, "-f", "json", "--word_timestamps") and skipped(*given)
    assert not skipped(*helped) and skipped(*helped)
    phrases.write_text("SIX")
    assert not skipped(*helped) and not skipped(*given)


def test_what_others_wrote_is_not_written_over(tiny_bundle: Path, speech: Path, tmp_path, capsys) -> None:
    (tmp_path / "a.txt").write_text("mine")
    given = (speech / "a.wav", "-o", tmp_path)
    assert transcribe(tiny_bundle, *given) == 2
    assert "a.txt' was not written by this command" in capsys.readouterr().err
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert transcribe(tiny_bundle, *given, "--overwrite") == 0


def test_files_are_written_before_earlier_ones_are_done(tiny_bundle: Path, speech: Path, tmp_path) -> None:
    soundfile.write(speech / "long.wav", np.random.default_rng(0).normal(0, 0.1, 40 * 16_000), 16_000)
    settings = Settings((str(speech), str(speech / "long.wav")), str(tiny_bundle), str(tmp_path / "out"))
    seen = []
    real = Outputs.write

    def write(self, one, found, spell=None) -> None:
        real(self, one, found, spell)
        seen.append(one.stem)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outputs, "write", write)
        assert run(settings) == 0
    # What takes longest is begun first.
    assert seen[0] == "long" and len(seen) == 6


def test_several_files_cannot_share_one_output_as_subtitles(tiny_bundle: Path, speech: Path, capsys) -> None:
    assert transcribe(tiny_bundle, speech, "-f", "srt") == 2
    assert "cannot share one output" in capsys.readouterr().err


@pytest.mark.parametrize("flag", list(command.WHISPER))
def test_flags_of_whisper_are_explained(flag: str, tiny_bundle: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        transcribe(tiny_bundle, "a.wav", flag, "en")
    assert f"there is no {flag}: " in capsys.readouterr().err


def test_a_long_recording_streams_its_segments(tiny_bundle: Path) -> None:
    burst = np.random.default_rng(0).normal(0, 0.1, 6 * 16_000)
    samples = np.concatenate([np.append(burst, np.zeros(16_000))] * 5).astype(np.float32)
    options = LongformOptions(max_segment_seconds=8.0, batch_seconds=8.0)
    transcriber = Transcriber.load(tiny_bundle, longform=options)
    told: list[float] = []
    whole = transcriber.transcribe(samples, 16_000, progress=told.append)
    assert sum(told) == whole.seconds == 35.0
    segments = list(transcriber.stream(samples, 16_000))
    assert segments == list(whole.segments) and not any(segment.words for segment in segments)
    assert len(segments) > 1 and all(one.end <= other.start for one, other in pairwise(segments))
    at_once = Transcriber.load(tiny_bundle, longform=options, one_pass=True)
    assert at_once.transcribe(samples, 16_000).seconds == 35.0


def test_lines_of_json_hold_text_words_and_faults(tiny_bundle: Path, speech: Path, capsys) -> None:
    files = (speech / "a.wav", "no.wav", speech / "c.wav")
    assert (
        transcribe(tiny_bundle, *files, "--jsonl", "--word_timestamps", "--decode", "joint", "--nbest", 2)
        == 1
    )
    out, err = capsys.readouterr()
    first, fault, last = map(json.loads, out.splitlines())
    assert fault["file"] == "no.wav" and "does not exist" in fault["error"] and "no.wav" in err
    for row, file in ((first, files[0]), (last, files[2])):
        assert row["file"] == str(file) and row["seconds"] == soundfile.info(file).duration
        (segment,) = row["segments"]
        assert [word["word"] for word in segment.get("words", [])] == row["text"].split()


def test_standard_input_is_heard(tiny_bundle: Path, speech: Path, monkeypatch, capsys) -> None:
    expected = Transcriber.load(tiny_bundle).transcribe(speech / "b.flac").text
    for given in ((), ("-f", "tsv")):
        content = io.BytesIO((speech / "b.flac").read_bytes())
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content))
        assert transcribe(tiny_bundle, "-", *given) == 0
        assert expected in capsys.readouterr().out
    with open("/dev/null", "rb") as nothing:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=nothing))
        assert transcribe(tiny_bundle, "-") == 1
    assert "a terminal or a device" in capsys.readouterr().err


def test_arrays_and_open_files_are_heard_as_their_files(tiny_bundle: Path, speech: Path) -> None:
    transcriber = Transcriber.load(tiny_bundle)
    samples, rate_hz = soundfile.read(speech / "a.wav", dtype="float32")
    expected = transcriber.transcribe(speech / "a.wav")
    with (speech / "a.wav").open("rb") as file:
        assert transcriber.transcribe(file).text == expected.text
    assert transcriber.transcribe(samples, rate_hz).text == expected.text
    assert transcriber.transcribe(torch.from_numpy(samples), rate_hz).text == expected.text
    with pytest.raises(InputError, match="does not tell its sample rate"):
        transcriber.transcribe(samples)
    stereo = transcriber.transcribe(np.stack((samples, samples), axis=1), rate_hz)
    assert stereo.text == expected.text and stereo.seconds == expected.seconds


def test_several_threads_share_a_transcriber(tiny_bundle: Path, speech: Path) -> None:
    transcriber = Transcriber.load(tiny_bundle, decode="joint", word_times=True)
    files = sorted(speech.rglob("*.*"))
    expected = [transcriber.transcribe(path).words for path in files]
    found: dict[int, list[object]] = {}

    def work(number: int) -> None:
        found[number] = [transcriber.transcribe(path).words for path in files]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == expected for number in range(4))


def test_windows_hide_nothing(tiny_bundle: Path, speech: Path, monkeypatch) -> None:
    monkeypatch.setattr(reading, "WINDOW", 2)
    files = sorted(speech.rglob("*.*"))
    transcriber = Transcriber.load(tiny_bundle, longform=LongformOptions(batch_seconds=2.0))
    found = dict(transcriber.transcribe_files(files))
    assert [found[file].text for file in range(5)] == [transcriber.transcribe(path).text for path in files]


def test_jobs_say_what_one_says(tiny_bundle: Path, speech: Path, capsys) -> None:
    (speech / "cut.flac").write_bytes(b"fLaC")
    # Pieces of two seconds at most, and two of the files are longer.
    soundfile.write(speech / "long.wav", np.random.default_rng(1).normal(0, 0.1, 16_000 * 5), 16_000)
    options = ("--jsonl", "--max_segment_seconds", 2, "--batch_seconds", 2, "--decode", "joint", "--nbest", 2)
    said = []
    for jobs in (1, 2):
        assert transcribe(tiny_bundle, speech, *options, "--jobs", jobs) == 1
        out, err = capsys.readouterr()
        assert err.count("error: ") == 1 and "cut.flac" in err and ("by 2 jobs" in err) == (jobs == 2)
        said.append([json.loads(line) for line in out.splitlines()])
    for one, other in zip(*said, strict=True):
        assert one["file"] == other["file"] and one.get("text") == other.get("text")
        assert len(one.get("segments", [])) == len(other.get("segments", []))
    assert [row["file"].rpartition("/")[2] for row in said[1]] == [
        *("a.wav", "b.flac", "e.wav", "c.wav", "cut.flac", "d.ogg", "long.wav")
    ]


def test_help_comes_without_pytorch() -> None:
    code = "import sys; sys.argv = ['hyperconformer', '--help']\nfrom hyperconformer.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\nassert not {'torch', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_reader_that_leaves_early_is_no_fault(tiny_bundle: Path, speech: Path) -> None:
    command_line = [sys.executable, "-m", "hyperconformer.cli", "transcribe", "--model", str(tiny_bundle)]
    files = [str(speech / "b.flac")] * 1 + [str(path) for path in sorted(speech.rglob("*.wav"))]
    with subprocess.Popen(
        [*command_line, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait() == 141


def test_no_broken_file_hurts_the_others(tiny_bundle: Path, speech: Path, tmp_path: Path) -> None:
    broken, out = make_broken_files(tmp_path / "broken"), tmp_path / "out"
    assert len(broken) >= 200
    arguments = [*map(str, broken[::2]), str(speech), *map(str, broken[1::2])]
    command_line = [sys.executable, "-m", "hyperconformer.cli", "transcribe", "--model", str(tiny_bundle)]
    done = subprocess.run(
        [*command_line, *arguments, "--jsonl", "-o", str(out)], capture_output=True, text=True, timeout=300
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    # A folder among them is complained about when folders are searched.
    assert len(errors) == len(set(errors)) == len(broken)
    assert done.stderr.count("\n") == len(errors) + 1
    assert sum("error" not in row for row in rows) == sum(1 for _ in out.rglob("*.txt")) == 5


def test_another_recording_of_the_same_name_is_not_done(
    tiny_bundle: Path, speech: Path, tmp_path, capsys
) -> None:
    (speech / "below" / "a.wav").write_bytes((speech / "c.wav").read_bytes())
    out = ("-o", tmp_path / "out")
    assert transcribe(tiny_bundle, speech / "a.wav", *out) == 0
    assert transcribe(tiny_bundle, speech / "below" / "a.wav", *out) == 2
    assert "a.txt' holds the text of" in capsys.readouterr().err
    assert transcribe(tiny_bundle, speech / "below" / "a.wav", *out, "--overwrite") == 0


def test_a_name_that_is_too_long_to_write_ends_nothing(
    tiny_bundle: Path, speech: Path, tmp_path, capsys
) -> None:
    long = speech / f"{'n' * 251}.wav"
    long.write_bytes((speech / "a.wav").read_bytes())
    assert transcribe(tiny_bundle, long, speech / "b.flac", "-o", tmp_path / "out", "-f", "json") == 1
    assert (tmp_path / "out" / "b.json").is_file()
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["-"], {"stdin": "closed"}, "standard input is closed"),
        ([""], {}, "name is empty"),
        (["a.wav", "--threads", "100000"], {}, "--threads 100000 is more than"),
        (["a.wav", "--one_pass", "--vad", "none"], {}, "--vad is about cuts"),
        (["{speech}/a.wav"], {"stdout": "/dev/full"}, "standard output cannot be written"),
    ],
    ids=["closed input", "empty name", "threads", "one pass", "full output"],
)
def test_what_cannot_be_is_said_in_a_line(
    arguments: list[str], given: dict[str, str], said: str, tiny_bundle: Path, speech: Path
) -> None:
    words = [sys.executable, "-m", "hyperconformer.cli", "transcribe", "--model", str(tiny_bundle)]
    line = shlex.join([*words, *(word.format(speech=speech) for word in arguments)])
    line += " <&-" if "stdin" in given else ""
    line += f" >{given['stdout']}" if "stdout" in given else ""
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.returncode in (1, 2) and said in done.stderr and done.stderr.count("\n") <= 2, done.stderr
