"""GLUE and SNLI as Hugging Face's library keeps them: from folders, from its cache, and from nowhere."""

import gzip
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hyperconformer.data.glue import GLUE, GlueSet, read_glue
from hyperconformer.data.labelled import LabelledText
from hyperconformer.errors import InputError

datasets = pytest.importorskip("datasets")

Rows = list[dict[str, Any]]


def rows_of(one: GlueSet, split: str, count: int = 200) -> Rows:
    """Texts that tell their split and number; classes in turn."""
    return [
        {column: f"{split} {column} {n}" for column in one.columns} | {"label": n % len(one.labels), "idx": n}
        for n in range(count)
    ]


def data_of(one: GlueSet, rows: Rows, *, named: bool = True) -> Any:
    """A data set of the library, whose classes have names or not."""
    data = datasets.Dataset.from_list(rows)
    return data.cast_column("label", datasets.ClassLabel(names=list(one.labels))) if named else data


def as_saved(folder: Path, one: GlueSet, splits: Mapping[str, Rows]) -> Path:
    data = {split: data_of(one, rows) for split, rows in splits.items()}
    datasets.DatasetDict(data).save_to_disk(folder)
    return folder


def as_saved_splits(folder: Path, one: GlueSet, splits: Mapping[str, Rows]) -> Path:
    for split, rows in splits.items():
        data_of(one, rows).save_to_disk(folder / split)
    return folder


def as_parquet(folder: Path, one: GlueSet, splits: Mapping[str, Rows]) -> Path:
    for split, rows in splits.items():
        data_of(one, rows, named=False).to_parquet(folder / f"{split}.parquet")
    return folder


def as_repository(folder: Path, one: GlueSet, splits: Mapping[str, Rows]) -> Path:
    """A copy of the hub's repository: a folder a configuration, numbered files."""
    for split, rows in splits.items():
        for shard in (0, 1):
            file = folder / one.config / f"{split}-0000{shard}-of-00002.parquet"
            half = len(rows) // 2
            data_of(one, rows[half:] if shard else rows[:half]).to_parquet(file)
    return folder


def as_json(folder: Path, one: GlueSet, splits: Mapping[str, Rows]) -> Path:
    folder.mkdir(exist_ok=True)
    for split, rows in splits.items():
        lines = [json.dumps(row | {"label": one.labels[row["label"]]}) for row in rows]
        (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


FORMS = [as_saved, as_saved_splits, as_parquet, as_repository, as_json]


@pytest.mark.parametrize("name", list(GLUE))
@pytest.mark.parametrize("form", FORMS)
def test_what_was_written_is_read(
    tmp_path: Path, name: str, form: Callable[[Path, GlueSet, Mapping[str, Rows]], Path]
) -> None:
    one = GLUE[name]
    written = {split: rows_of(one, split) for split in one.splits}
    corpus = read_glue(name, form(tmp_path / "data", one, written))

    def texts(split: str) -> list[LabelledText]:
        return [
            LabelledText(
                row[one.columns[0]],
                one.labels[row["label"]],
                row[one.columns[1]] if len(one.columns) == 2 else "",
            )
            for row in written[split]
        ]

    assert {test: list(some) for test, some in corpus.tests.items()} == {
        test: texts(split) for test, split in one.tests.items()
    }
    assert corpus.labels == tuple(sorted(one.labels)) and corpus.texts == len(one.columns)
    if one.valid:
        assert list(corpus.train) == texts("train") and list(corpus.valid) == texts(one.valid)
    else:
        assert 0 < len(corpus.valid) < 12
        assert sorted([*corpus.train, *corpus.valid], key=repr) == sorted(texts("train"), key=repr)


def test_texts_without_label_or_words_are_left_out_and_counted(tmp_path: Path, caplog) -> None:
    one = GLUE["snli"]
    splits = {split: rows_of(one, split, 6) for split in one.splits}
    splits["train"][1]["label"] = splits["train"][4]["label"] = -1
    splits["train"][2]["hypothesis"] = ""
    splits["test"][0]["premise"] = None
    with caplog.at_level(logging.INFO):
        corpus = read_glue("snli", as_parquet(tmp_path, one, splits))
    assert [one.second[-1] for one in corpus.train] == ["0", "3", "5"] and len(corpus.tests["test"]) == 5
    assert [record.getMessage() for record in caplog.records if "Left out" in record.getMessage()] == [
        "Left out 3 of 6 texts of snli, train: no label, or no words",
        "Left out 1 of 6 texts of snli, test: no label, or no words",
    ]


def test_classes_go_by_the_names_that_the_data_give(tmp_path: Path) -> None:
    one = GLUE["sst2"]
    for split in one.splits:
        data = datasets.Dataset.from_list([{"sentence": "good", "label": 0}, {"sentence": "bad", "label": 1}])
        turned = data.cast_column("label", datasets.ClassLabel(names=["positive", "negative"]))
        turned.save_to_disk(tmp_path / split)
    assert [one.label for one in read_glue("sst2", tmp_path).tests["dev"]] == ["positive", "negative"]


def test_faults_are_named(tmp_path: Path) -> None:
    one = GLUE["sst2"]
    good = rows_of(one, "train", 4)

    def complaint(train: Rows) -> str:
        with pytest.raises(InputError) as raised:
            read_glue("sst2", as_parquet(tmp_path, one, {"train": train, "validation": good}))
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "sst2, train, row 2: the label 7 is none of negative, positive" in complaint(
        [good[0], good[1] | {"label": 7}]
    )
    assert "train.parquet: no column 'sentence' among text, label: rename one" in complaint(
        [{"text": "a", "label": 1}]
    )
    assert "sst2, train: none of 1 rows has words and a label" in complaint([{"sentence": "a", "label": -1}])
    (tmp_path / "train.parquet").write_bytes(b"noise")
    with pytest.raises(InputError, match=r"sst2 in '.*' cannot be opened \(.*\): copy it again"):
        read_glue("sst2", tmp_path)
    (tmp_path / "train.parquet").unlink()
    with pytest.raises(
        InputError, match=r"no split 'train' of sst2 in '.*': the folder must hold train, validation, each as"
    ):
        read_glue("sst2", tmp_path)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install \"hyperconformer\[hf\]\""):
        read_glue("sst2")


