"""The tokenizer: its ids, its files, and how it refuses."""

import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from hyperconformer.errors import InputError
from hyperconformer.text import BEGIN, BLANK, END, ModelType, Tokenizer, train_tokenizer

SENTENCES = [
    "THE CAT SAT ON THE MAT",
    "IT'S A QUICK BROWN FOX AND A LAZY DOG",
    "FIVE JUGS OF ZEBRA MILK WERE PACKED BY THE VEXED HUNTER",
    "THE DOG SAT WITH THE FOX",
] * 3
MODEL_TYPES: tuple[ModelType, ...] = ("unigram", "bpe", "char")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Train a unigram tokenizer of 40 pieces."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    return train_tokenizer(SENTENCES, path, output_neurons=40)


@pytest.fixture(scope="module")
def transcripts(shared_data: Path) -> list[str]:
    """Read all transcripts of dev-clean."""
    files = sorted((shared_data / "LibriSpeech" / "dev-clean").glob("*/*/*.trans.txt"))
    return [line.split(" ", 1)[1] for file in files for line in file.read_text().splitlines()]


def test_special_ids_are_the_recipes(tokenizer: Tokenizer) -> None:
    """Unknown (blank), begin and end at 0, 1, 2, and no padding token."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_bytes)
    assert (processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id()) == (0, 1, 2, -1)
    assert tokenizer.size == 40
    assert not any(processor.is_byte(token) for token in range(tokenizer.size))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_round_trip_and_file(tmp_path: Path, model_type: ModelType) -> None:
    """What is written is what is returned, and words come back as they were."""
    path = tmp_path / "new" / "folder" / "tokenizer.model"
    trained = train_tokenizer(iter(SENTENCES), path, output_neurons=60, model_type=model_type)
    loaded = Tokenizer.load(path)
    assert loaded.model_bytes == trained.model_bytes
    assert [file.name for file in path.parent.iterdir()] == ["tokenizer.model"]
    for sentence in SENTENCES:
        tokens = loaded.encode(sentence)
        assert min(tokens) > END and max(tokens) < loaded.size
        assert loaded.decode(tokens) == sentence


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_same_text_same_bytes(tmp_path: Path, model_type: ModelType) -> None:
    """Training is deterministic, in this process and in another one."""
    program = (
        "import sys; from pathlib import Path; from hyperconformer.text import train_tokenizer;"
        "train_tokenizer(sys.argv[3:], Path(sys.argv[1]), output_neurons=60, model_type=sys.argv[2])"
    )
    other = tmp_path / "other.model"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, other, model_type, *SENTENCES], check=True, cwd=root)
    runs = [
        train_tokenizer(SENTENCES, tmp_path / name, output_neurons=60, model_type=model_type).model_bytes
        for name in ("a.model", "b.model")
    ]
    assert runs[0] == runs[1] == other.read_bytes()


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_small_text_gives_fewer_pieces(tmp_path: Path, model_type: ModelType) -> None:
    """A vocabulary the text cannot fill is a wide network's business, not an error."""
    trained = train_tokenizer(["AB BA AB"], tmp_path / "t.model", output_neurons=5000, model_type=model_type)
    assert 6 <= trained.size < 20
    assert trained.decode(trained.encode("BA BAB A")) == "BA BAB A"


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_too_few_neurons_names_the_least_number(tmp_path: Path, model_type: ModelType) -> None:
    """The number in the message is exact: it works, one less does not, and nothing is left behind."""
    least = len(set("".join(SENTENCES))) + 3
    path = tmp_path / "t.model"
    with pytest.raises(InputError, match=f"give at least {least}$"):
        train_tokenizer(SENTENCES, path, output_neurons=least - 1, model_type=model_type)
    assert not list(tmp_path.iterdir())
    assert train_tokenizer(SENTENCES, path, output_neurons=least, model_type=model_type).size == least


