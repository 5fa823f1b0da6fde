"""Corpora by name: what is read is what was written, nothing stands on two sides, faults have a line."""

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.data.labelled import LabelledCorpus, LabelledText, hold_out
from hyperconformer.data.text_corpora import CORPORA, TextSource, read_corpus, take_share
from hyperconformer.errors import InputError

FEW = settings(max_examples=50, deadline=None)
ROWS = [(f"text number {n}", ("even", "odd")[n % 2]) for n in range(200)]
TSV = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS)
CSV = "label,text\n" + "".join(f'{label},"{text}"\n' for text, label in ROWS)
JSONL = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)


def files(folder: Path, **options: object) -> LabelledCorpus:
    return read_corpus(TextSource("files", str(folder), **options))  # type: ignore[arg-type]  # by the test


def test_corpora_of_all_kinds_are_there() -> None:
    names = "clinc150 sst2 qqp qnli mnli snli files match order count"
    assert " ".join(CORPORA) == names


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(("ending", "content"), [("tsv", TSV), ("csv", CSV), ("jsonl", JSONL)])
def test_files_of_every_kind(tmp_path: Path, ending: str, content: str, packed: bool) -> None:
    name = f"mine.{ending}" + ".gz" * packed
    (tmp_path / name).write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    (tmp_path / "test.tsv").write_text("text\tlabel\nA  new\todd\n")
    corpus = files(tmp_path, train_texts=[name], test_texts=["test.tsv"])
    both = [(one.text, one.label) for one in (*corpus.train, *corpus.valid)]
    assert sorted(both) == sorted(ROWS) and 10 <= len(corpus.valid) <= 30
    assert corpus.tests == {"test": [LabelledText("A new", "odd")]}
    assert corpus.labels == ("even", "odd") and corpus.texts == 1


def test_pairs_columns_and_dev_texts(tmp_path: Path) -> None:
    lines = [{"p": f"P {n}", "h": "Not\tso", "gold": n % 2 == 0} for n in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    names = {"text_column": "p", "second_column": "h", "label_column": "gold"}
    corpus = files(
        tmp_path, train_texts=["a.jsonl", "a.jsonl"], dev_texts=[str(tmp_path / "a.jsonl")], **names
    )
    assert len(corpus.train) == 8 and list(corpus.valid) == list(corpus.train[:4]) and corpus.texts == 2
    assert corpus.train[1] == LabelledText("P 1", "false", "Not so")


def test_quotes_in_tab_separated_files_are_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"Yes" she said\ta\n"no\tb\n')
    corpus = files(tmp_path, train_texts=["a.tsv"], dev_texts=["a.tsv"])
    assert [one.text for one in corpus.train] == ['"Yes" she said', '"no']


BROKEN = [
    ("a.tsv", "text\tlabel\none\ta\ntwo\n", r"a.tsv', line 3: more or fewer fields than columns"),
    (
        "a.tsv",
        "text\tclass\none\ta\n",
        r"a.tsv', line 2: no column 'label' among text, class: .*--label_column",
    ),
    ("a.csv", "text,label\none,a\n ,b\n", r"a.csv', line 3: column 'text' holds no words: fill it in"),
    ("a.csv", 'text,label\n"one,a\n', r"a.csv' cannot be read \(unexpected end of data\)"),
    ("a.jsonl", '{"text": "one", "label": "a"}\n{"text": "two"\n', r"a.jsonl', line 2: not JSON"),
    ("a.jsonl", '["one", "a"]\n', r"a.jsonl', line 1: no JSON object"),
    ("a.jsonl", 100_000 * "[", r"a.jsonl', line 1: not JSON \(nested too deeply\)"),
    (
        "a.jsonl",
        '{"text": "one\\ud800", "label": "a"}\n',
        r"a.jsonl', line 1: column 'text': '.ud800' is half a character, and no UTF-8: correct it",
    ),
    (
        "a.jsonl",
        '{"text": "one", "label": 0.5}\n',
        r"line 1: column 'label' holds 0.5: write a text or a whole",
    ),
    ("a.jsonl", '{"text": null, "label": 1}\n', r"line 1: column 'text' holds None: write a text"),
    ("a.tsv", "text\tlabel\n", r"a.tsv' holds no texts: give another file"),
    (
        "a.tsv",
        "text\tlabel\none\ta\ntwo\tb\n",
        r"files: no part of these 2 training texts can be held out, which are too few",
    ),
    ("a.txt", "one\n", r"a.txt' are of no known kind: the name must end with .tsv, .csv, .jsonl"),
    ("a.tsv.gz", "one\n", r"a.tsv.gz' cannot be read \(Not a gzipped file"),
]


@pytest.mark.parametrize(("name", "content", "complaint"), BROKEN, ids=range(len(BROKEN)))
def test_faulty_files_are_named(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint) as raised:
        files(tmp_path, train_texts=[name])
    assert "\n" not in str(raised.value)


def test_gzip_that_is_cut_short_or_changed_is_named(tmp_path: Path) -> None:
    for name, content in (("a.jsonl.gz", JSONL), ("a.tsv.gz", TSV)):
        packed = gzip.compress(content.encode())
        changed = packed[:30] + bytes(byte ^ 255 for byte in packed[30:60]) + packed[60:]
        for broken in (packed[:-30], changed):
            (tmp_path / name).write_bytes(broken)
            with pytest.raises(InputError, match=rf"{name}' cannot be read \(.*\): (save|copy) it again"):
                files(tmp_path, train_texts=[name])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "corpus files needs train_texts: give --train_texts="),
        ({"train_texts": ["b.tsv"]}, r"no file '.*b.tsv': correct the path"),
        (
            {"train_texts": ["a.tsv"], "test_texts": ["other/a.tsv", "a.tsv"]},
            "'a.tsv' would be called 'a', as",
        ),
        ({"train_texts": ["a.tsv"], "test_texts": ["valid.tsv"]}, "'valid.tsv' would be called 'valid', as"),
        ({"train_texts": ["a.tsv"], "test_texts": ["c.tsv"]}, "corpus files, c: 'new' has the label 'third'"),
        ({"train_texts": ["d.tsv"], "dev_texts": ["d.tsv"]}, "all 1 training texts are of one class"),
    ],
    ids=["none", "missing", "twice", "valid", "label", "one class"],
)
def test_what_files_cannot_be(tmp_path: Path, options: dict[str, list[str]], complaint: str) -> None:
    (tmp_path / "other").mkdir()
    for name in ("a.tsv", "other/a.tsv", "valid.tsv"):
        (tmp_path / name).write_text(TSV)
    (tmp_path / "c.tsv").write_text("text\tlabel\nnew\tthird\n")
    (tmp_path / "d.tsv").write_text("text\tlabel\nnew\tthird\n")
    with pytest.raises(InputError, match=complaint):
        files(tmp_path, **options)