def fill_cache(cache: Path, one: GlueSet) -> None:
    """Leave in the library's cache what it leaves there after fetching."""
    name = one.repository.split("/")[1]
    folder = cache / one.repository.replace("/", "___") / one.config / "0.0.0" / ("0" * 40)
    folder.mkdir(parents=True)
    data = {split: data_of(one, rows_of(one, split)) for split in one.splits}
    for split, some in data.items():
        some.save_to_disk(folder / "scratch")
        [file] = (folder / "scratch").glob("*.arrow")
        file.rename(folder / f"{name}-{split}.arrow")
    splits = {
        split: datasets.SplitInfo(split, 1, len(some), dataset_name=name) for split, some in data.items()
    }
    info = datasets.DatasetInfo(
        features=data["train"].features,
        builder_name="parquet",
        dataset_name=name,
        config_name=one.config,
        version="0.0.0",
        splits=datasets.splits.SplitDict(splits, dataset_name=name),
    )
    info.write_to_directory(folder)


PROBE = """
import sys
from hyperconformer.data.text_corpora import TextSource, read_corpus
from hyperconformer.errors import InputError
for name in sys.argv[1:]:
    try:
        corpus = read_corpus(TextSource(name))
        print(name, len(corpus.train) + len(corpus.valid), *corpus.tests, sep="|")
    except InputError as error:
        print(error)
"""


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_offline_the_cache_is_used_and_what_it_lacks_is_named(tmp_path: Path, variable: str) -> None:
    fill_cache(tmp_path / "datasets", GLUE["mnli"])
    offline = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    offline |= {"HF_HOME": str(tmp_path), variable: "1"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "mnli", "snli", "sst2"], env=offline, capture_output=True, text=True
    )
    assert time.monotonic() - began < 60
    found, *lacking = done.stdout.splitlines()
    assert found == "mnli|200|matched|mismatched", done.stdout + done.stderr
    for line, name in zip(
        lacking, ("snli (stanfordnlp/snli, plain_text)", "sst2 (nyu-mll/glue, sst2)"), strict=True
    ):
        assert line.startswith(
            f"{name} is neither in the cache of Hugging Face's datasets nor can it be fetched"
        )
        assert "point --data_folder at a folder with train, validation" in line
