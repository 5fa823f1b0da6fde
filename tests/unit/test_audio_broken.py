"""Broken recordings never hurt: one line that names it and what to do, and nothing else."""

import os
import re
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperconformer.audio import audio_seconds, open_audio, read_audio
from hyperconformer.errors import InputError
from hyperconformer.inference.transcriber import Transcriber
from tests.broken_audio import make_broken_files, make_odd_files, whole, written


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_broken_files(tmp_path_factory.mktemp("broken"))


def complaint(path: Path) -> str:
    """What is said of a file that cannot be read, or nothing if it can."""
    try:
        samples = read_audio(path)
    except InputError as error:
        return str(error)
    assert samples.ndim == 1 and len(samples) and np.isfinite(samples).all()
    return ""


def test_there_are_more_than_200_and_they_are_the_same_every_time(broken: list[Path], tmp_path: Path) -> None:
    again = make_broken_files(tmp_path / "again")
    assert len(broken) > 200
    assert [path.name for path in again] == [path.name for path in broken]
    for one, other in zip(broken, again, strict=True):
        if len(one.name) < 100 and one.is_file() and one.stat().st_mode & 0o400:
            assert one.read_bytes() == other.read_bytes(), one


def test_each_is_refused_in_one_line_that_names_it(
    broken: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    complaint(broken[-1])  # libraries are loaded
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    timer = threading.Timer(60, os._exit, [1])  # what waits for a pipe would wait for ever
    timer.start()
    complaints = [complaint(path) for path in broken]
    timer.cancel()
    for path, said in zip(broken, complaints, strict=True):
        assert said, f"{path} was read"
        assert repr(str(path)) in said and len(said.splitlines()) == 1, path
        assert re.search(r": \w+", said.replace(repr(str(path)), "")), said
    # Nor do the libraries print anything, and nothing of the size that a header claims is asked for.
    assert capfd.readouterr() == ("", "")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_seconds_and_blocks_of_them_are_refused_as_well(broken: list[Path]) -> None:
    for path in broken:
        with pytest.raises(InputError), open_audio(path) as recording:
            for _ in recording.blocks(1.0):
                pass
        try:
            seconds = audio_seconds(path)
        except InputError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert seconds > 0


def test_complaints_fit_what_is_wrong(broken: list[Path]) -> None:
    said = {path.name: complaint(path) for path in broken}
    for name, reason in {
        "folder.wav": "is a folder",
        "pipe.wav": "is a named pipe",
        "to-pipe.wav": "is a named pipe",
        "socket.wav": "is a socket",
        "zero.wav": "is a device",
        "loop.wav": "is a link that leads back to itself",
        "nowhere.wav": "does not exist",
        "never-made.wav": "does not exist",
        "deeper.wav": "does not exist",
        "long" * 99 + ".wav": "has too long a name",
        "nan.wav": "NaN or infinite",
        "-inf.caf": "NaN or infinite",
        "1-hz.wav": "has a sample rate of 1 Hz, outside 1000 to 1000000",
        "10000000-hz.au": "has a sample rate of 1e+07 Hz",
        "a-gigabyte.wav": "is cut short, 11337.8 of 11337.9 s are missing",
        "12-hours.flac": "is cut short, 43198.0 of 43200.0 s",
        "a-terabyte.rf64": "is cut short",
        "no-samples.wav": "holds no samples",
        "text.wav": "cannot be decoded",
        "picture.mp4": "cannot be decoded",
    }.items():
        assert reason in said[name], said[name]
    for name in ("wav", "ogg", "opus", "mp3", "aiff", "w64", "rf64", "mkv", "webm"):
        size = len(whole(name)) * 70 // 100
        assert "is cut short" in said[f"first-{size}-bytes.{name}"], said[f"first-{size}-bytes.{name}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(whole("wav"))
    (tmp_path / "secret.wav").chmod(0)
    with pytest.raises(InputError, match="may not be read: check its permissions"):
        read_audio(tmp_path / "secret.wav")


@pytest.mark.parametrize("number", [13, 5, 24])
def test_what_the_system_refuses(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, and a test cannot break a disk."""
    (tmp_path / "a.wav").write_bytes(whole("wav"))

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hyperconformer.audio.sources.os.open", refuse)
    with pytest.raises(InputError) as raised:
        read_audio(tmp_path / "a.wav")
    said = {13: "may not be read: check its permissions"}.get(
        number, f"cannot be opened ({os.strerror(number)})"
    )
    assert said in str(raised.value)


def test_a_name_with_a_zero_byte() -> None:
    with pytest.raises(InputError, match=r"'a\\x00.wav' does not exist"):
        read_audio("a\0.wav")


def test_a_file_that_vanishes_or_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(whole("wav"))
    with open_audio(path) as recording:
        path.unlink()
        assert sum(map(len, recording.blocks())) == 32_000
    path.write_bytes(whole("wav"))
    with open_audio(path) as recording:
        os.truncate(path, 10_000)
        with pytest.raises(InputError, match="is cut short"):
            list(recording.blocks())


def test_flipped_bits_give_sound_or_one_line(tmp_path: Path) -> None:
    paths = make_odd_files(tmp_path / "odd")
    said = [complaint(path) for path in paths]
    assert len(paths) > 120 and all(len(line.splitlines()) <= 1 for line in said)
    # The test would be idle if all were of one kind.
    assert 0.2 < sum(not line for line in said) / len(paths) < 0.8


@pytest.mark.parametrize("channels", [1, 2, 8, 64, 1024])
@pytest.mark.parametrize("samples", [1, 3, 5_000])
def test_many_channels_and_few_samples(channels: int, samples: int) -> None:
    values = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)
    np.testing.assert_allclose(
        read_audio(written(values, "WAV", "FLOAT", 16_000)), values.mean(axis=1), atol=1e-6
    )


@pytest.mark.parametrize("samples", [1, 2, 159, 161, 500])
def test_less_than_a_frame_of_sound_has_some_text_or_none(
    samples: int, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.wav").write_bytes(written(np.full(samples, 0.5), "WAV", "PCM_16", 16_000))
    transcriber = Transcriber.load(tiny_bundle)
    assert isinstance(transcriber.transcribe(tmp_path / "tiny.wav").text, str)
    # The same as in a batch with a longer one.
    alone = torch.from_numpy(read_audio(tmp_path / "tiny.wav"))[None]
    both = torch.zeros(2, 1_600)
    both[0, :samples] = alone
    with torch.inference_mode():
        memory, _ = transcriber.model.encode(alone, torch.tensor([samples]))
        padded, _ = transcriber.model.encode(both, torch.tensor([samples, 1_600]))
    assert torch.isfinite(memory).all()
    torch.testing.assert_close(padded[:1, : memory.shape[1]], memory, rtol=1e-4, atol=1e-5)
