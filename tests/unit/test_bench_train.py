"""Training is measured on real batches, the same for all, by steps that learn; no test is timed."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hyperconformer.bench import child, columns, recipe, report, runner, train, upstream
from hyperconformer.bench.cases import THEIR_MIXERS, Case, Outcome, Recipe
from hyperconformer.bench.checks import CheckFailed
from hyperconformer.cli import main
from hyperconformer.data.augment import SpecAugment
from hyperconformer.data.pipeline import IGNORE, collate

RECIPE = "hparams/mini.yaml"
SMALL = {
    "corpus": "librispeech",
    "train_splits": ["train-tiny"],
    "output_neurons": 30,
    "d_model": 16,
    "nhead": 2,
    "d_ffn": 64,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "max_batch_length": 3,
    "time_warp": 5,
    "transformer_dropout": 0.1,
}
MACHINE = {"device": "cpu", "precision": "fp32", "threads": 1, "repeats": 3, "warm_up": 1}
CASE = Case("train", "summary", "step", seconds=3.0, batch_size=1, recipe=Recipe(RECIPE, "{}", 1))

MakeCase = Callable[..., Case]


def quiet(_: str) -> None:
    pass


@pytest.fixture
def make_case(tiny_librispeech, tmp_path: Path) -> MakeCase:
    """Prepare the tiny corpus for a recipe with these changes."""

    def make(system: str, mode: str = "eager", **changes: object) -> Case:
        overrides = {**SMALL, "data_folder": str(tiny_librispeech(splits={"train-tiny": 7})), **changes}
        settings = recipe.read_settings(RECIPE, overrides, tmp_path)
        recipe.prepare(settings, RECIPE, progress=False)
        return replace(recipe.template(settings, RECIPE, overrides, **MACHINE), system=system, mode=mode)

    return make


def test_a_recipe_is_measured_beside_upstream(
    tiny_librispeech, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny_librispeech(splits={"train-tiny": 7})
    keys = [f"--{key}={json.dumps(value)}" for key, value in SMALL.items()]
    counts = ["--steps=3", "--warm_up=1", "--rounds=1", "--threads=1"]
    results = tmp_path / "RESULTS.md"
    where = [f"--record={results}", f"--output={tmp_path / 'out'}"]
    # The value of a key that is none of the benchmark's may stand apart.
    assert main(["bench", "train", RECIPE, "--data_folder", str(data), *keys, *counts, *where]) == 0
    said = capsys.readouterr()
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    ours, theirs = found["cases"]
    assert (ours["system"], theirs["system"]) == ("hypermixing", "upstream:hypermixing")
    assert found["against"] == "upstream:hypermixing" and theirs["ratios"]["speed"] == 1
    step = ours["parts"]["step"]
    assert len(step["times_ms"]) == 3 and step["peak_bytes"] is not None and 0 < step["waiting"] < 1
    assert ours["ratios"]["speed"] == ours["audio_seconds_per_second"] / theirs["audio_seconds_per_second"]
    assert (
        f"bench train {RECIPE} --data_folder {data}" in found["command"] and "--steps 3" in found["command"]
    )
    assert json.loads((tmp_path / "out" / "bench.json").read_text()) == found
    assert "waiting %" in said.out
    table = results.read_text()
    assert "### Training\n" in table and "| upstream:hypermixing | eager | fp32 | 3 |" in table


@pytest.mark.parametrize("mixer", THEIR_MIXERS)
def test_both_are_given_the_same_batches_and_learn(mixer: str, make_case: MakeCase) -> None:
    theirs = make_case(f"upstream:{mixer}", label_smoothing=0.1, grad_accumulation_factor=2)
    ours = replace(theirs, system=THEIR_MIXERS[mixer])
    found = [train.measure_training(case) for case in (ours, theirs)]
    assert [outcome.status for outcome in found] == ["ok", "ok"]
    assert found[0].batches == found[1].batches and found[0].audio_seconds == found[1].audio_seconds
    assert found[0].parameters == pytest.approx(found[1].parameters, rel=0.01)


@pytest.mark.parametrize("system", ["hypermixing", "upstream:hypermixing"])
def test_the_loss_falls(system: str, make_case: MakeCase) -> None:
    case = make_case(system, lr=0.01, n_warmup_steps=1, speeds=[100], transformer_dropout=0.0)
    prepared = recipe.load(case)
    torch.manual_seed(0)
    trainer = (train._theirs if case.is_upstream else train._ours)(case, prepared)
    (batch,) = prepared.alone(1)

    def loss() -> float:
        with torch.no_grad():
            predictions = trainer.compute_forward(batch, upstream.sb.Stage.TRAIN)
            found = trainer.compute_objectives(predictions, batch, upstream.sb.Stage.TRAIN)
        return float(getattr(found, "mean", found) if system == "hypermixing" else found)

    before = loss()
    for step in range(12):
        trainer.take([batch], 1, step, 1)
    assert loss() < 0.8 * before


def test_batches_change_from_epoch_to_epoch_and_real_audio_is_counted(make_case: MakeCase) -> None:
    case = make_case("summary", speeds=[100])
    loader = recipe.load(case).loader()
    nobody = SimpleNamespace(take=lambda *_: None)
    training = train.steps(loader, nobody)
    planned = loader.steps.steps
    first, second = ([next(training) for _ in range(planned)] for _ in range(2))
    # Seven tones of a second, in a batch of three seconds and longer ones of none.
    assert sum(step.audio_seconds for step in first) == sum(step.audio_seconds for step in second) == 7
    assert {step.batch for step in first} != {step.batch for step in second}


def test_waiting_is_told_from_learning(monkeypatch: pytest.MonkeyPatch, make_case: MakeCase) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def spend(seconds: float) -> None:
        now[0] += seconds

    loader = recipe.load(make_case("summary")).loader()
    read = loader.dataset.__class__.__getitem__
    monkeypatch.setattr(
        loader.dataset.__class__, "__getitem__", lambda self, draw: (spend(1), read(self, draw))[1]
    )
    step = next(train.steps(loader, SimpleNamespace(take=lambda *_: spend(3))))
    utterances = step.batch.count(", ") + 1
    assert (step.waited, step.seconds) == (utterances, utterances + 3)


def test_another_loss_is_refused(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case("upstream:hypermixing")
    correct = upstream.ctc_loss
    monkeypatch.setattr(upstream, "ctc_loss", lambda *given, **named: 1.01 * correct(*given, **named))
    outcome = child.examine(case)
    assert outcome.status == "refused" and "with the same weights ours gives another loss" in outcome.note
    with pytest.raises(CheckFailed, match="another loss"):
        runner.run_rounds([case], 1, quiet, launch=child.examine)


def test_other_batches_are_refused() -> None:
    def launch(case: Case) -> Outcome:
        return Outcome(case, "ok", times_ms=(1.0,), audio_seconds=1.0, waited_ms=0.0, batches=case.system)

    cases = [replace(CASE, system=system) for system in ("summary", "identity")]
    with pytest.raises(CheckFailed, match="train identity 3 s step: it was given other batches"):
        runner.run_rounds(cases, 1, quiet, launch=launch)


def test_what_lacks_memory_is_named(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(train.RecipeBrain, "compute_forward", crash)
    assert child.examine(make_case("hypermixing")).note == "out of memory"


def test_steps_that_learn_nothing_are_refused(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = train.RecipeBrain.compute_objectives

    def infinite(self, *given):
        found = loss(self, *given)
        return replace(found, total_b=found.total_b * torch.inf)

    monkeypatch.setattr(train.RecipeBrain, "compute_objectives", infinite)
    outcome = child.examine(make_case("hypermixing"))
    assert outcome.status == "refused" and "step 1 was skipped" in outcome.note


def test_a_compiled_model_is_held_against_the_eager_one(
    make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case("hypermixing", mode="compile")
    # What the compiler makes of it is its own matter; how long it takes, too.
    monkeypatch.setattr(train, "compile_model", lambda model: model.compile(backend="eager"))
    assert train.measure_training(case).status == "ok"
    monkeypatch.setattr(train, "compile_model", lambda model: model.ctc_head.weight.data.mul_(1.1))
    assert "compiled and eager differ" in child.examine(case).note


def test_rounds_are_joined_and_compared() -> None:
    def outcome(system: str, mode: str, *times: float) -> Outcome:
        case = replace(CASE, system=system, mode=mode)
        return Outcome(case, "ok", times_ms=times, audio_seconds=60.0, waited_ms=times[0] / 10)

    found = [
        outcome("summary", "compile", 1000.0, 2000.0),
        outcome("upstream:hypermixing", "eager", 3000.0, 3000.0),
        outcome("summary", "compile", 2000.0, 1000.0),
        outcome("upstream:hypermixing", "eager", 6000.0, 6000.0),
    ]
    row, reference = report.rows_of(found, "upstream:hypermixing")
    assert row.audio_seconds_per_second == 20 and row.parts["step"].fastest_speed == 30
    assert reference.audio_seconds_per_second == 7.5
    assert row.ratios["speed"] == pytest.approx(8 / 3) and row.ratios["fastest speed"] == 3
    assert row.parts["step"].waiting == pytest.approx((1 / 30 + 2 / 30) / 2)
    failed = report.rows_of([Outcome(CASE, "fails", "out of memory")], "summary")
    assert "[1] summary 3 s: out of memory" in columns.text_table(failed, "summary")


def test_speechbrain_is_given_the_same_tensors(make_case: MakeCase) -> None:
    loader = recipe.load(make_case("summary")).loader()
    draws = [draw for step in range(loader.steps.steps) for draw in loader.steps.pieces(step)[0]]
    batch = collate([loader.dataset[draw] for draw in draws])
    given = upstream.Labelled.of(batch, "cpu")
    assert (given.shares_b * given.samples_bs.shape[1]).round().long().tolist() == batch.lengths_b.tolist()
    counts = (given.token_shares_b * given.tokens_bl.shape[1]).round().long()
    assert counts.tolist() == batch.token_lengths_b.tolist()
    inside = (given.ended_shares_b * given.ended.shape[1]).round().long()
    for row, target, length in zip(given.ended, batch.decoder_target(), inside, strict=True):
        assert torch.equal(row[:length], target[:length]) and not (target[:length] == IGNORE).any()
        assert not row[length:].any()


def test_speechbrain_masks_as_widely() -> None:
    augment = upstream.spec_augment(
        SpecAugment(time_warp=0, freq_masks=1, freq_mask_width=3, time_masks=0, time_mask_width=9)
    )
    widths = set()
    for seed in range(60):
        torch.manual_seed(seed)
        masked, _ = augment(torch.ones(1, 50, 20), torch.ones(1))
        widths.add(int((masked[0, 0] == 0).sum()))
        assert torch.equal(masked, masked[:, :1].expand_as(masked)), "a mask of time"
    assert widths == {0, 1, 2, 3}
    assert upstream.spec_augment(SpecAugment(time_warp=0, freq_masks=0, time_masks=0)) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.yaml"], "recipe 'no.yaml' does not exist"),
        ([RECIPE, "--mixer=fourrier"], "fourrier"),
        ([RECIPE, "--d_modell=3"], "has no setting 'd_modell'"),
        ([RECIPE, "--debug"], "--debug is an option of train.py, not of bench train"),
        ([RECIPE, "--max_batch_length=auto"], "max_batch_length is auto: give the seconds of a batch"),
        ([RECIPE, "--cr_ctc_weight=0.2"], "SpeechBrain's recipe has no cr_ctc_weight"),
        ([RECIPE, "--inter_ctc_layers=[2]"], "give --inter_ctc_layers=[], or --mixers without upstream"),
        ([RECIPE, "--mixers=summary", "--against=mlp"], "--against mlp is not measured"),
        ([RECIPE, "--device=tpu"], "--device=tpu is no device"),
        ([RECIPE, "--precision=fp16"], "use bf16 on a CPU"),
        (["hparams/hyperconformer.yaml"], "data_folder is not set"),
    ],
)
def test_bad_arguments_are_answered(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "train", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_other_commands_take_no_keys_of_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "mixer", "--data_folder=x"])
    assert "unrecognized arguments: --data_folder=x" in capsys.readouterr().err
