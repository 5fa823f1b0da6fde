"""Corpora of labelled texts, by name."""

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperconformer.data.augment import keyed_rng
from hyperconformer.data.glue import GLUE, read_glue
from hyperconformer.data.labelled import LabelledCorpus, LabelledText, check_characters, hold_out
from hyperconformer.data.text_files import Columns, name_of, read_texts
from hyperconformer.data.text_tasks import TASKS, make_corpus
from hyperconformer.errors import InputError, one_line

CLINC150 = "data_full.json"

HELD_OUT = 0.1
"""Of the training files, where no others are given to validate by."""

HOLDING_OUT = {
    "files": "give --dev_texts",
    **{name: "give the whole split" for name, one in GLUE.items() if not one.valid},
}
"""Corpora of which a part is held out to validate by, and what to do where that part is empty."""


@dataclass(frozen=True)
class TextSource:
    """Which corpus, and where it is.

    Attributes
    ----------
    corpus : str
        A key of :data:`CORPORA`.
    data_folder : str or None
        Where it lies; None for those that are fetched or made. Paths of files begin here.
    train_texts, dev_texts, test_texts : sequence of str
        Files of the corpus ``files``. Without some to validate by, a tenth of the others is held out.
    text_column, second_column, label_column : str
        What their columns are called; no second one where texts are single.
    task_texts : int
        Training texts of a made task.
    seed : int
        Of a made task.

    Examples
    --------
    >>> TextSource("files", train_texts=["train.tsv"]).label_column
    'label'
    """

    corpus: str
    data_folder: str | None = None
    train_texts: Sequence[str] = ()
    dev_texts: Sequence[str] = ()
    test_texts: Sequence[str] = ()
    text_column: str = "text"
    second_column: str = ""
    label_column: str = "label"
    task_texts: int = 20_000
    seed: int = 0


def _clinc150(source: TextSource) -> LabelledCorpus:
    """Read the intents; out-of-scope texts are strangers, and not learnt from."""
    if not source.data_folder:
        raise InputError(
            f"clinc150 needs data_folder, the folder with {CLINC150} of github.com/clinc/oos-eval: "
            "give --data_folder"
        )
    given = Path(source.data_folder)
    path = given / CLINC150 if given.suffix != ".json" else given
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"clinc150: {str(path)!r} cannot be read ({error.strerror}): point --data_folder at the folder "
            f"with {CLINC150} of github.com/clinc/oos-eval"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"clinc150: {str(path)!r} is broken ({one_line(error, 100)}): copy it again"
        ) from error
    train, valid, test, strange = (_rows(splits, name, path) for name in ("train", "val", "test", "oos_test"))
    return LabelledCorpus(train, valid, {"test": test}, {"test": strange} if strange else {})


def _rows(splits: Any, name: str, path: Path) -> list[LabelledText]:
    rows = splits.get(name) if isinstance(splits, dict) else None
    if not isinstance(rows, list):
        raise InputError(f"clinc150: {str(path)!r} has no list {name!r}: copy it again")
    for number, row in enumerate(rows, start=1):
        if not (isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) for part in row)):
            raise InputError(
                f"clinc150: {str(path)!r}, {name} {number}: no pair of a text and its intent: copy it again"
            )
        for part in row:
            check_characters(part, f"clinc150: {str(path)!r}, {name} {number}")
    return [LabelledText(" ".join(text.split()), intent) for text, intent in rows]


def _glue(source: TextSource) -> LabelledCorpus:
    return read_glue(source.corpus, Path(source.data_folder) if source.data_folder else None)


def _files(source: TextSource) -> LabelledCorpus:
    if not source.train_texts:
        raise InputError(
            "corpus files needs train_texts: give --train_texts='[FILE, ...]', .tsv, .csv or .jsonl"
        )
    columns = Columns(source.text_column, source.second_column, source.label_column)
    folder = Path(source.data_folder or "")

    def texts(files: Sequence[str]) -> list[LabelledText]:
        return [one for file in files for one in read_texts(folder / file, columns)]

    tests: dict[str, list[LabelledText]] = {}
    for file in source.test_texts:
        name = name_of(Path(file))
        if name in tests or name in ("train", "valid"):
            raise InputError(
                f"test_texts: {file!r} would be called {name!r}, as another split is: give it another name"
            )
        tests[name] = texts([file])
    train = texts(source.train_texts)
    if source.dev_texts:
        return LabelledCorpus(train, texts(source.dev_texts), tests)
    train, valid = hold_out(train, HELD_OUT)
    return LabelledCorpus(train, valid, tests)


