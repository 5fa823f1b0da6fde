"""``hyperconformer evaluate``: what it takes, what it finds, and what it leaves behind."""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import soundfile
import torch

from hyperconformer.cli import COMMANDS, main
from hyperconformer.data.librispeech import prepare_librispeech, scan_split
from hyperconformer.decoding.options import HEEDED, SearchOptions
from hyperconformer.decoding.searches import SEARCHES
from hyperconformer.errors import InputError
from hyperconformer.evaluate import sweep
from hyperconformer.evaluate.command import add_arguments
from hyperconformer.evaluate.corpus import read_splits
from hyperconformer.evaluate.gather import Heard, gather
from hyperconformer.evaluate.settings import Settings
from hyperconformer.evaluate.task import Asked, Done, Task
from hyperconformer.evaluate.work import Worker
from hyperconformer.inference import search_flags
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.jobs import share_work
from hyperconformer.inference.language_model_bundle import save_language_model
from hyperconformer.inference.reading import Portion
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.wer_files import read_results, read_trial


def parsed(*arguments: str) -> Settings:
    """Settings of a command line."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return Settings.of(parser.parse_args(["model", "--data_folder", "data", "--splits", "dev", *arguments]))


@pytest.fixture(scope="module")
def tiny_lm(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a language model's folder with random weights that shares the tiny bundle's tokens."""
    _, tokenizer = load_bundle(tiny_bundle)
    torch.manual_seed(1)
    model = LanguageModel(LanguageModelConfig(output_neurons=30, d_model=16, nhead=2, d_ffn=32, num_layers=1))
    folder = tmp_path_factory.mktemp("tiny_lm") / "model"
    return save_language_model(folder, model, tokenizer, metrics={}, card="# Tiny\n")


def test_names_are_those_of_the_searches() -> None:
    assert set(search_flags.DECODES) == set(SEARCHES)
    assert set(HEEDED["joint"]) == set(search_flags.OPTIONS)
    assert list(search_flags.OPTION_HELP) == list(search_flags.OPTIONS)


