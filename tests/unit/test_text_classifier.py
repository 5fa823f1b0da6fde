"""A text classifier's folder comes back as it was written; texts get their classes, alone or in company."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hyperconformer.cli import main
from hyperconformer.doctor import inputs
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.classifier_bundle import (
    LoadedClassifier,
    check_labels,
    load_classifier,
    save_classifier,
)
from hyperconformer.inference.language_model_bundle import load_language_model
from hyperconformer.inference.text_classifier import TextClassifier
from hyperconformer.models.classifier import Classifier, Texts
from hyperconformer.models.config import LIMITS, ClassifierConfig
from hyperconformer.text import train_tokenizer
from tests.helpers import randomise

WORDS = ["how warm is it", "play some music", "is it late", "what time is it in rome"]
LABELS = ("music", "time", "weather")


def written(folder: Path, **sizes: object) -> Path:
    """A folder of a tiny classifier with random weights."""
    folder.mkdir(parents=True)
    tokenizer = train_tokenizer(WORDS, folder / "t.model", output_neurons=40)
    config = ClassifierConfig(
        output_neurons=40, num_classes=3, d_model=8, nhead=2, d_ffn=16, num_layers=2, **sizes
    )
    model = Classifier(config)
    randomise(model)
    loaded = LoadedClassifier(model.eval(), tokenizer, LABELS, 20)
    metrics = {"texts": {"test": {"accuracy": 91.25, "texts": 9}}}
    return save_classifier(folder / "model", loaded, metrics=metrics, card="# Tiny\n")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("classifier") / "single")


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("classifier") / "paired", texts=2)


@pytest.fixture
def copied(single: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(single, tmp_path / "model"))


def test_a_text_gets_what_the_model_says_of_it_alone(single: Path) -> None:
    found = TextClassifier.load(single).classify(WORDS)
    model, tokenizer, labels, longest = load_classifier(single)
    assert (labels, longest, model.training) == (LABELS, 20, False)
    for text, one in zip(WORDS, found, strict=True):
        ids = tokenizer.encode(text)
        alone = model(Texts(torch.tensor([ids]), torch.tensor([len(ids)]))).softmax(dim=1)[0]
        assert one.label == LABELS[int(alone.argmax())] and one.ranking[0] == (one.label, one.probability)
        assert {name: p for name, p in one.ranking} == pytest.approx(
            dict(zip(LABELS, alone.tolist(), strict=True)), abs=1e-6
        )
        probabilities = [p for _, p in one.ranking]
        assert probabilities == sorted(probabilities, reverse=True)
    assert len({one.probability for one in found}) == len(WORDS), "the weights tell the texts apart"


def test_pairs_are_classified_as_pairs(paired: Path, single: Path) -> None:
    classifier = TextClassifier.load(paired)
    there, back = classifier.classify([("is it late", "play some music"), ("play some music", "is it late")])
    assert there.ranking != back.ranking
    with pytest.raises(InputError, match="text 2 is one text: this classifier was trained on pairs of texts"):
        classifier.classify([("is it late", "how warm is it"), "is it late"])
    with pytest.raises(InputError, match="text 1 is a pair: this classifier was trained on single texts"):
        TextClassifier.load(single).classify([("is it late", "how warm is it")])
    with pytest.raises(InputError, match="text 1 has no words"):
        classifier.classify([("is it late", " ")])


def test_what_training_cut_is_cut(single: Path, caplog: pytest.LogCaptureFixture) -> None:
    classifier = TextClassifier.load(single)
    long, longer = " ".join(20 * ["it"]), " ".join(30 * ["it"])
    short, one, other = classifier.classify(["it", long, longer])
    assert dict(one.ranking) == pytest.approx(dict(other.ranking), abs=1e-6)
    assert dict(one.ranking) != pytest.approx(dict(short.ranking), abs=1e-6)
    assert "behind 20 tokens" in caplog.text


def test_nothing_comes_of_nothing_and_unknown_signs_are_unknown(single: Path) -> None:
    classifier = TextClassifier.load(single)
    assert classifier.classify([]) == []
    assert classifier.classify(["日本"])[0].label in LABELS


def test_a_mixer_with_a_weight_for_every_position_says_what_is_too_long(tmp_path: Path) -> None:
    folder = written(tmp_path / "mlp", mixer="mlp", mixer_options={"max_frames": 6})
    with pytest.raises(InputError, match="this mlp was made for 6: train it with mixer_options"):
        TextClassifier.load(folder).classify(["what time is it in rome"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a", "b"]}, "there are 2 labels for 3 classes"),
        ({"labels": ["a", "b", "b"]}, "the label 'b' stands there twice"),
        ({"labels": ["a", "b", "\x1b[2J"]}, "cannot be printed"),
        ({"labels": ["a", "b", ""]}, "is empty"),
        ({"labels": ["a", "b", 3]}, "labels must be a list of texts"),
        ({"labels": "abc"}, "labels must be a list of texts"),
        ({"labels": None}, "labels must be a list of texts"),
        ({"labels": ["a", "b", 140_000 * "c"]}, "bytes as JSON, more than"),
        ({"max_text_tokens": 0}, "max_text_tokens must lie between 1 and"),
        ({"max_text_tokens": True}, "max_text_tokens must be a whole number"),
        ({"max_text_tokens": "9"}, "max_text_tokens must be a whole number"),
        ({"colour": "blue"}, "a text classifier has no key 'colour'"),
        ({"sample_rate_hz": 16_000}, "a text classifier has no key 'sample_rate_hz'"),
        ({"format": "hyperconformer-9"}, "hyperconformer-9"),
    ],
)
def test_a_config_that_cannot_be_is_refused_in_one_line(change: dict, message: str, copied: Path) -> None:
    path = copied / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match="config.json cannot be used") as raised:
        load_classifier(copied)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 16}, "model.safetensors cannot be used"),
        ({"nhead": 3}, "multiple of num_heads 3"),
        ({"num_classes": 4}, "there are 3 labels for 4 classes"),
        ({"pair": "apart"}, "pair must be one of joined, cross"),
        ({"pair": "cross"}, "pair cross lets each of two texts hear the other: texts must be 2"),
        ({"d_ffn": 2**40}, "d_ffn must lie between"),
        ({"n_mels": 80}, "a model has no setting 'n_mels'"),
    ],
)
def test_sizes_that_do_not_fit_are_named(change: dict, message: str, copied: Path) -> None:
    path = copied / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "model": {**config["model"], **change}}))
    with pytest.raises(InputError, match=message) as raised:
        load_classifier(copied)
    assert "\n" not in str(raised.value)


def test_other_models_are_not_taken_for_it(single: Path, tiny_bundle: Path) -> None:
    with pytest.raises(InputError, match="this is a recogniser, not a text classifier: give "):
        load_classifier(tiny_bundle)
    with pytest.raises(InputError, match="this is a text classifier, not a recogniser: give "):
        load_bundle(single)
    with pytest.raises(InputError, match="this is a text classifier, not a language model: give "):
        load_language_model(single)


def test_as_many_classes_as_a_model_may_have_find_room_for_labels(tmp_path: Path) -> None:
    most = LIMITS["num_classes"][1]
    labels = tuple(f"an ordinary label {n:05}" for n in range(most))
    config = ClassifierConfig(output_neurons=40, num_classes=most, d_model=8, nhead=2, d_ffn=16, num_layers=1)
    tokenizer = train_tokenizer(WORDS, tmp_path / "t.model", output_neurons=40)
    loaded = LoadedClassifier(Classifier(config), tokenizer, labels, 20)
    assert load_classifier(save_classifier(tmp_path / "m", loaded, metrics={}, card="#")).labels == labels
    with pytest.raises(ValueError, match="bytes as JSON, more than .*: shorten them"):
        check_labels([f"{label}, {label}" for label in labels], most)


def test_check_says_what_it_is(single: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(single)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"model '{single}': a text classifier, hypermixing"
    assert "(40 output neurons), 3 classes, " in said[1] and said[2] == "test: accuracy 91.25"
    assert said[-1] == "ok"


def test_doctor_tries_it(single: Path) -> None:
    [finding] = inputs.model(single)
    assert finding.level == "ok" and f"'{single}' is a text classifier, and opens: " in finding.said


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("abc", "texts must be a list of them, got 'abc'"),
        (5, "texts must be a list of them, got 5"),
        (["abc", ("a",)], r"text 2 is \('a',\): give a text, or a pair"),
        ([("a", "b", "c")], "text 1 is .*: give a text, or a pair"),
        ([None], "text 1 is None: give a text, or a pair"),
        ([("a", 5)], "text 1 is .*: give a text, or a pair"),
        (["a", "b\ud800"], "text 2: '.ud800' is half a character"),
    ],
    ids=range(7),
)
def test_what_is_no_text_is_named(texts: object, message: str, single: Path, paired: Path) -> None:
    with pytest.raises(InputError, match=message):
        TextClassifier.load(single).classify(texts)  # type: ignore[arg-type]  # by the test
    with pytest.raises(InputError, match="half a char|give a text|is one text|a list of"):
        TextClassifier.load(paired).classify(texts)  # type: ignore[arg-type]  # by the test


def typed(lines: bytes) -> io.TextIOWrapper:
    """Standard input as a terminal or a pipe gives it: what is no UTF-8 comes through."""
    return io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8", errors="surrogateescape")


class TestCommand:
    """``hyperconformer classify``."""

    def run(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
        assert main(["classify", *map(str, arguments)]) == 0
        return capsys.readouterr().out.splitlines()

    def test_it_prints_label_and_probability_of_every_text(self, single: Path, capsys) -> None:
        found = TextClassifier.load(single).classify(WORDS)
        lines = self.run(capsys, *WORDS, "--model", single)
        assert lines == [f"{one.label}\t{one.probability:.4f}" for one in found]
        (line,) = self.run(capsys, WORDS[0], "--model", single, "--top", 9)
        assert len(line.split("\t")) == 2 * len(LABELS)

    def test_it_reads_standard_input_and_writes_json(self, paired: Path, capsys, monkeypatch) -> None:
        given = [("is it late", "how warm is it"), ("play some music", "is it late")]
        monkeypatch.setattr("sys.stdin", typed("".join(f"{a}\t{b}\n" for a, b in given).encode()))
        rows = [json.loads(line) for line in self.run(capsys, "--model", paired, "--jsonl", "--top", 2)]
        found = TextClassifier.load(paired).classify(given)
        assert [(row["text"], row["second"]) for row in rows] == given
        assert [row["label"] for row in rows] == [one.label for one in found]
        assert all(len(row["ranking"]) == 2 for row in rows)

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (b"is it late\na\tb\tc\nis it late\n", "line 2 of standard input has 2 tabs"),
            (b"is it late\na\tb\n", "line 2 of standard input is a pair"),
            (b"is it late\n\xff\xfe\n", "line 2 of standard input is not UTF-8: convert it first"),
        ],
    )
    def test_a_line_that_cannot_be_is_named(
        self, lines: bytes, message: str, single, capsys, monkeypatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", typed(lines))
        assert main(["classify", "-", "--model", str(single)]) == 2
        said = capsys.readouterr()
        assert message in said.err and len(said.out.splitlines()) == 1, "what stands before it is answered"

    def test_arguments_are_named_as_well(self, single: Path, capsys) -> None:
        for text, message in (("\udcff\udcfe", "not UTF-8"), ("", "has no words"), ("a\tb", "is a pair")):
            assert main(["classify", text, "--model", str(single)]) == 2
            assert message in capsys.readouterr().err

    @pytest.mark.parametrize("jsonl", [False, True])
    def test_a_line_without_words_has_no_answer_but_a_warning(
        self, jsonl: bool, single: Path, capsys, monkeypatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", typed(b"is it late\r\n \nplay some music"))
        assert main(["classify", "--model", str(single), *(["--jsonl"] if jsonl else [])]) == 1
        said = capsys.readouterr()
        assert said.err == "warning: line 2 of standard input has no words: skipped\n"
        lines = said.out.split("\n")
        assert len(lines) == 4 - jsonl and not lines[-1] and (jsonl or not lines[1])

    @pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
    def test_a_pipe_is_answered_at_once_in_every_locale(self, locale: str, single: Path) -> None:
        command = [sys.executable, "-m", "hyperconformer.cli", "classify", "--model", str(single)]
        environment = os.environ | {"LC_ALL": locale, "OMP_NUM_THREADS": "1"}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(command, env=environment, **pipes) as process:
            assert process.stdin and process.stdout and process.stderr
            process.stdin.write(b"is it late\n")
            process.stdin.flush()
            # The pipe stays open meanwhile.
            assert process.stdout.readline().split(b"\t")[0].decode() in LABELS
            process.stdin.write(b"abc\n\xff\n")
            process.stdin.close()
            assert len(process.stdout.read().splitlines()) == 1
            assert process.stderr.read() == (
                b"error: line 3 of standard input is not UTF-8: convert it first\n"
            )
        assert process.returncode == 2
