"""Bench text: equal sizes, honest statistics, nothing done twice."""

import itertools
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hyperconformer.bench.cases import Case
from hyperconformer.bench.checks import CheckFailed, check
from hyperconformer.bench.text.cost import plan_cost
from hyperconformer.bench.text.found import TextFound
from hyperconformer.bench.text.scores import score_systems
from hyperconformer.bench.text.sizes import DEFAULT, SYSTEMS, TOLERANCE, count_weights, equal_config
from hyperconformer.bench.text.tuning import SPACE, draw_trial, expected_best
from hyperconformer.bench.trainings import jobs
from hyperconformer.bench.trainings.runs import Run, RunStore
from hyperconformer.bench.trainings.sizes import Unequal
from hyperconformer.errors import InputError
from hyperconformer.mixers import Fourier
from hyperconformer.models.classifier import Classifier
from hyperconformer.models.config import ClassifierConfig
from hyperconformer.scoring import score
from hyperconformer.significance import compare_runs
from hyperconformer.types import Utterance

MODEL = ClassifierConfig(output_neurons=2000, num_classes=150)


def run_of(seed: int) -> Run:
    return Run(f"seed {seed}", "x.yaml", {}, "cpu", "fp32", {"seed": seed, "name": "any"})


def marked(*rows: str, texts: str = "t") -> list[TextFound]:
    """Runs with these right and wrong texts."""
    return [TextFound(row, "ok", correct={"test": row}, texts={"test": texts}) for row in rows]


@pytest.mark.parametrize("longest", [28, 130])
@pytest.mark.parametrize("system", SYSTEMS)
def test_all_systems_are_equally_large(system: str, longest: int) -> None:
    model = replace(MODEL, texts=2 if SYSTEMS[system].pair == "cross" else 1)
    wanted = count_weights(equal_config(model, "hypermixing", longest))
    config = equal_config(model, system, longest)
    weights = sum(weight.numel() for weight in Classifier(config).parameters())
    assert abs(weights / wanted - 1) <= TOLERANCE
    assert (config.mixer, config.d_model, config.num_layers) == (SYSTEMS[system].mixer, 128, 2)


def test_a_mixer_with_too_many_weights_is_refused() -> None:
    with pytest.raises(Unequal, match="gmlp for 600 tokens has .* weights: give a larger --d_ffn"):
        equal_config(MODEL, "gmlp", 600)


def test_options_of_the_recipe_hold_for_its_own_mixer() -> None:
    template = replace(MODEL, mixer_options={"init": "fan"})
    assert equal_config(template, "hypermixing:tied", 9).mixer_options["init"] == "fan"
    assert "init" not in equal_config(template, "attention", 9).mixer_options


def test_the_expected_best_is_the_mean_over_all_draws() -> None:
    scores = [0.2, 0.9, 0.5, 0.5]
    expected = expected_best(scores)
    assert len(expected) == len(scores)
    for trials, mean in enumerate(expected, start=1):
        best = [max(draw) for draw in itertools.product(scores, repeat=trials)]
        assert mean == pytest.approx(np.mean(best))


def test_trials_are_drawn_over_the_whole_space() -> None:
    trials = [draw_trial(0, number) for number in range(200)]
    assert 2e-4 <= min(t["lr"] for t in trials) < 3e-4 and 1.5e-2 < max(t["lr"] for t in trials) <= 2e-2
    # As many below the middle of the logarithms as above it.
    assert 70 < sum(t["lr"] < 2e-3 for t in trials) < 130
    assert {t["num_layers"] for t in trials} == {1, 2, 3, 4} and set(trials[0]) == set(SPACE)