def test_every_search_option_is_a_flag() -> None:
    flags = ["--beam_size", "20", "--nbest", "5", "--length_normalization", "--eos_threshold", "1.5"]
    flags += ["--decode", "joint", "--output_dir", "out"]
    assert parsed(*flags).combinations() == [
        SearchOptions(beam_size=20, nbest=5, length_normalization=True, eos_threshold=1.5)
    ]
    assert parsed(
        "--decode", "joint", "--sweep", "beam_size=1,5", "--sweep", "temperature=1,2"
    ).combinations() == [
        SearchOptions(beam_size=beam, temperature=temperature)
        for beam, temperature in product((1, 5), (1, 2))
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lm_weight", "0.5"], "--lm_weight needs --lm"),
        (["--sweep", "ngram_weight=0,1"], "--ngram_weight needs --ngram"),
        (["--hotwords", "words.txt"], "--hotwords says nothing without --hotword_bonus"),
        (["--nbest", "11"], "nbest 11 is more than beam_size 10"),
        (["--ctc_weight", "2"], "ctc_weight must lie between 0 and 1"),
        (["--sweep", "beam=1"], "NAME is one of beam_size, "),
        (["--sweep", "beam_size=1.5"], "beam_size takes numbers"),
        (["--sweep", "ctc_weight"], "ctc_weight takes numbers"),
        (["--sweep", "ctc_weight=nan"], "ctc_weight takes numbers"),
        (["--sweep", "ctc_weight=1,1"], "a value twice"),
        (["--sweep", "ctc_weight=1", "--sweep", "ctc_weight=0"], "ctc_weight=... is given twice"),
        (["--fit_calibration", "--output_dir", "out"], "with --word_timestamps"),
        (["--fit_calibration", "--word_timestamps"], "needs --output_dir"),
        (["--sweep", "ctc_weight=1,2"], "ctc_weight must lie between 0 and 1"),
        (["--sweep", "ctc_weight=1", "--ctc_weight", "1"], "is given and swept"),
        (["--sweep", "ctc_weight=1", "--output_dir", "out"], "leave out --nbest"),
        (["--decode", "joint", "joint"], "names joint twice"),
        (["--batch_seconds", "nan"], "must be greater than 0"),
        (
            ["--decode", "prefix", "--sweep", "ctc_weight=0,1"],
            "--ctc_weight does nothing in prefix search: .*",
        ),
        (["--decode", "greedy", "--nbest", "2"], "--nbest does nothing in greedy search: leave it out, or"),
        (["--decode", "greedy", "--hotwords", "f"], "--hotwords does nothing in greedy search"),
        (
            ["--decode", "greedy", "prefix", "--eos_threshold", "2"],
            "in greedy or prefix search.* --decode joint$",
        ),
        (["--lm_temperature", "2"], "--lm_temperature needs --lm"),
        (["--nbest", "2"], "--nbest is written to files: give --output_dir"),
        (["--word_timestamps"], "--word_timestamps is written to files: give --output_dir"),
        (
            ["--min_decode_ratio", "0.5", "--max_decode_ratio", "0.4"],
            "0.5 is more than max_decode_ratio 0.4",
        ),
        (["--precision", "fp16"], "fp16 needs a GPU"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(flags: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        parsed(*([] if "--decode" in flags else ["--decode", "joint"]), *flags)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", search_flags.OPTIONS)
@pytest.mark.parametrize("search", SEARCHES)
def test_an_option_is_taken_where_the_search_heeds_it(search: str, name: str) -> None:
    flags = {"length_normalization": []}.get(name, ["1"])
    helpers = {option: helper for helper, option in search_flags.HELPERS.items()} | {"lm_temperature": "lm"}
    given = ["--decode", search, f"--{name}", *flags, "--output_dir", "out"]
    if name in helpers:
        given += [f"--{helpers[name]}", "x"]
    if name == "lm_temperature":
        given += ["--lm_weight", "1"]
    if name in HEEDED[search]:
        assert name in parsed(*given).given
    else:
        with pytest.raises(InputError, match=rf"does nothing in {search} search"):
            parsed(*given)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["m", "--beamsize", "5"], "unrecognized arguments: --beamsize 5: did you mean --beam_size?"),
        (
            ["m", "--decode", "joint,greedy"],
            "there is no search 'joint,greedy': name one or more of greedy, ",
        ),
        (["m", "--limit", "0"], "argument --limit: '0' is not a whole number of at least 1"),
        (["--model", "m"], "MODEL stands without --model: hyperconformer evaluate m "),
    ],
)
def test_slips_of_the_pen_are_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["evaluate", *flags, "--data_folder", "d", "--splits", "dev"])
    said = capsys.readouterr().err
    assert raised.value.code == 2 and message in said and said.count("\n") == 1


def test_an_interruption_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "doctor", (interrupted, *COMMANDS["doctor"][1:]))
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_split_that_is_not_there_is_guessed(tiny_librispeech, tmp_path: Path) -> None:
    folder = tiny_librispeech()
    prepare_librispeech(folder, ["test-tiny", "train-tiny"], tmp_path, progress=False)
    with pytest.raises(
        InputError, match=r"'tset-tiny' \(did you mean 'test-tiny'\?\) in .* test-tiny, train-tiny:"
    ):
        read_splits(tmp_path, ["tset-tiny"])
    with pytest.raises(
        InputError, match=f"is itself the split 'test-tiny': point --data_folder at '{folder}'"
    ):
        read_splits(folder / "test-tiny", ["test-tiny"])


def test_splits_are_read_from_both_layouts(tiny_librispeech, tmp_path: Path) -> None:
    folder = tiny_librispeech()
    direct = read_splits(folder, ["test-tiny", "train-tiny"])
    assert direct["train-tiny"] == scan_split(folder, "train-tiny")
    prepare_librispeech(folder, ["test-tiny", "train-tiny"], tmp_path, progress=False)
    assert read_splits(tmp_path, ["test-tiny", "train-tiny"]) == direct
    assert read_splits(folder, ["train-tiny"], limit=2)["train-tiny"] == direct["train-tiny"][:2]
    # Paths of a manifest may begin at its folder.
    manifest = folder / "test-tiny.csv"
    manifest.write_text((tmp_path / "test-tiny.csv").read_text().replace(f"{folder}/", ""))
    assert read_splits(folder, ["test-tiny"]) == {"test-tiny": direct["test-tiny"]}


