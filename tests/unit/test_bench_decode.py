"""Searches are measured on the same encoder output and must find the same; no test is timed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hyperconformer.bench import child, columns, command, decode, report, runner, upstream_decode
from hyperconformer.bench.cases import Case, Outcome, Sizes
from hyperconformer.bench.checks import CheckFailed
from hyperconformer.bench.decode_plan import nearest
from hyperconformer.bench.decoding import Decoding, Found
from hyperconformer.cli import main
from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import SEARCHES
from hyperconformer.inference.bundle import load_bundle, save_bundle
from hyperconformer.inference.language_model_bundle import save_language_model
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.text import Tokenizer, train_tokenizer
from tests.helpers import randomise

TINY = Sizes(d_model=16, heads=2, layers=1, decoder_layers=2, output_neurons=30)
SMALL_MODEL = Decoding(beam=3, steps=6, lm_d_model=8, lm_heads=2, lm_layers=2)
CASE = Case(
    "decode", "joint", "search", seconds=1.0, batch_size=1, repeats=1, sizes=TINY, decoding=SMALL_MODEL
)
SMALL = [
    "--d_model=16",
    "--heads=2",
    "--layers=1",
    "--decoder_layers=1",
    "--output_neurons=30",
    "--seconds=1",
]
SMALL_LM = ["--lm_d_model=8", "--lm_heads=2", "--lm_layers=1"]
ONCE = ["--repeats=1", "--rounds=1", "--threads=1"]


def quiet(_: str) -> None:
    pass


def changed(system: str = "joint", **changes: object) -> Case:
    """The usual case, decoded in another way."""
    return replace(CASE, system=system, decoding=replace(SMALL_MODEL, **changes))


@pytest.fixture(scope="module")
def lively(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose searches find something: its weights are large."""
    model, tokenizer = load_bundle(tiny_bundle)
    folder = tmp_path_factory.mktemp("lively") / "model"
    with torch.no_grad():
        randomise(model, 5).decoder.out.bias[BEGIN] = -50
    return save_bundle(folder, model, tokenizer, metrics={}, card="# Lively\n")


