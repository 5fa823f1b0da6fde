"""The embedded corpus: what it promises about voices, sentences and bytes, and how it guards its folder."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hyperconformer.data import mini
from hyperconformer.data.mini import HOUR, SPLITS, MiniCorpus, plan_mini, prepare_mini
from hyperconformer.data.mini_grammar import draw_sentences, transcript, vocabulary
from hyperconformer.data.mini_times import word_times
from hyperconformer.data.mini_voice import EspeakError, Voice, cast, read_aloud
from hyperconformer.errors import InputError

TINY = MiniCorpus(voices=(1, 1, 1), sentences=(2, 1, 1))
REFUSE_TWINS = mini._refuse_twins
SOUNDS = """
import ctypes, os, sys
library, data_folder, accent, *words = sys.argv[1:]
espeak = ctypes.CDLL(library)
os.chdir(os.path.dirname(data_folder))
assert espeak.espeak_Initialize(2, 200, os.path.basename(data_folder).encode(), 0x8000) > 0
assert espeak.espeak_SetVoiceByName(accent.encode()) == 0
espeak.espeak_TextToPhonemes.restype = ctypes.c_char_p
for word in words:
    print(espeak.espeak_TextToPhonemes(ctypes.byref(ctypes.c_char_p(word.lower().encode())), 1, 0).decode())