def _made(source: TextSource) -> LabelledCorpus:
    if source.task_texts < 1:
        raise InputError(f"task_texts must be at least 1, got {source.task_texts}: give for instance 20000")
    return make_corpus(source.corpus, train=source.task_texts, seed=source.seed)


CORPORA: Mapping[str, Callable[[TextSource], LabelledCorpus]] = {
    "clinc150": _clinc150,
    **dict.fromkeys(GLUE, _glue),
    "files": _files,
    **dict.fromkeys(TASKS, _made),
}


def read_corpus(source: TextSource) -> LabelledCorpus:
    """Read, fetch or make a corpus.

    Parameters
    ----------
    source : TextSource

    Returns
    -------
    LabelledCorpus
        Two classes or more; every class that is tested is learnt.

    Raises
    ------
    InputError
        If there is no such corpus, it is not where it should be, or something in it is faulty.

    Examples
    --------
    >>> read_corpus(TextSource("order", task_texts=100)).labels
    ('X', 'Y')
    >>> read_corpus(TextSource("clinc"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: no corpus 'clinc' (did you mean 'clinc150'?): give one of clinc150, ...
    """
    if source.corpus not in CORPORA:
        close = difflib.get_close_matches(source.corpus, CORPORA, n=1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(f"no corpus {source.corpus!r}{guess}: give one of {', '.join(CORPORA)}")
    for key in ("train_texts", "dev_texts", "test_texts"):
        if getattr(source, key) and source.corpus != "files":
            raise InputError(
                f"corpus {source.corpus} has texts of its own: leave {key} out, or give corpus files"
            )
    corpus = CORPORA[source.corpus](source)
    _check(corpus, source.corpus)
    return corpus


def _check(corpus: LabelledCorpus, name: str) -> None:
    labels = set(corpus.labels)
    if len(labels) < 2:
        raise InputError(
            f"corpus {name}: all {len(corpus.train)} training texts are of one class: two are needed"
        )
    if not corpus.valid and name in HOLDING_OUT:
        raise InputError(
            f"corpus {name}: no part of these {len(corpus.train)} training texts can be held out, which are "
            f"too few, or hang together: {HOLDING_OUT[name]}"
        )
    for split, texts in {"valid": corpus.valid, **corpus.tests}.items():
        if not texts:
            raise InputError(f"corpus {name}: the split {split!r} is empty: copy it again")
        strange = next((one for one in texts if one.label not in labels), None)
        if strange:
            raise InputError(
                f"corpus {name}, {split}: {strange.text[:60]!r} has the label {strange.label!r}, which no "
                "training text has: correct it, or add training texts with it"
            )


def take_share(texts: Sequence[LabelledText], share: float, seed: int) -> list[LabelledText]:
    """Draw a part of the training texts, of every class the same share, one text at least.

    A larger share holds a smaller one of the same seed.

    Parameters
    ----------
    texts : sequence of LabelledText
    share : float
        Above 0; 1 takes all.
    seed : int

    Returns
    -------
    list of LabelledText
        In the order of ``texts``.

    Raises
    ------
    InputError
        If the share is out of range.

    Examples
    --------
    >>> texts = [LabelledText(str(n), "even" if n % 2 == 0 else "odd") for n in range(20)]
    >>> [one.text for one in take_share(texts, 0.2, seed=1)]
    ['0', '8', '13', '17']
    """
    if not 0 < share <= 1:
        raise InputError(f"train_share must be above 0 and at most 1, got {share}: give for instance 0.25")
    places: dict[str, list[int]] = {}
    for place, one in enumerate(texts):
        places.setdefault(one.label, []).append(place)
    taken: list[int] = []
    for label, some in places.items():
        order = keyed_rng(seed, "share", label).permutation(len(some))
        taken += [some[number] for number in order[: max(1, round(share * len(some)))]]
    return [texts[place] for place in sorted(taken)]