def test_other_corpora_take_no_files() -> None:
    with pytest.raises(InputError, match="corpus match has texts of its own: leave test_texts out"):
        read_corpus(TextSource("match", test_texts=["a.tsv"]))
    with pytest.raises(InputError, match="no corpus 'mnly' \\(did you mean 'mnli'"):
        read_corpus(TextSource("mnly"))
    with pytest.raises(InputError, match="task_texts must be at least 1, got 0"):
        read_corpus(TextSource("match", task_texts=0))


def test_made_tasks_follow_size_and_seed() -> None:
    one, same, other = (read_corpus(TextSource("match", task_texts=50, seed=seed)) for seed in (1, 1, 2))
    assert len(one.train) == 50 and one == same and one.train != other.train


def words(texts: Sequence[LabelledText]) -> set[str]:
    return {part for one in texts for part in (one.text, one.second) if part}


@FEW
@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), st.sampled_from("abc")), max_size=150),
    st.booleans(),
    st.sampled_from([0.02, 0.1, 0.4]),
)
def test_no_text_of_a_pair_is_on_both_sides(
    rows: list[tuple[int, int, str]], swapped: bool, share: float
) -> None:
    pairs = [LabelledText(f"question {a}", label, f"question {b}") for a, b, label in rows]
    pairs += [LabelledText(one.second, one.label, one.text) for one in pairs if swapped]
    train, valid = hold_out(pairs, share)
    assert not words(train) & words(valid)
    assert {one.label for one in valid} <= {one.label for one in train}
    assert Counter([*train, *valid]) == Counter(pairs)
    assert {*hold_out(pairs[::-1], share)[1]} == {*valid}, "the order of the texts decides nothing"


def test_pairs_that_hang_together_are_held_out_together_or_learnt_from() -> None:
    swapped = [(f"question {n} one", f"question {n} two") for n in range(1000)]
    pairs = [LabelledText(*pair) for a, b in swapped for pair in ((a, "ab"[len(b) % 2], b), (b, "a", a))]
    assert 60 < len(hold_out(pairs, 0.05)[1]) < 150
    chain = [LabelledText(f"link {n:03}", "a", f"link {n + 1:03}") for n in range(400)]
    for start in range(50):
        train, _ = hold_out([*pairs, *chain[start:]], 0.05)
        assert set(chain[start:]) <= set(train), "more than is to be held out"


