"""Data sets of Hugging Face, written by its own library: the sound that went in comes out."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hyperconformer.audio import read_audio
from hyperconformer.data.custom import Choices, prepare_custom
from hyperconformer.data.sources import Source
from hyperconformer.errors import InputError

datasets = pytest.importorskip("datasets")

RATE = 16_000
PCM = np.random.default_rng(0).integers(-9000, 9000, size=RATE, dtype=np.int16)
FLOATS = PCM / np.float32(2**15)


@pytest.fixture
def encoded(tmp_path: Path) -> dict[str, object]:
    soundfile.write(tmp_path / "a.flac", PCM, RATE)
    return {"bytes": (tmp_path / "a.flac").read_bytes(), "path": None}


def prepare(path: Path, tmp_path: Path):
    return prepare_custom(Source(path), tmp_path / "out", "train", Choices(), progress=False)


def as_saved(data, folder: Path) -> Path:
    data.save_to_disk(folder / "saved")
    return folder / "saved"


def as_arrow(data, folder: Path) -> Path:
    [file] = as_saved(data, folder).glob("*.arrow")
    return file


def as_parquet(data, folder: Path) -> Path:
    data.to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


@pytest.mark.parametrize("save", [as_saved, as_arrow, as_parquet])
def test_encoded_audio(encoded: dict[str, object], tmp_path: Path, save) -> None:
    rows = [{"audio": encoded, "text": "yes", "speaker_id": 7, "id": "x/1", "start": 3.0, "duration": 9.0}]
    data = datasets.Dataset.from_list(rows).cast_column("audio", datasets.Audio(sampling_rate=RATE))
    source = save(data, tmp_path)
    [utterance] = prepare(source, tmp_path).utterances
    assert (utterance.id, utterance.seconds, utterance.speaker, utterance.words) == ("x/1", 1.0, "7", "yes")
    np.testing.assert_array_equal(read_audio(utterance.path), FLOATS)
    assert Path(utterance.path).parent == tmp_path / "out" / "train-audio"
    before = Path(utterance.path).stat().st_mtime_ns
    assert prepare(source, tmp_path).utterances == [utterance]
    assert Path(utterance.path).stat().st_mtime_ns == before


ARRAYS = [
    {"audio": {"array": FLOATS, "sampling_rate": RATE}},
    {"audio": FLOATS, "sampling_rate": RATE},
    {"audio": PCM, "sample_rate": RATE},
    {"audio": {"array": np.stack([FLOATS, FLOATS]), "sampling_rate": RATE}},
]


@pytest.mark.parametrize("row", ARRAYS)
def test_arrays(tmp_path: Path, row: dict[str, object]) -> None:
    source = as_saved(datasets.Dataset.from_list([row | {"sentence": "yes"}]), tmp_path)
    [utterance] = prepare(source, tmp_path).utterances
    assert utterance.id == "saved-0000000" and utterance.speaker == "saved"
    np.testing.assert_allclose(read_audio(utterance.path), FLOATS, atol=1 / 2**15)


def test_paths(encoded: dict[str, object], tmp_path: Path) -> None:
    rows = [{"audio": str(tmp_path / "a.flac"), "text": "yes"}]
    [utterance] = prepare(as_saved(datasets.Dataset.from_list(rows), tmp_path), tmp_path).utterances
    assert utterance.path == str(tmp_path / "a.flac")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"audio": [0.1, 0.2]}, "saved', row 0: an array without a sampling_rate"),
        (
            {"audio": [20_000.5] * 99, "sampling_rate": RATE},
            "has samples up to 20000.5: store floats from -1 to 1",
        ),
        ({"audio": [0.1] * 99, "sampling_rate": 0}, "has a sample rate of 0 Hz"),
        ({"audio": [], "sampling_rate": RATE}, "holds no samples"),
        ({"audio": {"bytes": b"noise", "path": None}}, "cannot be decoded: it is corrupt"),
        ({"audio": 7}, "saved', row 0: its audio is neither a file, nor bytes, nor an array"),
        ({"sound": "a.wav"}, "saved', row 0: no column audio_filepath or"),
    ],
)
def test_faults_have_a_row(tmp_path: Path, row: dict[str, object], complaint: str) -> None:
    source = as_saved(datasets.Dataset.from_list([row | {"text": "yes"}]), tmp_path)
    with pytest.raises(InputError, match=complaint) as raised:
        prepare(source, tmp_path)
    assert "\n" not in str(raised.value)


def test_several_splits_and_damage(tmp_path: Path) -> None:
    data = datasets.Dataset.from_list([{"audio": "a.wav", "text": "yes"}])
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "both")
    with pytest.raises(
        InputError, match="holds the splits train, test: name the folder of one, .*both/train'"
    ):
        prepare(tmp_path / "both", tmp_path)
    for name in ("a.arrow", "a.parquet"):
        (tmp_path / name).write_bytes(b"noise")
        with pytest.raises(InputError, match=rf"data set '.*{name}' cannot be opened \(.*\)") as raised:
            prepare(tmp_path / name, tmp_path)
        assert "\n" not in str(raised.value)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(
        InputError, match=r"need the library 'datasets': pip install \"hyperconformer\[hf\]\""
    ):
        prepare(tmp_path / "a.parquet", tmp_path)