def test_a_model_wider_than_the_network_is_never_written(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever SentencePiece makes of its limit, an id beyond the output layer does not reach a run."""
    monkeypatch.setattr("hyperconformer.text._train", lambda *_: tokenizer.model_bytes)
    with pytest.raises(RuntimeError, match="40 pieces where 39 were allowed"):
        train_tokenizer(SENTENCES, tmp_path / "t.model", output_neurons=39)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sentences", [[], [""], ["  ", "\t\n"]])
def test_empty_text_is_refused(tmp_path: Path, sentences: list[str]) -> None:
    """No words, no tokenizer."""
    with pytest.raises(InputError, match="no words"):
        train_tokenizer(sentences, tmp_path / "t.model", output_neurons=10)


def test_reserved_characters_and_wrong_kinds_are_refused(tmp_path: Path) -> None:
    """SentencePiece would drop the line, or lose the character, without a word."""
    with pytest.raises(InputError, match=r"U\+0000, U\+2581, U\+2585"):
        train_tokenizer(["A\u2585B", "C\u2581", "\0"], tmp_path / "t.model", output_neurons=30)
    with pytest.raises(ValueError, match="'word' is not one of unigram, bpe, char"):
        kind: Any = "word"
        train_tokenizer(SENTENCES, tmp_path / "t.model", output_neurons=60, model_type=kind)


def test_case_accents_and_width_survive(tmp_path: Path) -> None:
    """Nothing is normalised but white space."""
    sentence = "Ünïcode u\u0308ber ﬁne Ｗide ½ 日本語 naïve…"
    trained = train_tokenizer([sentence], tmp_path / "t.model", output_neurons=100)
    assert trained.decode(trained.encode(sentence)) == sentence
    assert trained.encode(f"\u3000{sentence}\n".replace(" ", " \t ")) == trained.encode(sentence)


def test_long_lines_are_not_dropped(tmp_path: Path) -> None:
    """SentencePiece skips lines above 4192 bytes unless told otherwise."""
    trained = train_tokenizer(["AB " * 2000 + "Z"], tmp_path / "t.model", output_neurons=20)
    assert BLANK not in trained.encode("AZ")


def test_training_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """SentencePiece's log stays off the terminal."""
    train_tokenizer(SENTENCES, tmp_path / "t.model", output_neurons=60)
    assert capfd.readouterr() == ("", "")


def test_special_and_unused_ids_decode_to_nothing(tokenizer: Tokenizer) -> None:
    """A network may be wider than its tokenizer; its stray ids must not stop a run."""
    tokens = tokenizer.encode("THE CAT")
    stray = [BEGIN, -1, *tokens, BLANK, tokenizer.size, 10**9, END]
    assert tokenizer.decode(stray) == "THE CAT"
    assert tokenizer.decode([BLANK, BEGIN, END]) == tokenizer.decode([]) == ""
    assert tokenizer.encode("") == tokenizer.encode(" \n") == []


def test_unknown_characters_encode_to_blank(tokenizer: Tokenizer) -> None:
    """They leave a visible 0 among the tokens and nothing in the words."""
    tokens = tokenizer.encode("CAT é CAT")
    assert tokens.count(BLANK) == 1
    assert tokenizer.decode(tokens) == "CAT CAT"


def test_pickle_keeps_the_model(tokenizer: Tokenizer) -> None:
    """Data loader workers receive it pickled."""
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode(SENTENCES[1]) == tokenizer.encode(SENTENCES[1])
    assert copy.model_bytes == tokenizer.model_bytes


def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is whole or untouched."""
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"old")

    def full_disk(draft: Path, content: bytes) -> int:
        with draft.open("wb") as file:
            file.write(content[:10])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        tokenizer.save(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.model"]


def test_load_says_what_is_wrong(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """A missing file, a folder, a truncated and an empty file: one line each, with the path."""
    path = tmp_path / "t.model"
    for wrong, fault in ((path, "cannot be read"), (tmp_path, "is a folder: give the file in it")):
        with pytest.raises(InputError, match=f"tokenizer '{wrong}' {fault}"):
            Tokenizer.load(wrong)
    for content in (b"", b"garbage", tokenizer.model_bytes[:-5]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"tokenizer '{path}': not a SentencePiece model") as caught:
            Tokenizer.load(path)
        assert "\n" not in str(caught.value)


def test_other_special_ids_are_refused() -> None:
    """A model without begin and end tokens would have words at ids 1 and 2."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=40,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    with pytest.raises(InputError, match=r"ids \(0, -1, -1\)"):
        Tokenizer(model.getvalue())


def test_dev_clean_round_trip(tmp_path: Path, transcripts: list[str]) -> None:
    """A thousand pieces spell every transcript of dev-clean, and fewer than two a word."""
    trained = train_tokenizer(transcripts, tmp_path / "t.model", output_neurons=1000)
    assert trained.size == 1000
    encoded = [trained.encode(words) for words in transcripts]
    assert [trained.decode(tokens) for tokens in encoded] == transcripts
    assert min(map(min, encoded)) > END
    assert sum(map(len, encoded)) < 2 * sum(len(words.split()) for words in transcripts)


def test_dev_clean_needs_no_normalisation(tmp_path: Path, transcripts: list[str]) -> None:
    """On LibriSpeech's alphabet SentencePiece's default settings give the same pieces, in a larger file."""
    ours = train_tokenizer(transcripts, tmp_path / "t.model", output_neurons=300, model_type="bpe")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(transcripts),
        model_writer=model,
        vocab_size=300,
        character_coverage=1.0,
        model_type="bpe",
        max_sentencepiece_length=10,
        minloglevel=2,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    assert [ours.encode(words) for words in transcripts] == theirs.encode(transcripts)
    assert len(model.getvalue()) - len(ours.model_bytes) > 200_000


def test_text_needs_no_torch() -> None:
    """Tokens must be usable where torch is not installed."""
    program = "import sys, hyperconformer.text, hyperconformer.scoring; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("inner", ["tokenizer.model", "model/tokenizer.model"])
def test_a_folder_is_answered_with_the_file_in_it(inner: str, tmp_path: Path) -> None:
    (tmp_path / inner).parent.mkdir(exist_ok=True)
    (tmp_path / inner).touch()
    with pytest.raises(InputError, match=f"is a folder: give the file in it, '{tmp_path / inner}'"):
        Tokenizer.load(tmp_path)