@pytest.fixture(scope="module")
def language_model(lively: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model's folder over the same tokens."""
    folder = tmp_path_factory.mktemp("language_model") / "model"
    return saved_language_model(folder, load_bundle(lively)[1], 30)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two seconds of noise."""
    path = tmp_path / "noise.wav"
    noise = np.random.default_rng(1).normal(scale=0.1, size=32_000).clip(-1, 1)
    soundfile.write(path, noise, samplerate=16_000)
    return path


def test_a_search_is_measured_beside_upstream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "RESULTS.md"
    where = [f"--record={results}", f"--output={tmp_path / 'out'}"]
    assert main(["bench", "decode", "--beams=2,3", "--steps=6", *SMALL, *ONCE, *where]) == 0
    said = capsys.readouterr()
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    systems = [(case["system"], case["decoding"]["beam"]) for case in found["cases"]]
    assert systems == [("joint", 2), ("upstream:joint", 2), ("joint", 3), ("upstream:joint", 3)]
    assert "better hypotheses than SpeechBrain's: 0 of 2" in said.out
    ours, theirs = found["cases"][:2]
    assert found["against"] == "upstream:joint" and theirs["ratios"]["search time"] == 1
    assert ours["ratios"]["search time"] == pytest.approx(
        ours["parts"]["search"]["median_ms"] / theirs["parts"]["search"]["median_ms"]
    )
    best, truth = (case["parts"]["search"]["found"] for case in (ours, theirs))
    assert best["tokens"] == truth["tokens"] and len(truth["tokens"]) == 5
    assert 0 <= best["pruned"] <= 1 and truth["pruned"] is None
    assert "--beams 2,3 --steps 6" in found["command"] and "pruned %" in said.out
    assert "[1/4] decode joint 1 s search, beam 2, 6 steps: begun" in said.err
    assert '"cases"' not in said.out
    assert "### Decoding\n" in results.read_text()
    assert "| upstream:joint | random | none | 2 | 6 | 1 |" in results.read_text()


@pytest.mark.parametrize("language_model", ["none", "random"])
@pytest.mark.parametrize(("beam", "steps"), [(1, 4), (3, 8), (12, 20)])
def test_both_find_the_same_in_as_many_steps(beam: int, steps: int, language_model: str) -> None:
    case = changed(beam=beam, steps=steps, language_model=language_model)
    ours, theirs = (decode.measure_decoding(replace(case, system=s)) for s in ("joint", "upstream:joint"))
    assert ours.found.tokens == theirs.found.tokens and len(ours.found.tokens) == steps - 1
    assert ours.found.score == pytest.approx(theirs.found.score, abs=1e-3)
    assert ours.parameters == theirs.parameters
    assert not {BLANK, BEGIN, END} & set(ours.found.tokens)


def test_both_find_the_same_with_trained_models(lively: Path, language_model: Path, recording: Path) -> None:
    for name in ("none", str(language_model)):
        case = changed(steps=None, beam=8, model=str(lively), language_model=name, audio=str(recording))
        runner.run_rounds(
            [replace(case, system=s) for s in ("joint", "upstream:joint")], 1, quiet, launch=child.examine
        )


def test_a_language_model_is_heard() -> None:
    plain, with_lm = (decode.measure_decoding(changed(language_model=name)) for name in ("none", "random"))
    assert plain.found.score - with_lm.found.score > 5 * 0.6 * 3


def test_a_peaked_head_hears_as_many_tokens_as_there_are_steps() -> None:
    case = replace(changed(steps=13), sizes=replace(TINY, d_model=64, output_neurons=500), seconds=4.0)
    peaked = replace(case, decoding=replace(case.decoding, ctc="peaked"))
    silent, heard = (decode.measure_decoding(replace(c, system="greedy")).found for c in (case, peaked))
    assert len(silent.tokens) == 0 and len(heard.tokens) == 12
    ours, theirs = (
        decode.measure_decoding(replace(peaked, system=s)).found for s in ("joint", "upstream:joint")
    )
    assert ours.ahead_of(theirs) == 0 and ours.tokens == theirs.tokens
    outcome = child.examine(replace(peaked, sizes=TINY))
    assert outcome.status == "fails" and "tells half as many tokens apart, not 12" in outcome.note


@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_is_measured(search: str) -> None:
    outcome = child.examine(changed(search, steps=None, language_model="random"))
    assert outcome.status == "ok" and outcome.times_ms
    assert (outcome.found.score is None) == (search != "joint")


def test_greedy_search_is_measured_once(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--searches=greedy",
        "--beams=2,3",
        "--language_models=none,random",
        *SMALL,
        *SMALL_LM,
        *ONCE,
    ]
    assert main(["bench", "decode", "--steps=6", *SMALL_LM, *arguments]) == 0
    (case,) = json.loads(capsys.readouterr().out.splitlines()[-1])["cases"]
    assert case["decoding"]["beam"] == 1 and case["decoding"]["language_model"] == "none"


def test_another_find_is_refused() -> None:
    def launch(case: Case) -> Outcome:
        return Outcome(case, "ok", times_ms=(1.0,), found=Found((5,), -7.0 if case.is_upstream else -7.01))

    cases = [CASE, replace(CASE, system="upstream:joint")]
    with pytest.raises(CheckFailed, match="another hypothesis: upstream:joint scores -7, joint -7.01"):
        runner.run_rounds(cases, 1, quiet, launch=launch)
    # What was decoded in another way has another score.
    runner.run_rounds([CASE, changed("upstream:joint", beam=4)], 1, quiet, launch=launch)


@pytest.mark.parametrize("order", [1, -1])
def test_a_better_find_of_ours_is_counted(order: int) -> None:
    def launch(case: Case) -> Outcome:
        better = case.decoding.beam == 3 and not case.is_upstream
        return Outcome(case, "ok", times_ms=(1.0,), found=Found((5,), -6.5 if better else -7.0))

    cases = [changed(system, beam=beam) for beam in (3, 4) for system in ("joint", "upstream:joint")]
    outcomes = runner.run_rounds(cases[::order], 2, quiet, launch=launch)
    said = columns.text_table(report.rows_of(outcomes, "upstream:joint"), "upstream:joint")
    assert "better hypotheses than SpeechBrain's: 1 of 2, by up to 0.5 nats" in said


def test_a_score_that_forgets_something_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = SearchOptions.weight
    monkeypatch.setattr(
        SearchOptions, "weight", lambda self, part: 0.0 if part == "lm" else weight(self, part)
    )
    outcome = child.examine(changed(language_model="random"))
    assert outcome.status == "refused" and "its hypothesis scores" in outcome.note


@pytest.mark.parametrize(
    ("owner", "method", "message"),
    [
        (upstream_decode.TransformerASR, "decode", "decoder: SpeechBrain's differ from ours by"),
        (upstream_decode.TransformerLM, "forward", "language model: SpeechBrain's differ from ours by"),
    ],
)
def test_a_wrong_upstream_is_refused(
    owner: type, method: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct = getattr(owner, method)

    def wrong(*given: object) -> object:
        right = correct(*given)
        return (1.05 * right[0], *right[1:]) if isinstance(right, tuple) else 1.05 * right

    monkeypatch.setattr(owner, method, wrong)
    outcome = child.examine(changed("upstream:joint", language_model="random"))
    assert outcome.status == "refused" and message in outcome.note


def test_a_cache_that_forgets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = LanguageModel.step
    monkeypatch.setattr(
        LanguageModel, "step", lambda self, tokens, state: correct(self, tokens, self.start(len(tokens)))
    )
    outcome = child.examine(changed(language_model="random"))
    assert outcome.status == "refused" and "language model: single steps differ from all by" in outcome.note


def test_another_number_of_steps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoding, "ratios", lambda self, frames: (3.5 / frames, 4.5 / frames))
    outcome = child.examine(CASE)
    assert outcome.status == "refused" and "it said 3 tokens in 6 steps" in outcome.note


def test_what_tries_patience_is_not_repeated() -> None:
    impatient = replace(changed(patience=0.0), repeats=5)
    assert len(decode.measure_decoding(impatient).times_ms) == 1
    launched = []

    def launch(case: Case) -> Outcome:
        launched.append(case)
        return Outcome(case, "ok", times_ms=(1.0,))

    runner.run_rounds([impatient, CASE], 3, quiet, launch=launch)
    assert launched.count(impatient) == 1 and launched.count(CASE) == 3


def test_rows_are_told_apart_and_compared_with_their_own_kind() -> None:
    found = [
        Outcome(changed(system, beam=beam), "ok", times_ms=(time,))
        for beam, system, time in (
            (3, "joint", 1.0),
            (3, "upstream:joint", 4.0),
            (9, "joint", 2.0),
            (9, "upstream:joint", 10.0),
        )
    ]
    rows = report.rows_of(found, "upstream:joint")
    assert [row.ratios["search time"] for row in rows] == [0.25, 1, 0.2, 1]
    assert [row.audio_seconds_per_second for row in rows] == [1000, 250, 500, 100]


def test_a_case_and_what_it_found_travel() -> None:
    outcome = Outcome(
        changed(language_model="random"), "ok", times_ms=(1.0,), found=Found((5, 9), -2.5, 0.5, 0.1)
    )
    case = Case.from_json(outcome.case.to_json())
    assert case == outcome.case and Outcome.from_json(case, outcome.to_json()) == outcome


def test_the_nearest_recording_is_found(tmp_path: Path) -> None:
    for name, seconds in (("a/far.wav", 3), ("b/near.flac", 1), ("b/nearer.wav", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(16_000 * seconds), samplerate=16_000)
    assert nearest(tmp_path, 1.9) == tmp_path / "b/nearer.wav"
    with pytest.raises(Exception, match="there is no audio in it"):
        nearest(tmp_path / "c", 1.0)


def saved_language_model(folder: Path, tokenizer: Tokenizer, width: int) -> Path:
    torch.manual_seed(0)
    config = LanguageModelConfig(output_neurons=width, d_model=8, nhead=2, d_ffn=16, num_layers=2)
    return save_language_model(folder, randomise(LanguageModel(config)), tokenizer, metrics={}, card="# LM\n")


@pytest.mark.parametrize("more", [-2, 9])
def test_a_language_model_with_other_output_neurons_is_measured(
    more: int, lively: Path, recording: Path, tmp_path: Path
) -> None:
    recogniser, tokenizer = load_bundle(lively)
    width = recogniser.config.output_neurons + more
    lm = saved_language_model(tmp_path / "lm", tokenizer, width)
    case = changed(steps=None, beam=8, model=str(lively), language_model=str(lm), audio=str(recording))
    outcomes = runner.run_rounds(
        [replace(case, system=s) for s in ("joint", "upstream:joint")], 1, quiet, launch=child.examine
    )
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]


def test_given_models_are_described(
    lively: Path, language_model: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--model={lively}", f"--language_models={language_model}", f"--audio={recording}"]
    assert main(["bench", "decode", "--searches=joint", "--beams=2", *given, *ONCE]) == 0
    (case,) = json.loads(capsys.readouterr().out.splitlines()[-1])["cases"]
    config = load_bundle(lively)[0].config
    assert case["sizes"]["output_neurons"] == config.output_neurons
    assert case["sizes"]["layers"] == config.num_encoder_layers and case["sizes"]["heads"] == config.nhead
    assert case["decoding"]["lm_layers"] == 2 and case["decoding"]["lm_d_model"] == 8


def test_models_that_do_not_fit_are_refused_before_anything_is_measured(
    lively: Path, language_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = train_tokenizer(["SOME OTHER WORDS"], tmp_path / "t.model", output_neurons=20)
    other = saved_language_model(tmp_path / "lm", others, 30)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model").symlink_to(lively)
    for arguments, message in (
        ([f"--model={lively}", f"--language_models={other}"], "has other tokens than the recogniser"),
        ([f"--language_models={language_model}"], "30 output neurons, the drawn recogniser 5000: give"),
        ([f"--model={tmp_path / 'run'}"], "holds no model: give the 'model' folder that training wrote"),
        ([f"--model={language_model}"], "--model: "),
    ):
        assert main(["bench", "decode", "--searches=joint", *ONCE, *arguments]) == 2
        said = capsys.readouterr()
        assert message in said.err and said.err.count("\n") == 1 and not said.out


def test_threads_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, threads in (("3", 3), ("2,1", 2), ("x", None), ("", None)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert command._usual_threads() == (threads or len(os.sched_getaffinity(0)))


def test_seconds_are_rounded() -> None:
    assert replace(CASE, seconds=2.99737).name == "decode joint 3 s search, beam 3, 6 steps"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--searches=beam"], "--searches beam: choose from"),
        (["--beams=0"], "--beams 0 is no positive whole number"),
        (["--steps=x"], "--steps x is no positive whole number"),
        (["--seconds=0"], "length '0' is no positive number"),
        (["--ctc=sharp"], "--ctc sharp: choose from flat, peaked"),
        (["--searches=joint", "--against=upstream:joint"], "is not measured: add it to --searches"),
        (["--model=no/such"], "--model no/such holds no model: give the 'model' folder"),
        (["--language_models=no/such"], "--language_models no/such holds no model"),
        (["--audio=a.wav", "--data_folder=b"], "--audio and --data_folder: give one of them"),
        (["--audio=no.wav"], "no.wav"),
        (["--data_folder=no/such"], "--data_folder no/such: there is no audio in it"),
        (["--device=tpu"], "--device=tpu is no device"),
    ],
)
def test_bad_arguments_are_answered_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "decode", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_steps_go_with_random_weights(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "decode", f"--model={tiny_bundle}", "--steps=4"]) == 2
    assert "--steps goes with random weights: leave it out with --model" in capsys.readouterr().err


def test_upstream_must_be_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("hyperconformer.bench.command.find_spec", lambda _: None)
    assert main(["bench", "decode", "--searches=upstream:joint"]) == 2
    assert "SpeechBrain is not installed" in capsys.readouterr().err


def test_more_steps_than_frames_are_refused() -> None:
    outcome = child.examine(changed(steps=25))
    assert outcome.status == "fails" and "25 steps need more than 25 frames of 40 ms" in outcome.note
