"""N-grams: an example by hand, limits, files that are broken, and the command."""

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hyperconformer import cli
from hyperconformer.errors import InputError
from hyperconformer.ngram import counts
from hyperconformer.ngram.counts import count_ngrams, encode_corpus
from hyperconformer.ngram.files import FORMAT, load_ngram, save_ngram
from hyperconformer.ngram.kneser_ney import estimate
from hyperconformer.ngram.model import NGram

ARPA = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-0.7\t</s>
-0.3\tA\t-0.2

\\2-grams:
-0.1\t<s> A
-0.4\tA </s>

\\end\\
"""


def build(text: list[str], order: int, scratch: Path, **options) -> NGram:
    corpus = encode_corpus(text, scratch, options.get("vocabulary"))
    return estimate(
        corpus.words, count_ngrams(corpus, order, scratch), options.get("min_counts", [1] * order)
    )[0]


def test_an_example_by_hand(tmp_path: Path) -> None:
    # Too small to estimate discounts: 0.5 of a count of one, 1 of two. Before </s> stand B and A, before A
    # the begin, before B A: of four companies two are those of </s>, and half of all is left to four words.
    model = build(["A B", "A"], 2, tmp_path)
    alone = {"A": 0.5 / 4 + 0.5 / 4, "B": 0.5 / 4 + 0.5 / 4, "</s>": 1 / 4 + 0.5 / 4, "<unk>": 0.5 / 4}
    # A B and A </s> occur once each: a quarter each, and half is left. Of <s> A's two, one is left.
    behind_a = {word: (word in ("B", "</s>")) * 0.25 + 0.5 * p for word, p in alone.items()}
    first = {word: (word == "A") * 0.5 + 0.5 * p for word, p in alone.items()}
    for expected, state in ((first, model.start()), (behind_a, model.step(0, model.index("A"))[1])):
        for word, probability in expected.items():
            assert math.exp(model.step(state, model.index(word))[0]) == pytest.approx(probability)
    for word, probability in alone.items():
        assert math.exp(model.step(model.start(begin=False), model.index(word))[0]) == pytest.approx(
            probability
        )
    product = first["A"] * behind_a["B"] * (0.25 + 0.5 * alone["</s>"] + 0.25)
    assert math.exp(model.score("A B")) == pytest.approx(product)


def test_counting_in_chunks_and_runs_is_counting_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    text = [" ".join(f"W{w}" for w in draw.integers(0, 9, size=draw.integers(1, 12))) for _ in range(200)]
    corpus = encode_corpus(text, tmp_path, None)
    whole = count_ngrams(corpus, 4, tmp_path)
    monkeypatch.setattr(counts, "CHUNK", 37)
    pieces = count_ngrams(corpus, 4, tmp_path)
    for ours, theirs in zip(pieces, whole, strict=True):
        assert np.array_equal(ours.keys, theirs.keys) and np.array_equal(ours.counts, theirs.counts)
    positions = [len(sentence.split()) + 2 for sentence in text]
    for length, level in enumerate(whole, start=1):
        assert level.counts.sum() == sum(max(0, words - length + 1) for words in positions)


def test_a_vocabulary_keeps_the_frequent_words_and_counts_the_others_as_unknown(tmp_path: Path) -> None:
    model = build(["C B B A A", "C A"], 2, tmp_path, vocabulary=2)
    assert model.words == ["<unk>", "<s>", "</s>", "A", "B"]
    assert model.score("C") == model.score("NEVER")
    # Counted as if the text had the unknown word itself where C stands: it begins both sentences.
    state = model.start()
    assert model.step(state, model.index("C"))[0] > max(model.step(state, word)[0] for word in (2, 3, 4))


def test_an_order_beyond_every_sentence_changes_nothing(tmp_path: Path) -> None:
    assert build(["A B", "B"], 9, tmp_path).score("A B A") == pytest.approx(
        build(["A B", "B"], 4, tmp_path).score("A B A")
    )


def test_the_same_text_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("lm.arpa", "lm.arpa.gz", "lm.safetensors"):
        contents = [
            save_ngram(build(["A B A", "B"], 3, tmp_path), tmp_path / name).read_bytes() for _ in range(2)
        ]
        assert contents[0] == contents[1], name
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("min_counts", "message"),
    [
        ([1, 1], "must be 3 whole numbers"),
        ([1, 0, 1], "at least 1"),
        ([2, 2, 2], "single words is 2"),
        ([1, 3, 2], "1 3 2 falls"),
    ],
)
def test_limits_that_do_not_fit_are_named(min_counts: list[int], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        build(["A B"], 3, tmp_path, min_counts=min_counts)


def test_arpa_of_another_hand(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text("made by hand\n\n" + ARPA.replace("<unk>", "<UNK>"))
    model = load_ngram(path)
    ln = math.log(10)
    assert model.score("A") == pytest.approx((-0.1 - 0.4) * ln)
    assert model.score("A A") == pytest.approx((-0.1 - 0.2 - 0.3 - 0.4) * ln)
    assert model.score("B", end=False) == pytest.approx((-0.5 - 1.0) * ln)
    path.write_text(ARPA.replace("ngram 1=4", "ngram 1=3").replace("-1.0\t<unk>\n", ""))
    assert load_ngram(path).score("B", end=False) == pytest.approx((-0.5 - 100) * ln)


def test_a_suffix_that_is_missing_is_passed_over(tmp_path: Path) -> None:
    text = ARPA.replace("ngram 2=2", "ngram 2=2\nngram 3=1")
    text = text.replace("\n\\end\\", "\n\\3-grams:\n-0.05\t<s> A </s>\n\n\\end\\").replace("A </s>", "A A", 1)
    text = text.replace("-0.1\t<s> A\n", "-0.1\t<s> A\t-0.6\n").replace("<s> A A", "<s> A A")
    path = tmp_path / "lm.arpa"
    path.write_text(text.replace("-0.05\t<s> A </s>", "-0.05\t<s> A <unk>"))
    model = load_ngram(path)
    # After "<s> A <unk>" neither "A <unk>" nor "<unk> ..." is known: the next word stands alone.
    assert model.score("A B A", end=False) == pytest.approx((-0.1 - 0.05 - 0.3) * math.log(10))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", "no \\\\data\\\\ in the whole file"),
        ("ngram 1=4\n", "", "line 2: order 2 where 1 should stand"),
        ("ngram 1=4\nngram 2=2", "", "line 4: .* where 'ngram 1=...' should stand"),
        ("ngram 1=4", "ngram 1=5", "line 11: 1 fields where a log, 1 words"),
        ("ngram 2=2", "ngram 2=1", "'-0.4\\\\tA </s>' where '.*end.*' should stand"),
        ("ngram 2=2", "ngram 2=3", "fields where a log, 2 words"),
        ("-0.4\tA </s>", "-0.4\tA B", "line 13: word 'B' is not among the 1-grams"),
        ("-0.4\tA </s>", "-0.4\t<s> A", "the n-gram stands there twice"),
        ("-0.4\tA </s>", "x\tA </s>", "line 13: 'x' is no number"),
        ("-0.4\tA </s>", "0.4\tA </s>", "line 13: '0.4' or .* is no logarithm"),
        ("-99\t<s>\t-0.5", "-99\t<s>\tinf", "line 7: .*'inf' is no logarithm"),
        ("-0.7\t</s>", "-0.7\tB", "lack '</s>'|'</s>' is not among"),
        ("-0.7\t</s>", "-0.7\tA", "a word stands twice|lack"),
        ("\\end\\", "", "'' where '.*end.*' should stand"),
    ],
)
def test_broken_arpa_is_named_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA.replace(old, new))
    with pytest.raises(InputError, match=message) as raised:
        load_ngram(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_an_ngram_whose_first_words_are_missing_is_named(tmp_path: Path) -> None:
    text = ARPA.replace("ngram 2=2", "ngram 2=2\nngram 3=1")
    (tmp_path / "lm.arpa").write_text(text.replace("\\end\\", "\\3-grams:\n-0.1\tA A </s>\n\n\\end\\"))
    with pytest.raises(InputError, match="line 17: its first words are no n-gram of the file"):
        load_ngram(tmp_path / "lm.arpa")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("suffix", lambda a: a[::-1].copy()),
        ("suffix", lambda a: a + 10**6),
        ("suffix", lambda a: a - 1),
        ("first", lambda a: a[::-1].copy()),
        ("first", lambda a: a + 1),
        ("first", lambda a: a.astype("float32")),
        ("word", lambda a: a + 1),
        ("word", lambda a: a[:-1].copy()),
        ("log", lambda a: a[:-1].copy()),
        ("backoff", lambda a: a[:-1].copy()),
        ("words", lambda a: a[:-2].copy()),
        ("order", lambda a: a + 6),
        ("order", lambda a: a - 1),
    ],
)
def test_arrays_that_would_lead_astray_are_refused(name: str, change, tmp_path: Path) -> None:
    path = save_ngram(build(["A B C A", "B A"], 3, tmp_path), tmp_path / "lm.safetensors")
    arrays = {key: value.copy() for key, value in load_file(path).items()}
    arrays[name] = change(arrays[name])
    save_file(arrays, path, metadata={"format": FORMAT})
    with pytest.raises(InputError, match="cannot be used .*build it again"):
        load_ngram(path)


@pytest.mark.parametrize("metadata", [None, {"format": "other"}, {"order": "3"}])
def test_other_arrays_are_refused(metadata: dict | None, tmp_path: Path) -> None:
    path = save_ngram(build(["A B C A", "B A"], 3, tmp_path), tmp_path / "lm.safetensors")
    save_file(load_file(path), path, metadata=metadata)
    with pytest.raises(InputError, match="cannot be used"):
        load_ngram(path)
    path.write_bytes(b"no arrays at all")
    with pytest.raises(InputError, match="cannot be used"):
        load_ngram(path)


def test_the_command_builds_converts_and_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, test = tmp_path / "text.txt", tmp_path / "test.txt"
    text.write_text("A B C\nA B\nB C A\n" * 5 + "D\n")
    test.write_text("A B C\nE\n")
    arpa, arrays = str(tmp_path / "lm.arpa.gz"), str(tmp_path / "lm.safetensors")
    built = ["ngram", "--text", str(text), "--order", "3", "--min_count", "2", "--vocabulary", "3"]
    assert cli.main([*built, "--output", arpa, arrays, "--test", str(test)]) == 0
    first = capsys.readouterr().out
    assert "order 3: " in first and "2 sentences, 4 words, 1 unknown (25.00 %), perplexity" in first
    assert cli.main(["ngram", "--model", arpa, "--test", str(test)]) == 0
    assert capsys.readouterr().out == first.splitlines(keepends=True)[-1]
    assert cli.main(["ngram", "--model", arrays, "--test", str(test)]) == 0
    assert capsys.readouterr().out == first.splitlines(keepends=True)[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "no.txt", "--output", "x.arpa"], "text 'no.txt' cannot be read"),
        (["--text", "no.txt"], "nothing to do"),
        (["--text", "no.txt", "--output", "x.bin"], "must end with .arpa, .arpa.gz or .safetensors"),
        (["--text", "no.txt", "--output", "x.arpa", "--order", "0"], "--order must be from 1 to 9, got 0"),
        (["--text", "no.txt", "--output", "x.arpa", "--min_count", "1", "3", "2"], "falls"),
        (["--text", "no.txt", "--output", "x.arpa", "--vocabulary", "0"], "keeps no word"),
        (["--model", "no.arpa", "--output", "x.arpa"], "cannot be read"),
        (["--model", "no.safetensors", "--output", "x.arpa"], "cannot be"),
    ],
)
def test_the_command_names_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["ngram", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
