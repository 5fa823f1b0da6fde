"""GLUE's SST-2, QQP, QNLI and MNLI, and SNLI: by Hugging Face's library ``datasets``, or from a folder."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from hyperconformer.data.hugging_face import import_datasets, open_data
from hyperconformer.data.labelled import LabelledCorpus, LabelledText, check_characters, hold_out
from hyperconformer.data.tables import json_lines
from hyperconformer.errors import InputError, one_line

logger = logging.getLogger(__name__)

HELD_OUT = 0.02
"""Of the training texts, where the split to validate by is the one that is tested on."""

_ENTAILMENT = ("entailment", "neutral", "contradiction")

Row = tuple[Any, Any, Any]
"""Text, second text and label as they are written."""


@dataclass(frozen=True)
class GlueSet:
    """What one of the corpora is called, and what is in it.

    Attributes
    ----------
    repository, config : str
        Of the Hugging Face hub.
    columns : tuple of str
        The texts: one, or two of a pair.
    labels : tuple of str
        By number.
    tests : mapping of str to str
        Our name to its split. GLUE's own test splits have no labels, so these are its validation splits.
    valid : str
        Its split to validate by; empty where a part of the training split is held out.

    Examples
    --------
    >>> GLUE["qnli"].splits
    ('train', 'validation')
    """

    repository: str
    config: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    tests: Mapping[str, str] = field(default_factory=lambda: {"dev": "validation"})
    valid: str = ""

    @property
    def splits(self) -> tuple[str, ...]:
        """All that are needed."""
        return ("train", *filter(None, [self.valid]), *self.tests.values())


_GLUE = "nyu-mll/glue"
GLUE: Mapping[str, GlueSet] = {
    "sst2": GlueSet(_GLUE, "sst2", ("sentence",), ("negative", "positive")),
    "qqp": GlueSet(_GLUE, "qqp", ("question1", "question2"), ("not_duplicate", "duplicate")),
    "qnli": GlueSet(_GLUE, "qnli", ("question", "sentence"), ("entailment", "not_entailment")),
    "mnli": GlueSet(
        _GLUE,
        "mnli",
        ("premise", "hypothesis"),
        _ENTAILMENT,
        {"matched": "validation_matched", "mismatched": "validation_mismatched"},
    ),
    "snli": GlueSet(
        "stanfordnlp/snli",
        "plain_text",
        ("premise", "hypothesis"),
        _ENTAILMENT,
        {"test": "test"},
        valid="validation",
    ),
}


def read_glue(name: str, data_folder: Path | None = None) -> LabelledCorpus:
    """Read a corpus; what is fetched is kept by the library, and taken from there the next time.

    Parameters
    ----------
    name : str
        A key of :data:`GLUE`.
    data_folder : Path or None
        Folder with the splits: each a ``save_to_disk`` folder, Parquet files or a ``.jsonl``, or all
        together a ``save_to_disk`` folder. None asks the Hugging Face hub, or the library's cache.

    Returns
    -------
    LabelledCorpus

    Raises
    ------
    InputError
        If the library is missing, the data are neither there nor to be had, or something in them is faulty.

    References
    ----------
    GLUE: arXiv 1804.07461; MNLI: arXiv 1704.05426; SNLI: arXiv 1508.05326.

    Examples
    --------
    >>> read_glue("sst2", Path("nowhere"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: no split 'train' of sst2 in 'nowhere': the folder must hold train, ...
    """
    one = GLUE[name]
    rows = _on_disk(name, data_folder) if data_folder else _fetched(name)
    texts = {split: _texts(rows[split], one, f"{name}, {split}") for split in one.splits}
    tests = {test: texts[split] for test, split in one.tests.items()}
    if one.valid:
        return LabelledCorpus(texts["train"], texts[one.valid], tests)
    train, valid = hold_out(texts["train"], HELD_OUT)
    return LabelledCorpus(train, valid, tests)


def _texts(rows: Iterator[Row], one: GlueSet, where: str) -> list[LabelledText]:
    """Those that have words and a class: annotators may not agree, and a few questions are empty."""
    texts = []
    count = 0
    for count, (text, second, number) in enumerate(rows, start=1):
        label = _label(number, one.labels, f"{where}, row {count}")
        words = [" ".join(str(part or "").split()) for part in (text, second)][: len(one.columns)]
        if label and all(words):
            for part in words:
                check_characters(part, f"{where}, row {count}")
            texts.append(LabelledText(words[0], label, words[1] if len(words) == 2 else ""))
    if len(texts) < count:
        logger.info("Left out %d of %d texts of %s: no label, or no words", count - len(texts), count, where)
    if not texts:
        raise InputError(f"{where}: none of {count} rows has words and a label: give another folder")
    return texts


def _label(value: Any, labels: Sequence[str], where: str) -> str:
    """Its name; empty where the corpus says that it has none."""
    if value in (-1, None, "", "-"):
        return ""
    if isinstance(value, int) and 0 <= value < len(labels):
        return labels[value]
    if value in labels:
        return str(value)
    raise InputError(f"{where}: the label {value!r} is none of {', '.join(labels)}: correct it")


def _fetched(name: str) -> dict[str, Iterator[Row]]:
    """By the library, which asks the hub unless HF_HUB_OFFLINE or HF_DATASETS_OFFLINE forbids it."""
    one = GLUE[name]
    datasets = import_datasets()
    try:
        data = datasets.load_dataset(one.repository, one.config)
        missing = [split for split in one.splits if split not in data]
        if missing:
            raise KeyError(f"no split {missing[0]}")
    except (OSError, ValueError, KeyError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{name} ({one.repository}, {one.config}) is neither in the cache of Hugging Face's datasets nor "
            f"can it be fetched ({one_line(error, 200)}): fetch it once with a network, or point "
            f"--data_folder at a folder with {_wanted(one)}"
        ) from error
    return {split: _data_rows(data[split], one, f"{name}, {split}") for split in one.splits}


def _on_disk(name: str, folder: Path) -> dict[str, Iterator[Row]]:
    one = GLUE[name]
    try:
        return {split: _split_on_disk(name, folder, split) for split in one.splits}
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{name} in {str(folder)!r} cannot be opened ({one_line(error, 200)}): copy it again"
        ) from error


def _wanted(one: GlueSet) -> str:
    return f"{', '.join(one.splits)}, each as .parquet, .jsonl or a save_to_disk folder"


def _split_on_disk(name: str, folder: Path, split: str) -> Iterator[Row]:
    """In the folder itself, or as in the hub's repository in one called as the configuration."""
    one = GLUE[name]
    for root in (folder, folder / one.config):
        for reader in (_saved, _parquet, _json):
            rows = reader(root, split, one)
            if rows is not None:
                return rows
    raise InputError(f"no split {split!r} of {name} in {str(folder)!r}: the folder must hold {_wanted(one)}")


def _saved(root: Path, split: str, one: GlueSet) -> Iterator[Row] | None:
    if (root / "dataset_dict.json").is_file():
        data = open_data(import_datasets(), root)
        return _data_rows(data[split], one, str(root / split)) if split in data else None
    if (root / split).is_dir():
        return _data_rows(open_data(import_datasets(), root / split), one, str(root / split))
    return None


def _parquet(root: Path, split: str, one: GlueSet) -> Iterator[Row] | None:
    """One file, or numbered ones as the hub has them."""
    files = [*sorted(root.glob(f"{split}.parquet")), *sorted(root.glob(f"{split}-*.parquet"))]
    datasets = import_datasets() if files else None
    return (
        chain(*(_data_rows(open_data(datasets, file), one, str(file)) for file in files)) if files else None
    )


def _json(root: Path, split: str, one: GlueSet) -> Iterator[Row] | None:
    file = next(
        (root / f"{split}{end}" for end in (".jsonl", ".jsonl.gz") if (root / f"{split}{end}").is_file()),
        None,
    )
    return None if file is None else (_row(row, one, where) for where, row in json_lines(file))


def _row(row: Mapping[str, Any], one: GlueSet, where: str) -> Row:
    _check_columns(row, one, where)
    return row[one.columns[0]], row[one.columns[-1]], row["label"]


def _data_rows(data: Any, one: GlueSet, where: str) -> Iterator[Row]:
    """Whole columns at once, which is much faster than row by row; classes by their names if named."""
    _check_columns(data.column_names, one, where)
    columns = data.select_columns([*one.columns, "label"])[:]
    names = getattr(data.features["label"], "names", None)
    labels = columns["label"]
    if names:
        labels = [names[label] if label is not None and label >= 0 else None for label in labels]
    return zip(columns[one.columns[0]], columns[one.columns[-1]], labels, strict=True)


def _check_columns(there: Any, one: GlueSet, where: str) -> None:
    missing = [column for column in (*one.columns, "label") if column not in there]
    if missing:
        raise InputError(
            f"{where}: no column {missing[0]!r} among {', '.join(there)}: rename one, or give corpus files"
        )