def test_the_store_forgets_what_a_power_cut_tore_and_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    store = RunStore(path, TextFound)
    for seed in (1, 2):
        store.add(run_of(seed), TextFound(run_of(seed).key, "ok", train_seconds=seed))
    store.add(run_of(3), TextFound(run_of(3).key, "fails", "out of memory"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    again = RunStore(path, TextFound)
    assert list(again.found) == [run_of(1).key]
    again.add(run_of(2), store.found[run_of(2).key])
    assert path.read_bytes() == whole
    path.write_text("[]\n")
    with pytest.raises(InputError, match="line 1 is no run of bench text"):
        RunStore(path, TextFound)


def test_what_decides_a_run_is_its_key() -> None:
    run = run_of(1)
    assert replace(run, decided={**run.decided, "name": "other"}, name="x").key == run.key
    others = [run_of(2), replace(run, device="cuda"), replace(run, precision="bf16"), replace(run, data="x")]
    others.append(replace(run, decided={**run.decided, "nonfinite_patience": 3}))
    others.append(replace(run, further={"modules": "other"}))
    assert len({run.key, *(other.key for other in others)}) == 7
    # A folder of results of any time goes on.
    known = Run("a", "x.yaml", {}, "cuda:1", "bf16", {"seed": 1, "lr": 0.1, "name": "x"}, "abc")
    assert known.key == "11060387291e0836"


def test_only_what_is_missing_is_trained_and_jobs_go_side_by_side(tmp_path: Path) -> None:
    together, launched, said = threading.Barrier(2, timeout=20), [], []

    def launch(run: Run) -> TextFound:
        launched.append(run.name)
        together.wait()
        status = "fails" if run.name == "seed 2" else "ok"
        return TextFound(run.key, status, "bad luck", accuracy={"valid": 0.5})

    runs = [run_of(seed) for seed in (1, 2, 1)]
    store = RunStore(tmp_path / "runs.jsonl", TextFound)
    found = jobs.train_all(runs, store, 2, said.append, launch)
    assert sorted(launched) == ["seed 1", "seed 2"] and found[run_of(2).key].note == "bad luck"
    assert [line.endswith("; about 0 min left") for line in said] == [True, False]
    launched.clear()
    together = threading.Barrier(1)
    jobs.train_all(runs, RunStore(store.path, TextFound), 2, said.append, launch)
    assert launched == ["seed 2"] and "done before: valid 50.00 %" in said[2]


def test_a_process_that_dies_is_a_note(tmp_path: Path) -> None:
    launch = jobs.Launcher(tmp_path, 1, ["sh", "-c", "kill -9 $$"], TextFound)
    found = launch(run_of(1))
    assert (found.status, found.note) == ("fails", "killed by signal 9")


def test_differences_are_those_of_compare() -> None:
    rng = np.random.default_rng(0)
    rows = {
        system: ["".join(map(str, (rng.random(60) < right).astype(int))) for _ in range(3)]
        for system, right in (("a", 0.6), ("b", 0.8))
    }
    reports = {
        system: [
            score([(Utterance(f"{n:02}", 1.0, "", f"{n:02}", "YES"), "YES" if mark == "1" else "NO")
                   for n, mark in enumerate(row)], "test")
            for row in of
        ]
        for system, of in rows.items()
    }  # fmt: skip
    truth = compare_runs(reports["a"], reports["b"])
    scores = score_systems({system: marked(*of) for system, of in rows.items()}, "test", "a")
    against = scores["b"].against
    assert against is not None and scores["a"].against is None
    assert against == pytest.approx((-truth.difference, -truth.high, -truth.low))
    assert scores["b"].mean.value == pytest.approx(1 - truth.wer_b)
    assert scores["b"].mean.low < scores["b"].mean.value < scores["b"].mean.high
    assert scores["b"].spread == pytest.approx(np.std([row.count("1") / 60 for row in rows["b"]], ddof=1))


def test_made_texts_differ_from_seed_to_seed_and_only_equal_ones_are_compared() -> None:
    one, two = marked("1100", texts="x"), marked("1110", texts="y")
    better = [*marked("1111", texts="x"), *marked("1111", texts="y")]
    scores = score_systems({"a": [*one, *two], "b": better, "c": one}, "test", "a")
    assert scores["b"].against is not None and scores["b"].against.value == 0.375
    assert scores["c"].against is None and scores["c"].mean.value == 0.5


def test_texts_grow_and_the_rest_of_a_classifier_stays() -> None:
    template = Case("text", "identity", "forward", seconds=1.0, batch_size=1)
    cases, unfit = plan_cost(template, MODEL, ["gmlp"], [16, 64], 32)
    assert unfit == [] and [case.name for case in cases[::2]] == [
        "text gmlp 16 tokens forward",
        "text gmlp 64 tokens forward",
    ]
    short, long = (case.classifier() for case in cases[::2])
    assert short.d_ffn == long.d_ffn and long.mixer_options == {"max_frames": 64}
    assert (cases[0].batch_size, cases[2].batch_size, Case.from_json(cases[2].to_json())) == (2, 1, cases[2])


def test_a_classifier_that_hears_padding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    [case, _], _ = plan_cost(
        Case("text", "identity", "forward", seconds=1.0, batch_size=1), MODEL, ["fourier"], [16], 32
    )
    correct = Fourier.forward
    monkeypatch.setattr(Fourier, "forward", lambda self, x, padding=None: correct(self, x))
    with pytest.raises(CheckFailed, match="text fourier 16 tokens forward: a text differs alone"):
        check(case)


def test_the_usual_systems_are_there() -> None:
    assert set(DEFAULT) <= set(SYSTEMS) and {"relative", "hypermixing:cross"} == set(SYSTEMS) - set(DEFAULT)