def test_what_cannot_be_held_out_from_is_said(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        lines = [{"sentence": f"film {n}", "label": n % 2} for n in range(6)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(
        InputError, match="sst2: no part of these 6 training texts can be held out.*: give the whole split"
    ):
        read_corpus(TextSource("sst2", str(tmp_path)))


def test_no_strangers_are_no_split(tmp_path: Path) -> None:
    rows = [["how late is it", "time"], ["play a song", "music"]]
    splits = {"train": rows, "val": rows, "test": rows, "oos_test": []}
    (tmp_path / "data_full.json").write_text(json.dumps(splits))
    assert read_corpus(TextSource("clinc150", str(tmp_path))).strangers == {}


def test_held_out_texts_are_on_one_side_only() -> None:
    pairs = [LabelledText(f"premise {n // 3}", "abc"[n % 3], f"hypothesis {n}") for n in range(3000)]
    train, valid = hold_out(pairs, 0.1)
    assert not words(train) & words(valid)
    assert sorted([*train, *valid], key=pairs.index) == pairs and 210 < len(valid) < 390
    single = [LabelledText(one.second, one.label) for one in pairs]
    train, _ = hold_out(single, 0.1)
    assert set(hold_out(single[::2], 0.1)[0]) <= set(train), "more texts move none to the other side"
    rare = LabelledText(valid[0].text, "rare")
    assert rare in hold_out([*pairs, rare], 0.1)[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_shares_are_nested_and_keep_classes(seed: int) -> None:
    counts = {"a": 1000, "b": 100, "c": 3, "d": 1}
    texts = [LabelledText(f"{label}{n}", label) for label, many in counts.items() for n in range(many)]
    taken = [take_share(texts, share, seed) for share in (0.1, 0.25, 0.5, 1.0)]
    for small, large in pairwise(taken):
        assert set(small) < set(large)
    assert taken[-1] == texts and taken[0] == sorted(taken[0], key=texts.index)
    assert Counter(one.label for one in taken[1]) == {"a": 250, "b": 25, "c": 1, "d": 1}
    assert take_share(texts, 0.1, seed) == taken[0] != take_share(texts, 0.1, seed + 1)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(InputError, match="train_share must be above 0 and at most 1, got"):
        take_share([LabelledText("a", "a")], share, 1)


def test_clinc150(shared_data: Path) -> None:
    folder = shared_data / "text" / "clinc150"
    if not folder.is_dir():
        pytest.skip("no clinc150 in ../shared/data/text")
    corpus = read_corpus(TextSource("clinc150", str(folder)))
    assert (len(corpus.train), len(corpus.valid), len(corpus.tests["test"])) == (15_000, 3_000, 4_500)
    assert len(corpus.labels) == 150 and "oos" not in corpus.labels and corpus.texts == 1
    assert len(corpus.strangers["test"]) == 1_000 and {one.label for one in corpus.strangers["test"]} == {
        "oos"
    }
    assert read_corpus(TextSource("clinc150", str(folder / "data_full.json"))) == corpus
    tenth = take_share(corpus.train, 0.1, seed=1)
    assert set(Counter(one.label for one in tenth).values()) == {10}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "data_full.json' cannot be read .No such file or directory.: point --data_folder"),
        ("{", "data_full.json' is broken .*: copy it again"),
        ("[]", "has no list 'train': copy it again"),
        ('{"train": [["a", "b"]]}', "has no list 'val'"),
        ('{"train": [["a", "b"], ["a"]]}', "train 2: no pair of a text and its intent"),
        ('{"train": [["a", "b\\ud800"]]}', "train 1: '.ud800' is half a character"),
        (100_000 * "[", "data_full.json' is broken .*: copy it again"),
    ],
    ids=["missing", "torn", "a list", "no val", "a row", "half", "deep"],
)
def test_faulty_clinc150_is_named(tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "data_full.json").write_text(content)
    with pytest.raises(InputError, match=complaint) as raised:
        read_corpus(TextSource("clinc150", str(tmp_path)))
    assert "\n" not in str(raised.value)


def test_clinc150_needs_a_folder() -> None:
    with pytest.raises(InputError, match="clinc150 needs data_folder, .*: give --data_folder"):
        read_corpus(TextSource("clinc150"))