def test_it_hears_what_the_transcriber_hears(tiny_bundle: Path, tiny_librispeech, tmp_path: Path) -> None:
    folder, transcriber = tiny_librispeech(), Transcriber.load(tiny_bundle)
    decode = ["--decode", "greedy", "prefix", "rescore", "joint", "--nbest", "2", "--word_timestamps"]
    decode += ["--word_bonus", "0.5"]
    given = [str(tiny_bundle), "--data_folder", str(folder), "--splits", "test-tiny", "train-tiny"]
    assert main(["evaluate", *given, *decode, "--output_dir", str(tmp_path / "out")]) == 0
    for utterance in scan_split(folder, "train-tiny"):
        heard = transcriber.transcribe(utterance.path)
        row = lines(tmp_path / "out" / "wer_train-tiny_greedy.jsonl")[utterance.id]
        assert row["hypothesis"] == heard.text and row["reference"] == utterance.words
        assert row["score"] == pytest.approx(heard.segments[0].hypotheses[0].score, abs=1e-3)
        assert row["seconds"] == heard.seconds
    for search in ("greedy", "prefix", "rescore", "joint"):
        path = tmp_path / "out" / f"wer_train-tiny_{search}.txt"
        assert read_trial(path).search == search and len(read_results(path).utterances) == 6
        for row in lines(path.with_suffix(".jsonl")).values():
            assert [word["word"] for word in row["words"]] == row["hypothesis"].split()
            times = [time for word in row["words"] for time in (word["start"], word["end"])]
            assert times == sorted(times) and all(0 <= time <= row["seconds"] for time in times)
            if search == "prefix":
                assert set(row["parts"]) == {"ctc", "words"}
                assert row["score"] == pytest.approx(
                    row["parts"]["ctc"] + 0.5 * row["parts"]["words"], abs=2e-6
                )
            if search != "greedy":
                assert row["nbest"][0] == {
                    "text": row["hypothesis"],
                    **{k: row[k] for k in ("score", "parts")},
                }
                assert row["nbest"][0]["score"] >= row["nbest"][1]["score"]
    summary = json.loads((tmp_path / "out" / "evaluate.json").read_text())
    assert summary["splits"]["test-tiny"]["joint"]["utterances"] == 2


def lines(path: Path) -> dict[str, dict]:
    """Rows of a file of results, by id."""
    rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    return {row["id"]: row for row in rows}


