"""What a run leaves behind for people: the closing table, the card and the rows of RESULTS.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from hyperconformer.errors import InputError
from hyperconformer.models.asr import ASR
from hyperconformer.training.record import HEADER, record_run
from hyperconformer.training.report import model_card, run_metrics
from hyperconformer.training.settings import load_settings
from hyperconformer.types import Utterance
from hyperconformer.wer_tables import closing_table, report_split

ROOT = Path(__file__).parents[2]


@pytest.fixture
def metrics(tmp_path: Path) -> dict[str, Any]:
    """Of a run with two searches, as metrics.json holds them."""
    settings = load_settings(str(ROOT / "hparams" / "mini.yaml"), {"decode": ["greedy", "joint"], "seed": 3})
    utterance = Utterance("u1", 1.0, "u.flac", "anna", "ONE TWO THREE FOUR")
    decoded = {"greedy": [(utterance, "OH ONE TOO THREE")], "joint": [(utterance, "ONE TWO THREE FOUR")]}
    splits = {"test-mini": report_split("test-mini", decoded, tmp_path)}
    found = run_metrics(settings, ASR(settings.model), 40, splits, train_hours=0.125, audio_hours=0.96)
    return json.loads(json.dumps(found))


def rows(path: Path) -> list[dict[str, str]]:
    """The table of runs, by the titles of its columns."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    titles, *cells = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return [dict(zip(titles, row, strict=True)) for row in cells]


def test_a_run_becomes_a_row_for_every_search(metrics: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text("# Results\n\nBy hand.\n")
    assert record_run(file, metrics) == 2
    greedy, joint = rows(file)
    assert list(greedy) == list(HEADER) and file.read_text().startswith("# Results\n\nBy hand.\n\n## Runs\n")
    assert greedy["WER %"] == "75.00" and greedy["S / D / I"] == "1 / 1 / 1" and greedy["words"] == "4"
    assert joint["WER %"] == "0.00" and joint["95 %"] == "0.00 - 0.00"
    assert greedy["search"] == "greedy"
    assert joint["search"] == (
        "joint (beam_size 10, ctc_weight_decode 0.6, max_decode_ratio 1.0, length_normalization True)"
    )
    for row in (greedy, joint):
        assert row["command"] == f"`{metrics['command']}`" and row["commit"] == (
            metrics["commit"] or "unknown"
        )
        assert row["seed"] == "3" and row["hardware"] == metrics["hardware"]
        assert (row["system"], row["split"]) == (metrics["name"], "test-mini")
        assert (row["audio h"], row["training h"]) == ("1.0", "0.12")
        assert row["parameters"] == f"{metrics['parameters']:,}" and len(row["date"]) == 10


def test_a_language_model_is_told_of_with_its_weights() -> None:
    asked = {"decode": ["greedy", "prefix"], "language_model": "lm", "lm_weight": 0.5, "lm_temperature": 1.2}
    settings = load_settings(str(ROOT / "hparams" / "mini.yaml"), asked)
    found = run_metrics(settings, ASR(settings.model), 40, {})["decode"]
    with_lm = {"language_model": "lm", "lm_weight": 0.5, "lm_temperature": 1.2}
    assert found == {"greedy": {}, "prefix": {"beam_size": 10, **with_lm}}


def test_a_second_run_goes_into_the_same_table(metrics: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    record_run(file, metrics)
    record_run(file, metrics | {"seed": 4, "train_hours": None})
    assert [row["seed"] for row in rows(file)] == ["3", "3", "4", "4"]
    assert rows(file)[-1]["training h"] == "-"


def test_a_file_that_cannot_be_written_is_named(metrics: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be recorded in .*no/RESULTS.md"):
        record_run(tmp_path / "no" / "RESULTS.md", metrics)


def test_table_and_card_tell_what_the_wer_is_made_of(metrics: dict[str, Any]) -> None:
    header, greedy, _ = closing_table(metrics["splits"]).splitlines()
    assert header.split()[-4:] == ["S", "D", "I", "words"] and len(header) == len(greedy)
    assert greedy.split() == ["test-mini", "greedy", "75.00", "75.00", "-", "75.00", "1", "1", "1", "4"]
    card = model_card(metrics)
    assert greedy in card and "with seed 3, in 0.12 hours." in card
    assert "hours" not in model_card(metrics | {"train_hours": None})


def test_the_hub_understands_the_head_of_the_card(metrics: dict[str, Any]) -> None:
    repocard = pytest.importorskip("huggingface_hub.repocard")
    read = repocard.ModelCard(model_card(metrics)).data
    assert (read.license, read.library_name, read.language) == ("unknown", "hyperconformer", "en")
    assert read.pipeline_tag == "automatic-speech-recognition" and "hypermixing" in read.tags
    found = {(row.dataset_name, row.metric_type, row.metric_value) for row in read.eval_results}
    assert found == {("test-mini", "wer", 75.0), ("test-mini", "wer", 0.0)}
    assert all("WER in percent, " in row.metric_name for row in read.eval_results)
    foreign = repocard.ModelCard(model_card({**metrics, "language": None, "splits": {}})).data
    assert foreign.language is None and foreign.eval_results is None


def test_only_a_known_corpus_has_a_language(metrics: dict[str, Any]) -> None:
    def language(**keys: Any) -> str | None:
        settings = load_settings(str(ROOT / "hparams" / "digits.yaml"), keys)
        return run_metrics(settings, ASR(settings.model), 40, {})["language"]

    assert metrics["language"] == "en" and language() is None
    assert language(train_splits=["train-clean-100"]) == "en"


def test_a_long_name_keeps_its_distance(metrics: dict[str, Any]) -> None:
    [row] = metrics["splits"].values()
    line = closing_table({"a-very-long-name-of-a-split": {"joint": row["joint"]}}).splitlines()[1]
    assert line.split()[:3] == ["a-very-long-name-of-a-split", "joint", "0.00"]