"""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def wheel() -> tuple[str, str]:
    """Library and data folder of espeak-ng."""
    loader = importlib.import_module("espeakng_loader")
    return loader.get_library_path(), loader.get_data_path()


def words_of(split: str) -> Counter[str]:
    """How often the default plan says each word in a split."""
    readers = [reader for reader in plan_mini() if reader.split == split]
    return Counter(word for r in readers for sentence in r.sentences for word in transcript(sentence).split())


@pytest.fixture(autouse=True)
def trusted_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare voices only in the tests about that: it is most of the time that a tiny corpus takes."""
    monkeypatch.setattr(mini, "_refuse_twins", lambda *_: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny corpus; not to be changed."""
    return prepare_mini(tmp_path_factory.mktemp("made") / "mini", workers=1, progress=False, corpus=TINY)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A tiny corpus; may be broken."""
    return Path(shutil.copytree(made, tmp_path / "mini"))


def remade(folder: Path, made: Path) -> bool:
    """Whether preparing again gives the corpus as it was."""
    prepare_mini(folder, progress=False, corpus=TINY)
    return contents(folder) == contents(made) and os.listdir(folder.parent) == [folder.name]


def test_the_plan_is_an_hour_of_many_voices_and_few_words() -> None:
    readers = plan_mini()
    assert len({reader.voice.name for reader in readers}) == len({reader.speaker for reader in readers}) == 46
    assert 1100 <= sum(len(reader.sentences) for reader in readers) == HOUR.utterances <= 1400
    assert 150 <= len(vocabulary()) <= 200
    assert all(4 <= len(sentence.split()) <= 12 for reader in readers for sentence in reader.sentences)


def test_no_sentence_comes_twice() -> None:
    assert len(set(islice(draw_sentences(3), 5_000))) == 5_000
    sentences = [sentence for reader in plan_mini() for sentence in reader.sentences]
    assert len(set(sentences)) == len(sentences)


def test_every_word_is_heard_often_in_training() -> None:
    trained = words_of("train-mini")
    assert set(trained) == vocabulary() and min(trained.values()) >= 20
    assert set(words_of("test-mini")) | set(words_of("dev-mini")) <= set(trained)
    assert len(words_of("test-mini")) >= 150


def test_accents_of_test_are_heard_in_training() -> None:
    accents = {split: {voice.accent for voice in cast(split)} for split in SPLITS}
    assert accents["test-mini"] | accents["dev-mini"] <= accents["train-mini"]


def test_another_seed_has_other_sentences_and_the_same_voices() -> None:
    a, b = plan_mini(seed=0), plan_mini(seed=1)
    assert [reader.voice for reader in a] == [reader.voice for reader in b]
    assert not {reader.sentences for reader in a} & {reader.sentences for reader in b}


@pytest.mark.parametrize("accent", sorted({voice.accent for split in SPLITS for voice in cast(split)}))
def test_no_two_words_sound_alike_and_none_is_spelt_out(accent: str) -> None:
    words = sorted(vocabulary())
    command = [sys.executable, "-c", SOUNDS, *wheel(), accent, *words]
    sounds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(set(sounds)) == len(words)
    assert not [word for word, sound in zip(words, sounds, strict=True) if " " in sound.strip()]


def test_all_voices_have_their_own_files() -> None:
    voices = [voice for split in SPLITS for voice in cast(split)]
    _, data_folder = mini.espeak_wheel(voices)
    assert len({Path(data_folder, "voices/!v", voice.variant).read_bytes() for voice in voices}) == len(
        voices
    )


def test_voices_speak_differently() -> None:
    # A sample, for the sake of time: all of them are compared whenever a whole corpus is made.
    voices = [voice for split in SPLITS for voice in cast(split)[::4]]
    with ThreadPoolExecutor(2) as pool:
        REFUSE_TWINS(pool, voices, mini.espeak_wheel(voices))


def test_a_reading_is_the_same_every_time_though_espeak_takes_the_time_of_day() -> None:
    breathy = Voice("en-US", "victor")
    first = read_aloud(breathy, ("hello",), *wheel(), seed=1)
    time.sleep(1.05 - time.time() % 1)
    assert read_aloud(breathy, ("hello",), *wheel(), seed=1) == first


def test_one_worker_and_two_write_the_same_bytes(made: Path, tmp_path: Path) -> None:
    two = prepare_mini(tmp_path / "mini", workers=2, progress=False, corpus=TINY)
    assert contents(two) == contents(made)


def test_layout_and_transcripts_are_librispeech(made: Path) -> None:
    assert sorted(contents(made)) == [
        "corpus.json",
        "dev-mini/2001/1/2001-1-0000.flac",
        "dev-mini/2001/1/2001-1.trans.txt",
        "test-mini/3001/1/3001-1-0000.flac",
        "test-mini/3001/1/3001-1.trans.txt",
        "train-mini/1001/1/1001-1-0000.flac",
        "train-mini/1001/1/1001-1-0001.flac",
        "train-mini/1001/1/1001-1.trans.txt",
    ]
    lines = (made / "train-mini/1001/1/1001-1.trans.txt").read_bytes().decode().split("\n")
    assert lines[-1] == "" and len(lines) == 3
    for index, line in enumerate(lines[:-1]):
        identity, *words = line.split(" ")
        assert identity == f"1001-1-{index:04d}" and set(words) <= vocabulary()


def test_the_audio_is_sane(made: Path) -> None:
    loud = []
    for path in made.rglob("*.flac"):
        samples, sample_rate_hz = soundfile.read(path, dtype="float32")
        assert sample_rate_hz == 16_000 and samples.ndim == 1
        assert soundfile.info(path).subtype == "PCM_16"
        assert 0.5 <= len(samples) / sample_rate_hz <= 8.0
        assert np.abs(samples).max() < 0.96
        loud.append(20 * np.log10(np.sqrt(np.mean(samples**2))))
    assert all(-30 < level_db < -20 for level_db in loud) and len(set(loud)) == len(loud)


def test_the_record_counts(made: Path) -> None:
    record = json.loads((made / "corpus.json").read_text())
    assert record["seed"] == 0
    for split, speakers, utterances in zip(SPLITS, (1, 1, 1), (2, 1, 1), strict=True):
        counts = record["splits"][split]
        assert (counts["speakers"], counts["utterances"]) == (speakers, utterances)
        seconds = sum(soundfile.info(path).duration for path in (made / split).rglob("*.flac"))
        assert counts["seconds"] == pytest.approx(seconds)


def test_a_second_call_speaks_nothing(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert prepare_mini(copy, progress=False, corpus=TINY) == copy
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


FLAC = "train-mini/1001/1/1001-1-0001.flac"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (FLAC, "truncated"),
        (FLAC, "deleted"),
        ("dev-mini/2001/1/2001-1.trans.txt", "truncated"),
        ("corpus.json", "truncated"),
        ("corpus.json", "deleted"),
    ],
)
def test_a_broken_corpus_is_made_again(copy: Path, made: Path, name: str, fault: str) -> None:
    if fault == "deleted":
        (copy / name).unlink()
    else:
        (copy / name).write_bytes((copy / name).read_bytes()[:-9])
    assert remade(copy, made)


def test_a_missing_split_or_an_additional_utterance_is_noticed(copy: Path, made: Path) -> None:
    shutil.rmtree(copy / "test-mini")
    assert remade(copy, made)
    shutil.copy(copy / FLAC, copy / "train-mini/1001/1/1001-1-0002.flac")
    assert remade(copy, made)


def test_another_seed_or_size_is_made_again(copy: Path) -> None:
    prepare_mini(copy, seed=1, progress=False, corpus=TINY)
    assert json.loads((copy / "corpus.json").read_text())["seed"] == 1
    prepare_mini(copy, progress=False, corpus=MiniCorpus(voices=(1, 1, 1), sentences=(1, 1, 1)))
    assert len(list(copy.rglob("*.flac"))) == 3


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds 'thesis.txt', which is not .*: choose another folder"):
        prepare_mini(tmp_path / "precious", progress=False, corpus=TINY)
    assert contents(tmp_path) == {"precious/thesis.txt": b"years of work"}


