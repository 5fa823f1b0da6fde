"""Prepared manifests as a run's data, and what a person is told who has none."""

from dataclasses import replace
from pathlib import Path

import pytest

from hyperconformer.data.librispeech import scan_split
from hyperconformer.data.manifest import read_manifest, write_manifest
from hyperconformer.errors import InputError
from hyperconformer.training.corpus import copy_manifests, ways_to_data
from hyperconformer.types import Utterance


@pytest.fixture
def utterances(tiny_librispeech) -> list[Utterance]:
    return scan_split(tiny_librispeech(), "train-tiny")


def test_manifests_are_copied_with_absolute_paths(utterances: list[Utterance], tmp_path: Path) -> None:
    (tmp_path / "a.flac").symlink_to(utterances[0].path)
    rows = [replace(utterances[0], path="a.flac"), *utterances[1:]]
    write_manifest(tmp_path / "train.csv", rows)
    copies = copy_manifests(tmp_path, ["train"], tmp_path / "run")
    assert copies == {"train": tmp_path / "run" / "train.csv"}
    expected = [replace(rows[0], path=str(tmp_path / "a.flac")), *utterances[1:]]
    assert read_manifest(copies["train"]) == expected


def test_manifests_that_are_of_no_use(utterances: list[Utterance], tmp_path: Path) -> None:
    write_manifest(tmp_path / "empty.csv", [])
    write_manifest(tmp_path / "gone.csv", [utterances[0], replace(utterances[1], path="/gone.flac")])
    write_manifest(tmp_path / "good.csv", utterances)
    for split, complaint in (
        ("empty", r"empty.csv' has no utterances: prepare it again"),
        ("gone", r"gone.csv' names 1 audio files of 2 that are gone, e.g. '/gone.flac': mount their disk"),
        ("none", r"none.csv' cannot be read \(No such file or directory\): prepare the data first"),
    ):
        with pytest.raises(InputError, match=complaint):
            copy_manifests(tmp_path, ["good", split], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ways_to_data_offer_a_download_of_what_there_is_one() -> None:
    assert "--download --splits train-clean-5 dev-clean-2 &&" in ways_to_data(
        "x.yaml", ["train-clean-5", "dev-clean-2"]
    )
    others = ways_to_data("x.yaml", ["train", "test-clean"])
    assert "--download" not in others
    assert "prepare custom SOURCE --output data/mine --split NAME, and python train.py x.yaml" in others