def test_what_cannot_be_read_is_said_and_the_rest_goes_on(
    tiny_bundle: Path, tiny_librispeech, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_librispeech()
    broken = scan_split(folder, "train-tiny")[2]
    Path(broken.path).write_bytes(b"fLaC")
    given = ["evaluate", str(tiny_bundle), "--data_folder", str(folder), "--splits", "train-tiny"]
    record = tmp_path / "RESULTS.md"
    assert main([*given, "--output_dir", str(tmp_path / "out"), "--record", str(record)]) == 1
    said = capsys.readouterr()
    assert said.err.count("error: ") == 1 and broken.path in said.err
    assert "train-tiny: 1 of 6 utterances cannot be decoded and do not count" in said.out
    assert broken.id not in lines(tmp_path / "out" / "wer_train-tiny_greedy.jsonl")
    assert record.read_text().splitlines()[-1].startswith(f"| {tiny_bundle} | train-tiny | greedy | ")
    for utterance in scan_split(folder, "train-tiny", measure=lambda path: 1.0):
        Path(utterance.path).unlink(missing_ok=True)
        Path(utterance.path).write_bytes(b"")
    assert main([*given, "test-tiny", "--output_dir", str(tmp_path / "rest")]) == 1
    said = capsys.readouterr()
    assert "error: no audio of split 'train-tiny' can be decoded" in said.err
    assert len(lines(tmp_path / "rest" / "wer_test-tiny_greedy.jsonl")) == 2
    assert main([*given, "test-tiny", "--decode", "prefix", "--sweep", "beam_size=1,2"]) == 1
    assert main(given) == 2
    assert "no audio of split 'train-tiny' can be decoded" in capsys.readouterr().err


def test_audio_that_gives_no_numbers_is_left_out(
    tiny_bundle: Path, tiny_librispeech, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_librispeech()
    given = ["evaluate", str(tiny_bundle), "--data_folder", str(folder), "--splits", "train-tiny"]
    given += ["--decode", "greedy", "prefix", "rescore", "joint", "--beam_size", "3", "--word_timestamps"]
    assert main([*given, "--output_dir", str(tmp_path / "before")]) == 0
    loud = scan_split(folder, "train-tiny")[2]
    samples, rate = soundfile.read(loud.path)
    Path(loud.path).unlink()
    # libsndfile looks at the content: a name may stay what it was.
    soundfile.write(loud.path, 1e24 * samples, rate, format="WAV", subtype="FLOAT")
    capsys.readouterr()
    assert main([*given, "--output_dir", str(tmp_path / "after")]) == 1
    said = capsys.readouterr().err
    assert said.count("error: ") == 1 and loud.path in said and "no finite scores" in said
    for search in ("greedy", "prefix", "rescore", "joint"):
        before, after = (
            lines(tmp_path / when / f"wer_train-tiny_{search}.jsonl") for when in ("before", "after")
        )
        del before[loud.id]
        assert list(after) == list(before)
        for name, row in after.items():
            assert row["hypothesis"] == before[name]["hypothesis"]
            assert row["score"] == pytest.approx(before[name]["score"], abs=1e-3)


def test_results_of_a_run_are_not_mixed_with_others(
    tiny_bundle: Path, tiny_librispeech, tmp_path: Path
) -> None:
    folder = tiny_librispeech()
    given = ["evaluate", str(tiny_bundle), "--data_folder", str(folder), "--splits", "test-tiny"]
    assert main([*given, "--output_dir", str(tmp_path)]) == 0
    assert main([*given, "--decode", "prefix", "--output_dir", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.glob("wer_*")) == [
        "wer_test-tiny_prefix.jsonl", "wer_test-tiny_prefix.txt",
    ]  # fmt: skip
    assert main([*given[:-1], "train-tiny", "--output_dir", str(tmp_path)]) == 2
    assert main([*given, "--output_dir", str(tmp_path)]) == 0
    for suffix in ("txt", "jsonl"):
        (tmp_path / f"wer_test-tiny_greedy.{suffix}").rename(tmp_path / f"wer_test-tiny.{suffix}")
    assert main([*given, "--output_dir", str(tmp_path)]) == 2


def sweep_rows(table: str) -> dict[tuple[str, ...], float]:
    """WER by search and values."""
    rows = [line.split() for line in table.splitlines() if line.startswith(("rescore ", "joint ", "greedy "))]
    return {tuple(row[:-7]): float(row[-7]) for row in rows}


def test_a_sweep_finds_what_single_tests_find(
    tiny_bundle: Path, tiny_lm: Path, tiny_librispeech, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_librispeech()
    given = [
        "evaluate",
        str(tiny_bundle),
        "--data_folder",
        str(folder),
        "--splits",
        "train-tiny",
        "test-tiny",
    ]
    given += ["--lm", str(tiny_lm), "--beam_size", "4"]
    values = ["--sweep", "lm_weight=0,0.5,3", "--sweep", "ctc_weight=0.1,0.9"]
    assert main([*given, "--decode", "greedy", "rescore", "joint", *values]) == 0
    said = capsys.readouterr().out
    found = sweep_rows(said)
    assert len(found) == 13 and ("greedy", "-", "-") in found
    assert list(found.values()) == sorted(found.values())
    assert said.splitlines()[-1].startswith("best: --decode ")
    for search, lm, ctc in (("rescore", "3.0", "0.1"), ("rescore", "0.5", "0.9"), ("joint", "0.5", "0.1")):
        flags = ["--decode", search, "--lm_weight", lm, "--ctc_weight", ctc, "--output_dir", str(tmp_path)]
        assert main([*given, *flags]) == 0
        results = [
            read_results(tmp_path / f"wer_{split}_{search}.txt") for split in ("train-tiny", "test-tiny")
        ]
        edits = sum(result.counts.edits for result in results)
        words = sum(result.counts.reference_words for result in results)
        assert found[search, lm, ctc] == pytest.approx(100 * edits / words, abs=0.01)


def test_of_equals_a_sweep_names_the_usual_and_says_so(
    tiny_bundle: Path, tiny_lm: Path, tiny_librispeech, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["evaluate", str(tiny_bundle), "--data_folder", str(tiny_librispeech()), "--splits", "test-tiny"]
    # Nothing but the end may be said, so that all are as wrong.
    given += ["--decode", "joint", "--beam_size", "2", "--max_decode_ratio", "0.001", "--lm", str(tiny_lm)]
    sweeps = ["--sweep", "ctc_weight=0.1,0.3,0.8", "--sweep", "lm_weight=0.5,0"]
    assert main([*given, *sweeps, "--lm_temperature", "1.5"]) == 0
    *_, note, best = capsys.readouterr().out.splitlines()
    assert note.startswith("6 share the lowest WER")
    # Without a say the language model is not named, and these flags can be pasted.
    assert best == "best: --decode joint --beam_size 2 --max_decode_ratio 0.001 --ctc_weight 0.3"
    assert main([*given[:-2], *best.split()[1:]]) == 0


def test_rescoring_again_is_exact(tiny_bundle: Path, tiny_lm: Path, tiny_librispeech) -> None:
    corpus = read_splits(tiny_librispeech(), ["train-tiny"])
    given = Settings(
        str(tiny_bundle),
        "",
        ("train-tiny",),
        ("rescore",),
        progress=False,
        lm=str(tiny_lm),
        given={"lm_weight": 1},
    )
    tried = [
        SearchOptions(beam_size=5, lm_weight=lm, ctc_weight=ctc, length_normalization=per_token)
        for lm, ctc, per_token in product((0.0, 0.7), (0.2, 1.0), (False, True))
    ]
    [asked] = sweep.searches("rescore", tried)
    again = gather(given, corpus, [asked])["train-tiny"]
    alone = gather(given, corpus, [Asked("rescore", options) for options in tried])["train-tiny"]
    for ours, truth in zip(again.answers, alone.answers, strict=True):
        for name, answer in truth.items():
            assert ours[name].text == answer.text
            assert ours[name].nbest[0].score == pytest.approx(answer.nbest[0].score)


def opened(model: Path) -> partial[Worker]:
    """What decodes greedily."""
    return partial(Worker, Task(str(model), (Asked("greedy", SearchOptions()),)))


def one_by_one(paths: Sequence[str]) -> list[Portion]:
    return [{file: path} for file, path in enumerate(paths)]


def test_jobs_find_what_one_finds(tiny_bundle: Path, tiny_librispeech) -> None:
    paths = [utterance.path for utterance in scan_split(tiny_librispeech(), "train-tiny")] + ["no/such.flac"]
    alone, shared = (list(share_work(opened(tiny_bundle), one_by_one(paths), jobs))[1:] for jobs in (1, 2))
    shared.sort(key=lambda done: done.files)
    assert [done.files for done in shared] == [[file] for file in range(7)]
    for ours, truth in zip(shared, alone, strict=True):
        assert ours.seconds == truth.seconds and ours.faults == truth.faults
        for file in truth.seconds:
            (one,), (other,) = ours.answers[0][file].nbest, truth.answers[0][file].nbest
            assert one.text == other.text and one.score == pytest.approx(other.score, abs=1e-4)
    assert shared[-1].faults.keys() == {6}


def test_a_fault_of_a_job_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        list(share_work(opened(tmp_path / "none"), one_by_one(["a.flac"]), 2))


def test_idle_jobs_make_nothing_faster(tiny_bundle: Path, tiny_librispeech) -> None:
    corpus = read_splits(tiny_librispeech(), ["test-tiny"], limit=1)
    given = Settings(str(tiny_bundle), "", ("test-tiny",), progress=False, jobs=2)
    heard = gather(given, corpus, [Asked("greedy", SearchOptions())])["test-tiny"]
    wall = heard.span[1] - heard.span[0]
    assert sum(heard.times.values()) <= wall
    assert heard.rate("wait", "encode", "0") == pytest.approx(1 / wall, rel=0.01)
    # Two jobs, busy at the same time.
    both = Heard([], [{}])
    for file, span in enumerate(((0.0, 1.0), (0.5, 2.0))):
        done = Done({file: 30.0}, ({},), times={"encode": 0.5, "0": 0.5}, span=span)
        both.add(done, corpus["test-tiny"] * 2)
    both.seconds = {"a": 30.0, "b": 30.0}
    assert both.rate("encode", "0") == 30.0 and both.rate("encode") == 60.0