def test_what_somebody_put_into_a_broken_corpus_is_not_deleted(copy: Path) -> None:
    (copy / "train-mini" / "notes.txt").write_text("mine")
    (copy / FLAC).unlink()
    with pytest.raises(InputError, match=r"train-mini/notes.txt"):
        prepare_mini(copy, progress=False, corpus=TINY)
    assert (copy / "train-mini" / "notes.txt").read_text() == "mine"


def test_what_somebody_put_into_a_whole_corpus_does_not_matter(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    prepare_mini(copy, progress=False, corpus=TINY)
    assert (copy / "notes.txt").read_text() == "mine"


def test_a_file_or_a_forbidden_place_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        prepare_mini(tmp_path / "file", progress=False, corpus=TINY)
    with pytest.raises(InputError, match="choose another folder"):
        prepare_mini(tmp_path / "file" / "mini", progress=False, corpus=TINY)


def test_an_empty_folder_and_a_link_are_filled(made: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "mini").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "mini")
    prepare_mini(tmp_path / "link", progress=False, corpus=TINY)
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "disk" / "mini") == contents(made)


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mini, "_write_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare_mini(tmp_path / "mini", progress=False, corpus=TINY)
    assert not os.listdir(tmp_path)


def test_what_a_killed_process_left_is_swept_away_once_it_is_old(copy: Path) -> None:
    fresh, old, foreign = (copy.parent / f".mini.making-{name}" for name in ("aaaa", "bbbb", "cccc"))
    for folder in (fresh, old, foreign):
        (folder / "train-mini").mkdir(parents=True)
    (foreign / "thesis.txt").write_text("years of work")
    for folder in (old, foreign):
        os.utime(folder, (time.time() - 1000,) * 2)
    prepare_mini(copy, progress=False, corpus=TINY)
    assert fresh.exists() and foreign.exists() and not old.exists()


def test_two_processes_at_once_end_with_one_corpus(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write_record = tmp_path / "mini", mini._write_record

    def be_overtaken(*arguments: object) -> None:
        monkeypatch.setattr(mini, "_write_record", write_record)
        prepare_mini(folder, progress=False, corpus=TINY)
        write_record(*arguments)

    monkeypatch.setattr(mini, "_write_record", be_overtaken)
    assert remade(folder, made)


def test_a_missing_wheel_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r'pip install --upgrade "hyperconformer\[mini\]"'):
        prepare_mini(tmp_path / "mini", progress=False, corpus=TINY)
    assert not os.listdir(tmp_path)


def test_a_missing_variant_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "cast", lambda split: (Voice("en-US", f"nobody-{split}"),))
    with pytest.raises(InputError, match="nobody-train-mini"):
        prepare_mini(tmp_path / "mini", progress=False, corpus=MiniCorpus((1, 1, 1), (1, 1, 1)))


def test_voices_that_speak_alike_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "_refuse_twins", REFUSE_TWINS)
    monkeypatch.setattr(mini, "espeak_wheel", lambda _: wheel())
    monkeypatch.setattr(mini, "cast", lambda split: (Voice("en-US", f"nobody-{split}"),))
    with pytest.raises(InputError, match="exactly like"):
        prepare_mini(tmp_path / "mini", progress=False, corpus=MiniCorpus((1, 1, 1), (1, 1, 1)))


def test_an_unknown_voice_fails_with_its_name() -> None:
    with pytest.raises(EspeakError, match="en-NOWHERE"):
        read_aloud(Voice("en-NOWHERE"), ("hello",), *wheel())


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_are_positive(tmp_path: Path, workers: int) -> None:
    with pytest.raises(ValueError, match=f"workers {workers}"):
        prepare_mini(tmp_path / "mini", workers=workers)


@pytest.mark.parametrize(
    ("voices", "sentences"), [((37, 4, 6), (1, 1, 1)), ((0, 1, 1), (1, 1, 1)), ((1, 1, 1), (1, 0, 1))]
)
def test_impossible_sizes_are_refused(voices: tuple[int, int, int], sentences: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="from 1 to"):
        MiniCorpus(voices, sentences)


def test_the_times_are_of_the_words_that_are_read() -> None:
    reader = mini.plan_mini()[0]
    reader = mini.Reader(reader.split, reader.speaker, reader.voice, reader.sentences[:4])
    _, spoken = read_aloud(reader.voice, reader.sentences, *wheel())
    for sentence, (samples, _), words in zip(reader.sentences, spoken, word_times(reader), strict=True):
        assert " ".join(word.text for word in words) == transcript(sentence)
        times = [time for word in words for time in (word.start, word.end)]
        assert times == sorted(times) and times[-1] < len(samples) / 2 / 22_050
        assert all(word.end - word.start > 0.04 for word in words)
