"""Bench contest: equal systems, what decides a training, joined recordings, intervals, the report."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from hyperconformer.bench.contest import child, run
from hyperconformer.bench.contest.entries import Entry, Part, read_budgets, read_entries
from hyperconformer.bench.contest.figures import draw_epochs, draw_lengths
from hyperconformer.bench.contest.found import ContestFound, Judged
from hyperconformer.bench.contest.plan import Ground, Planner, look_at
from hyperconformer.bench.contest.scores import LOSS, rate_measure, score_growth, score_systems
from hyperconformer.bench.contest.sizes import TOLERANCE, count_weights, equal_config
from hyperconformer.bench.contest.tables import joined_table, log_table, main_table, speed_table
from hyperconformer.bench.contest.task import MODULES
from hyperconformer.bench.contest.verdicts import verdict_table
from hyperconformer.bench.trainings import jobs
from hyperconformer.bench.trainings.planned import Planned
from hyperconformer.bench.trainings.runs import Run
from hyperconformer.bench.trainings.sizes import Unequal
from hyperconformer.cli import main
from hyperconformer.errors import InputError
from hyperconformer.models.config import ModelConfig
from hyperconformer.scoring import score
from hyperconformer.significance import compare_runs
from hyperconformer.training.progress import Stopped, TooLittleMemory, TooManySkipped
from hyperconformer.training.recipe import build_settings, read_recipe
from hyperconformer.training.settings import Settings, load_settings
from hyperconformer.types import Utterance

FOLDER = Path("recipes/LibriSpeech/contest")
BUDGETS = read_budgets(FOLDER / "budgets.yaml")
RECIPES = sorted({part.recipe for budget in BUDGETS.values() for part in budget.parts.values()})
TABLES = {name: read_entries(FOLDER / f"{name}.yaml") for name in ("systems", "dials")}
SMALL = ModelConfig(
    output_neurons=30, d_model=16, nhead=2, d_ffn=200, num_encoder_layers=1, num_decoder_layers=1
)


def ground_of(recipe: str = "hparams/mini.yaml", data: str = "data", **overrides: object) -> Ground:
    """A recipe as if its data had been looked at."""
    values = read_recipe(recipe, overrides)
    return Ground("part", recipe, overrides, values, build_settings(Settings, values, recipe), data)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("table", TABLES)
def test_all_entries_are_equally_large_recipes(table: str, recipe: str) -> None:
    reference, *others = TABLES[table].values()
    assert reference == Entry("ours", {})
    ground = ground_of(recipe)
    wanted = count_weights(ground.settings.model, "ours")
    for planned in Planner([reference, *others], reference, [1], "cpu", "fp32").runs(ground):
        assert planned.unfit == "", planned.unfit
        decided, modules = planned.run.decided, planned.run.further["modules"]
        config = ModelConfig(**{k: v for k, v in decided.items() if k in ModelConfig.__dataclass_fields__})
        assert abs(count_weights(config, modules) / wanted - 1) <= TOLERANCE, planned.system
        # Nothing of a system but its own keys and its width differs from the recipe.
        changed = {key for key, value in decided.items() if value != ground.settings.plain()[key]}
        keys = {*TABLES[table][planned.system].keys, "d_ffn", "seed", "output_folder", "mixer_options"}
        assert changed <= keys, planned.system


@pytest.mark.parametrize("modules", MODULES)
def test_weights_are_counted_as_they_are(modules: str) -> None:
    built = MODULES[modules](SMALL)
    assert count_weights(SMALL, modules) == sum(weight.numel() for weight in built.parameters())


def test_a_system_that_cannot_be_as_large_is_a_row_that_says_why() -> None:
    entries = [Entry("ours", {}), Entry("wide", {"d_model": 256, "nhead": 4})]
    with pytest.raises(Unequal, match=r"wide has \+\d+\.\d% weights, more than 3% off"):
        equal_config(SMALL, entries[1], entries[0])
    ours, wide = Planner(entries, entries[0], [1], "cpu", "fp32").runs(ground_of(d_model=16, d_ffn=16))
    assert ours.unfit == "" and wide.unfit.startswith("wide has")


def test_what_decides_a_run_is_its_key(tmp_path: Path) -> None:
    entries = [Entry("ours", {}), Entry("same", {}), Entry("theirs", {}, "speechbrain")]
    runs = Planner(entries, entries[0], [1, 2], "cpu", "fp32").runs(ground_of())
    keys = [one.run.key for one in runs]
    assert keys[0] == keys[1] and len(set(keys)) == 4
    there = Planner(entries, entries[0], [1], "cpu", "fp32").runs(ground_of(output_folder=str(tmp_path)))
    # Its size does not depend on who else is asked for.
    alone = Planner(entries[2:], entries[0], [1], "cpu", "fp32").runs(ground_of())
    assert alone[0].run.key == keys[2]
    other = Planner(entries, entries[0], [1], "cpu", "fp32").runs(ground_of(data="other"))
    assert there[0].run.key == keys[0] != other[0].run.key


def test_data_is_looked_at_wherever_it_lies(tiny_librispeech, tmp_path: Path) -> None:
    data_folder = tiny_librispeech()
    part = Part("hparams/digits.yaml", "digits")
    splits = {"train_splits": ["train-tiny"], "test_splits": ["test-tiny"]}
    here = look_at("digits", part, str(data_folder), splits)
    (tmp_path / "digits").symlink_to(data_folder)
    beneath = look_at("digits", part, str(tmp_path), splits)
    assert here.data == beneath.data and beneath.overrides["data_folder"] == str(tmp_path / "digits")
    transcript = next((data_folder / "test-tiny").rglob("*.trans.txt"))
    transcript.write_text(transcript.read_text().rstrip() + " TEN\n", encoding="utf-8")
    assert look_at("digits", part, str(data_folder), splits).data != here.data


def marked(
    *edits: list[int], loss: float = 1.0, joined: dict[str, list[int]] | None = None, **further: object
) -> list[ContestFound]:
    """Runs with so many wrong words of ten in each recording, and as many characters of forty."""

    def tested(row: list[int]) -> Judged:
        of_search = {"greedy": row}
        count = len(row)
        return Judged(
            f"{count} recordings",
            9.0 * count,
            [10] * count,
            [40] * count,
            of_search,
            of_search,
            [loss] * count,
        )

    joined = joined or {"15": [3, 3], "120": [4, 4]}
    tests = {length: tested(row) for length, row in joined.items()}
    return [
        ContestFound(
            "k", "ok", splits={"valid": tested(row), "test": tested(row)}, joined=tests, parameters=7,
            train_seconds=60.0, audio_rate=80.0, peak_mib=900.0, epochs=[3.0, loss],
            encoder_rates={"5": 300.0, "120": 400.0 / loss},
        )
        for row in edits
    ]  # fmt: skip


def said_with(errors: int) -> str:
    return " ".join(["NO"] * errors + ["YES"] * (10 - errors))


def test_differences_are_those_of_compare() -> None:
    rng = np.random.default_rng(0)
    rows = {
        name: [rng.binomial(10, p, 40).tolist() for _ in range(3)] for name, p in (("a", 0.4), ("b", 0.3))
    }
    reports = {
        name: [
            score(
                [
                    (Utterance(f"{n:02}", 1.0, "", f"{n:02}", said_with(0)), said_with(e))
                    for n, e in enumerate(row)
                ],
                "test",
            )
            for row in of
        ]
        for name, of in rows.items()
    }  # fmt: skip
    truth = compare_runs(reports["a"], reports["b"])
    scores = score_systems(
        {name: marked(*of) for name, of in rows.items()}, rate_measure("WER", "test", "greedy"), "a"
    )
    against = scores["b"].against
    assert against is not None and scores["a"].against is None
    assert against == pytest.approx((truth.difference, truth.low, truth.high))
    assert scores["b"].mean.value == pytest.approx(truth.wer_b) and len(scores["b"].values) == 3


def test_intervals_hold_the_spread_of_seeds() -> None:
    ours, wer = marked([3] * 9, [3] * 9), rate_measure("WER", "test", "greedy")
    for other, clear in ((marked([4] * 9, [4] * 9), True), (marked([2] * 9, [6] * 9), False)):
        against = score_systems({"a": ours, "b": other}, wer, "a")["b"].against
        assert against is not None and against.value == pytest.approx(0.1) and (against.low > 0) is clear


def test_systems_with_another_test_are_left_out() -> None:
    scores = score_systems({"a": marked([3, 3]), "b": marked([3, 3, 3])}, LOSS, "a")
    assert list(scores) == ["a"]


def test_growth_is_of_the_same_utterances() -> None:
    # They differ much in how hard they are, which is nothing to growth.
    hard = list(range(5)) * 4
    runs = {
        "ours": marked([3], [3], joined={"15": hard, "120": [one + 1 for one in hard]}),
        "other": marked([3], [3], joined={"15": hard, "120": [one + 5 for one in hard]}),
    }
    runs["deaf"] = [
        replace(one, joined={**one.joined, "120": Judged(note="120.0 s: no memory")}) for one in runs["ours"]
    ]
    scores = score_growth(runs, "WER", ("15", "120"), "ours")
    assert set(scores) == {"ours", "other"}
    assert scores["ours"].mean == pytest.approx((0.1, 0.1, 0.1))
    assert scores["other"].against == pytest.approx((0.4, 0.4, 0.4))


def contest_of(**systems: list[ContestFound]) -> tuple[list[Planned], dict[str, ContestFound]]:
    """Plan and findings of made-up runs."""
    planned, found = [], {}
    for system, own in systems.items():
        for seed, one in enumerate(own):
            made = Run(
                f"{system}, seed {seed}",
                "x.yaml",
                {},
                "cpu",
                "fp32",
                {"d_ffn": 8, "system": system, "seed": seed},
            )
            planned.append(Planned(system.replace("_", "-"), "part", seed, made))
            found[made.key] = replace(one, key=made.key)
    return planned, found


def test_the_report_of_made_up_runs(tmp_path: Path) -> None:
    worse = {"loss": 2.0, "joined": {"15": [3, 3], "120": [9, 9]}}
    planned, found = contest_of(
        ours=marked([1] * 9, [2] * 9), identity=marked([3] * 9, [4] * 9, **worse),
        attention=marked([1] * 9, [2] * 9), speechbrain=marked([5] * 9, [5] * 9, **worse),
        ours_form=marked([1] * 9, [2] * 9, encoder_rates={"120": 1e6}),
    )  # fmt: skip
    gone = next(key for key, one in zip(found, planned, strict=True) if one.system == "speechbrain")
    found[gone] = ContestFound(gone, "diverged", "10 steps in a row were skipped")
    table = main_table("### part", planned, found, "ours")
    rows = {row["system"]: row for row in table.dicts()}
    assert rows["identity"]["valid loss"] == "2.00 (2.00 to 2.00)" and rows["identity"]["- ours"].startswith(
        "+1.00"
    )
    assert rows["ours"]["test greedy WER %"].startswith("15.00 (") and rows["ours"]["- ours"] == "-"
    assert rows["speechbrain"]["seeds"] == "1 of 2" and "diverged: 10 steps" in table.notes[0]
    claims = {
        row["claim"]: (row["by its interval"], row["holds"])
        for row in verdict_table("### v", planned, found, "ours").dicts()
    }
    assert claims["ours beats identity: valid loss"] == ("ours better", "yes")
    assert claims["ours is not behind attention: valid loss"] == ("no difference shown", "yes")
    assert claims["ours beats identity: test greedy WER %"][1] == "yes"
    assert claims["from 15 to 120 s ours loses less WER than speechbrain"] == ("ours better", "yes")
    fastest = "ours is the fastest mixing system at 120 s (next: attention)"
    assert claims[fastest] == ("-", "open") and not any("summary" in claim for claim in claims)
    joined = {
        (row["system"], row["rate"]): row for row in joined_table("### j", planned, found, "ours").dicts()
    }
    assert joined["identity", "WER %"]["15 to 120 s"].startswith("+60.00")
    assert joined["identity", "CER %"]["that - ours"].startswith("+12.50")
    assert speed_table("### s", planned, found, "ours").rows[1] == ["identity", "80", "300", "200"]
    logged = log_table("### t", planned, found, "ours")
    assert logged.header[4:] == ["pass 1", "pass 2", "averaged"]
    assert ["identity", "1", "0", "60", "3.00", "2.00", "2.00"] in logged.rows and len(logged.rows) == 9
    draw_lengths(planned, found, tmp_path, "length")
    draw_epochs(planned, found, tmp_path, "epochs")
    assert "identity" in (tmp_path / "epochs.svg").read_text() or (tmp_path / "epochs.png").stat().st_size


def test_dials_are_told_beside_ours_and_claim_nothing(
    tiny_librispeech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []

    def train(runs: list[Run], *_: object) -> dict[str, ContestFound]:
        trained.extend(one.name for one in runs)
        return {one.key: replace(marked([1, 2])[0], key=one.key) for one in runs}

    monkeypatch.setattr(jobs, "train_all", train)
    data_folder = tiny_librispeech(splits={"train-digits": 4, "test-digits": 2})
    given = ["bench", "contest", "--parts=digits", f"--data_folder={data_folder}", f"--output={tmp_path}"]
    assert main([*given, "--dials", "tied", "heads 2", "--seeds=3", "--lr=0.001"]) == 0
    said = capsys.readouterr().out
    assert trained == [f"digits, {name}, seed 3" for name in ("ours", "heads 2", "tied")]
    assert "### digits, cpu, dials, speed" in said and "verdicts" not in said
    report = json.loads((tmp_path / "digits_dials.json").read_text())
    assert [row["system"] for row in report["rows"]] == ["ours", "heads 2", "tied"]
    assert "--dials tied 'heads 2'" in report["command"] and "--lr=0.001" in report["command"]
    assert report["notes"] == ["one seed: intervals are over recordings alone"]
    assert main([*given, "--systems", "ours", "identity", f"--record={tmp_path}/RESULTS.md"]) == 0
    assert "### digits, cpu, verdicts" in (tmp_path / "RESULTS.md").read_text()
    assert len(trained) == 3 + 2 * 2 and "verdicts" in capsys.readouterr().out
    # No claim is about a system that is not ours.
    assert main([*given, "--systems", "identity", "attention"]) == 0
    said = capsys.readouterr().out
    assert "verdicts" not in said and "- attention" in said


def test_a_rival_with_another_learning_rate_is_held_to_the_same_claim() -> None:
    ours, rival = marked([2] * 9, [2] * 9), marked([1] * 9, [1] * 9, loss=0.5)
    planned, found = contest_of(ours=ours, identity=marked([3] * 9), speechbrain_lr_0=rival, mine=rival)
    claims = {row["claim"]: row["holds"] for row in verdict_table("### v", planned, found, "ours").dicts()}
    assert claims["ours beats speechbrain-lr-0: valid loss"] == "no"
    # Half of what mixing gains, of three to two words in ten, is as far as "not behind" goes.
    assert claims["ours is not behind mine: test greedy WER %"] == "no"
    assert claims["from 15 to 120 s ours loses less CER than speechbrain-lr-0"] == "no"


def test_what_cannot_be_compared_is_said_to_be_open() -> None:
    planned, found = contest_of(
        ours=marked([2] * 9),
        identity=marked([2] * 8),
        speechbrain=marked([9] * 9, joined={"15": [3] * 3, "120": [4] * 3}),
        ours_upstream_init=marked([9] * 9, joined={"15": [10] * 2, "120": [10] * 2}),
    )
    claims = {row["claim"]: row for row in verdict_table("### v", planned, found, "ours").dicts()}
    for claim in (
        "ours beats identity: test greedy WER %",
        "from 15 to 120 s ours loses less WER than speechbrain",
    ):
        row = claims[claim]
        assert [row["difference"], row["by its interval"], row["holds"]] == ["-", "not compared", "open"]
    # Who reads nothing has nothing to lose in long recordings.
    assert not any("loses less" in claim and "upstream-init" in claim for claim in claims)


def test_a_reference_that_failed_is_compared_with_nothing() -> None:
    planned, found = contest_of(ours=marked([1] * 9), identity=marked([3] * 9))
    found[planned[0].run.key] = ContestFound(planned[0].run.key, "fails", "bad luck")
    rows = {row["system"]: row for row in main_table("### part", planned, found, "ours").dicts()}
    assert rows["ours"]["valid loss"] == rows["identity"]["- ours"] == "-"
    assert verdict_table("### v", planned, found, "ours").rows == []


def test_findings_are_read_back_from_their_line() -> None:
    (found,) = marked([1, 2])
    again = ContestFound.from_dict(json.loads(json.dumps(asdict(found))))
    assert again == found and str(again) == "valid loss 1, test greedy WER 15.00 %, 60 s"


@pytest.mark.parametrize(
    "ending", [TooManySkipped("skipped"), TooLittleMemory("no memory"), Stopped("stopped")]
)
def test_how_a_training_can_end(ending: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def end(*_: object) -> None:
        raise ending

    monkeypatch.setattr(child, "run_task", end)
    (tmp_path / "run").mkdir()
    asked = {
        "key": "k", "recipe": "hparams/mini.yaml", "overrides": {"output_folder": str(tmp_path / "run")},
        "run_options": {"device": "cpu"}, "further": {"modules": "ours"},
    }  # fmt: skip
    if type(ending) is TooManySkipped:
        assert child.train(asked) == ContestFound("k", "diverged", "skipped")
        return
    with pytest.raises(type(ending)):
        child.train(asked)
    # Whoever goes on knows how much memory it took.
    assert (tmp_path / "run" / "peak.json").is_file() == isinstance(ending, Stopped)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget=tpu"], "--budget tpu: choose from cpu, gpu"),
        (["--parts=songs"], "--parts songs: choose from digits, mini, slice"),
        (["--systems=rnn"], "--systems rnn: choose from ours, ours-upstream-init"),
        (["--systems=ours", "--dials"], "--dials are changes of our system: leave --systems away"),
        (["--dials", "colour"], "--dials colour: choose from ours, init fan"),
        (["--seeds=x"], "--seeds x: give numbers from 0"),
        (["--parts=slice", "--mixer=mlp"], "--mixer is not for bench contest"),
        (["--parts=slice", "--learning_rate=1"], "has no setting 'learning_rate'"),
        (["--parts=slice", "--debug"], "--debug is an option of train.py"),
        (["--parts=slice"], "data_folder is not set"),
        (["--recipes=no/such"], "--recipes no/such is no folder"),
    ],
)
def test_bad_arguments_are_answered_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "contest", f"--output={tmp_path}", *arguments]) == 2
    said = capsys.readouterr().err.splitlines()
    assert any(message in line for line in said) and sum(line.startswith("error") for line in said) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- ours", "must hold a mapping for each name"),
        ("ours: {modules: espnet}", "modules 'espnet' of ours: choose from ours, speechbrain"),
        ("ours: {", "cannot be read"),
    ],
)
def test_a_faulty_table_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "systems.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_entries(tmp_path / "systems.yaml")


def test_a_budget_without_recipes_is_named(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text("cpu: {seeds: [1]}")
    with pytest.raises(InputError, match="budget cpu needs seeds, and parts with a recipe each"):
        read_budgets(tmp_path / "budgets.yaml")


def test_all_recipes_of_the_contest_can_be_read() -> None:
    for recipe in RECIPES:
        settings = load_settings(recipe, {})
        assert settings.name.startswith("contest_") and settings.decode[0] == "greedy"
    assert {file.name for file in FOLDER.glob("*.yaml")} == {
        "systems.yaml", "dials.yaml", "budgets.yaml", *(Path(recipe).name for recipe in RECIPES)
    }  # fmt: skip
    assert run.TABLES.keys() == {"", "joined recordings", "speed", "trainings", "verdicts"}
