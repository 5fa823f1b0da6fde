"""Whatever people have: file objects, bytes, arrays, m4a and video, streams without a length, hours."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hyperconformer.audio import (
    AudioSource,
    as_house_audio,
    audio_seconds,
    ffmpeg,
    open_audio,
    read_audio,
    sources,
)
from hyperconformer.errors import InputError
from tests.broken_audio import FFMPEG, LIBSNDFILE, encode, sound, whole, written

ROOT = Path(__file__).parents[2]

# What FFmpeg's encoders cost: speech over a telephone is the worst. Nothing in these containers tells the
# decoder of the encoder's delay.
LOSSY = {"amr": 0.95, "aac": 0.98}
DELAYED = ("aac", "wma", "amr")


def likeness(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32], most_delay: int = 0) -> float:
    """Greatest correlation of two signals of which one may lag behind the other."""
    length = min(len(one), len(other)) - most_delay
    pairs = [(one[lag:][:length], other[:length]) for lag in range(most_delay + 1)]
    pairs += [(one[:length], other[lag:][:length]) for lag in range(most_delay + 1)]
    return max(float(np.corrcoef(left, right)[0, 1]) for left, right in pairs)


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
def test_every_format_is_the_same_sound_from_a_file_a_stream_and_bytes(tmp_path: Path, name: str) -> None:
    expected = as_house_audio(sound(), 44_100)
    path = tmp_path / f"sound.{name}"
    path.write_bytes(whole(name))
    samples = read_audio(path)
    band = as_house_audio(as_house_audio(expected, 16_000)[::2], 8_000) if name == "amr" else expected
    delay = 800 if name in DELAYED else 0
    assert likeness(samples, band, delay) > LOSSY.get(name, 0.99)
    assert len(samples) == pytest.approx(32_000, abs=1 if name not in (*DELAYED, "mkv") else 900)
    assert audio_seconds(path) == pytest.approx(len(samples) / 16_000, abs=0.05)
    with path.open("rb") as file:
        file.read(100)  # it is read from its beginning all the same, and left open
        np.testing.assert_array_equal(read_audio(file), samples)
        assert not file.closed
    np.testing.assert_array_equal(read_audio(whole(name)), samples)


class Pipe(io.RawIOBase):
    """Gives bytes in small pieces and cannot go back, as a pipe does."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)
        self.name = "<stdin>"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        return self._rest.readinto(memoryview(buffer)[:1_000])


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "m4a", "webm"])
def test_pipes_are_read_to_their_end(name: str) -> None:
    np.testing.assert_array_equal(read_audio(Pipe(whole(name))), read_audio(whole(name)))


def test_standard_input_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(whole("flac"))
    code = "import sys; from hyperconformer.audio import read_audio; print(len(read_audio(sys.stdin.buffer)))"
    for command in ('cat a.flac | "$0" -c "$1"', '"$0" -c "$1" < a.flac'):
        done = subprocess.run(
            ["sh", "-c", command, sys.executable, code],
            cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("32000\n", "")


class Broken(io.BytesIO):
    """A file object whose disk gives out."""

    def read(self, count: int | None = -1) -> bytes:
        raise OSError(5, "Input/output\nerror")


def closed() -> io.BytesIO:
    buffer = io.BytesIO(b"RIFF")
    buffer.close()
    return buffer


OBJECTS: list[tuple[str, Callable[[], object], str]] = [
    ("garbage", lambda: Pipe(b"no sound"), "^standard input cannot be decoded"),
    ("empty", lambda: Pipe(b""), "^standard input cannot be decoded"),
    ("cut", lambda: io.BytesIO(whole("opus")[:-99]), "^the file object is cut short"),
    ("text", lambda: io.StringIO("RIFF"), "gives str, not bytes: open it in binary mode, 'rb'"),
    ("disk", Broken, r"cannot be read \(\[Errno 5\] Input/output error\)"),
    ("closed", closed, "cannot be read .*closed file"),
    ("device", lambda: open("/dev/zero", "rb"), "'/dev/zero' is a terminal or a device"),  # noqa: SIM115
    ("none", lambda: None, "cannot be read from NoneType: give a path"),
    ("number", lambda: 3, "cannot be read from int: give a path"),
]


@pytest.mark.parametrize(("make", "said"), [row[1:] for row in OBJECTS], ids=[row[0] for row in OBJECTS])
def test_file_objects_that_are_none_are_named(make: Callable[[], AudioSource], said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        read_audio(make())
    assert "\n" not in str(raised.value)


def test_a_stream_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_STREAM", 10_000)
    with pytest.raises(InputError, match=r"gives more than 0.0 GiB: name a file instead"):
        read_audio(io.BytesIO(whole("wav")))


def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(sources.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(InputError, match=r"cannot be copied to '.*' \(No space left on device\): set TMPDIR"):
        read_audio(io.BytesIO(whole("wav")))


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "opus", "mp3", "m4a", "webm", "mkv"])
@pytest.mark.parametrize("seconds", [0.05, 0.7, 100.0])
def test_blocks_are_the_whole_in_pieces(name: str, seconds: float) -> None:
    with open_audio(whole(name)) as recording:
        blocks, again = list(recording.blocks(seconds)), list(recording.blocks(seconds))
    assert {len(block) for block in blocks[:-1]} <= {round(16_000 * seconds)} and len(blocks[-1]) > 0
    assert all(block.dtype == np.float32 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(whole(name)))
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(blocks))


def test_blocks_of_no_length() -> None:
    with open_audio(whole("wav")) as recording, pytest.raises(ValueError, match="at least a sample"):
        next(recording.blocks(0.0))


LONG = """
import resource, sys
import numpy as np, soundfile
from hyperconformer.audio import open_audio
path, minutes = sys.argv[1], int(sys.argv[2])
minute = np.random.default_rng(0).uniform(-0.1, 0.1, 60 * 8_000).astype(np.float32)
with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_16") as file:
    for _ in range(minutes):
        file.write(minute)
with open_audio(path) as recording:
    samples = sum(len(block) for block in recording.blocks())
assert samples == recording.seconds * 16_000 == minutes * 960_000, samples
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_hours_need_no_more_memory_than_minutes(tmp_path: Path) -> None:
    peaks = []
    for minutes in (2, 60):
        command = [sys.executable, "-c", LONG, str(tmp_path / "long.wav"), str(minutes)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]


def test_recordings_that_do_not_tell_their_length() -> None:
    """As programs write them into pipes, which cannot go back to fill it in, or when they die."""
    flac = bytearray(whole("flac"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    with open_audio(bytes(flac)) as recording:
        assert recording.seconds is None
    np.testing.assert_array_equal(read_audio(bytes(flac)), read_audio(whole("flac")))
    assert audio_seconds(bytes(flac)) == 2.0
    for size in (2**32 - 1, 2**31 - 2**12, 2**31 - 256, 2**31, 0):
        wav = bytearray(whole("wav"))
        wav[40:44] = size.to_bytes(4, "little")
        np.testing.assert_array_equal(read_audio(bytes(wav)), read_audio(whole("wav")), err_msg=str(size))


def test_days_of_silence_in_a_small_file_are_not_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = written(np.zeros(25 * 3_600 * 1_000, np.int16), "FLAC", "PCM_16", 1_000)
    assert len(silence) < 1_000_000 and audio_seconds(silence) == 25 * 3_600
    with pytest.raises(InputError, match="lasts more than 24 hours"):
        read_audio(silence)


def test_the_first_sound_of_a_film_and_none() -> None:
    from fractions import Fraction

    import av

    film = io.BytesIO()
    with av.open(film, "w", format="matroska") as target:
        stream = target.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        picture.pts, picture.time_base = 0, Fraction(1, 5)
        for piece in (picture, None):
            target.mux(stream.encode(piece))
    with pytest.raises(InputError, match="has no sound"):
        read_audio(film)


def test_lists_of_other_files_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.m4a").write_bytes(whole("m4a"))
    for number, text in enumerate(
        (
            "ffconcat version 1.0\nfile secret.m4a\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.m4a\n",
        )
    ):
        path = tmp_path / f"{number}.m4a"
        path.write_text(text)
        with pytest.raises(InputError, match="cannot be decoded"):
            read_audio(path)


def test_no_decoder_of_pictures_is_ever_run() -> None:
    assert "aac" in ffmpeg.audio_codecs() and not {"h264", "mjpeg", "png", "mpeg4"} & set(
        ffmpeg.audio_codecs()
    )


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hyperconformer.audio.ffmpeg", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "memo.m4a").write_bytes(whole("m4a"))
    with pytest.raises(
        InputError, match=r"memo.m4a' cannot be .* pip install \"hyperconformer\[av\]\"; or conv"
    ):
        read_audio(tmp_path / "memo.m4a")
    assert len(read_audio(whole("flac"))) == 32_000
    with pytest.raises(InputError, match="holds no samples"):
        read_audio(written(np.zeros(0), "WAV", "PCM_16"))


def test_real_speech_survives_every_way_it_may_be_sent(shared_data: Path, tmp_path: Path) -> None:
    clip = sorted((shared_data / "digits/test-digits").rglob("*.opus"))[0]
    original = read_audio(clip)
    at_44 = soundfile_resampled(original, 44_100)
    ways = {
        "talk.mp3": written(at_44, "MP3", "MPEG_LAYER_III"),
        "stereo.wav": written(np.stack([at_44 * 1.2, at_44 * 0.8], axis=1), "WAV", "PCM_16"),
        "studio.flac": written(original, "FLAC", "PCM_24", 16_000),
        "memo.m4a": encode(at_44, "ipod", "aac", bit_rate=96_000),
        "talk.webm": encode(at_44, "webm", "libopus", 48_000),
    }
    for name, content in ways.items():
        (tmp_path / name).write_bytes(content)
        samples = read_audio(tmp_path / name)
        assert abs(len(samples) - len(original)) < 400, name
        assert likeness(samples, original) > 0.95, name


def soundfile_resampled(samples: npt.NDArray[np.float32], rate_hz: int) -> npt.NDArray[np.float32]:
    import soxr

    return soxr.resample(samples, 16_000, rate_hz)


ONES = np.ones(3)
ARRAYS: list[tuple[npt.NDArray[np.generic], list[float]]] = [
    (np.array([0.5, -0.5, 0.0], np.float64), [0.5, -0.5, 0.0]),
    (np.array([0.5, -0.5, 0.0], np.float16), [0.5, -0.5, 0.0]),
    (np.array([16_384, -32_768, 0], np.int16), [0.5, -1.0, 0.0]),
    (np.array([2**30, -(2**31), 0], np.int32), [0.5, -1.0, 0.0]),
    (np.array([192, 0, 128], np.uint8), [0.5, -1.0, 0.0]),
    (np.array([[0.5, 0.25], [1.0, 0.0]], np.float32), [0.375, 0.5]),
    (np.array([[16_384, 0], [-32_768, -32_768]], np.int16), [0.25, -1.0]),
]


@pytest.mark.parametrize(("array", "expected"), ARRAYS, ids=[f"{a.dtype}-{a.ndim}d" for a, _ in ARRAYS])
def test_arrays_of_every_kind(array: npt.NDArray[np.generic], expected: list[float]) -> None:
    samples = as_house_audio(array, 16_000)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, expected)


BAD_ARRAYS: list[tuple[object, object, str]] = [
    (np.zeros((2, 3, 4)), 16_000, r"the array has the shape \(2, 3, 4\): give \(samples,\)"),
    (np.array(1.0), 16_000, r"has the shape \(\)"),
    (np.zeros((2, 16_000)), 16_000, "16000 channels: .* perhaps its transpose"),
    (np.zeros((16_000, 0)), 16_000, "0 channels"),
    (np.zeros(0), 16_000, "holds no samples"),
    (np.array([1, 2]), 16_000, "samples must be floats, uint8, int16, int32, not int64"),
    (np.array([1j]), 16_000, "not complex128"),
    (np.array([True]), 16_000, "not bool"),
    (np.array(["a"]), 16_000, "not <U1"),
    (np.array([None]), 16_000, "not object"),
    (np.array([0.0, np.nan]), 16_000, "NaN or infinite"),
    (np.array([1e300]), 16_000, "NaN or infinite"),
    (ONES, 0, "sample rate of 0 Hz"),
    (ONES, -16_000, "sample rate of -16000 Hz"),
    (ONES, float("nan"), "sample rate of nan Hz"),
    (ONES, 1e7, r"sample rate of 1e\+07 Hz"),
    (ONES, None, "None, which is no number: give it in Hz"),
    (ONES, "16000", "'16000', which is no number: give it in Hz"),
    ([0.1, 0.2], 16_000, "is a list: give a numpy array"),
]


@pytest.mark.parametrize(("array", "rate_hz", "said"), BAD_ARRAYS, ids=[row[2][:24] for row in BAD_ARRAYS])
def test_arrays_that_are_no_recording(array: npt.NDArray[np.float32], rate_hz: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        as_house_audio(array, rate_hz)
    assert "\n" not in str(raised.value)


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    (tmp_path / "bad.wav").write_bytes(b"no sound")
    (tmp_path / "cut.wav").write_bytes(whole("wav")[:5_000])
    (tmp_path / "void.wav").write_bytes(written(np.zeros(0), "WAV", "PCM_16"))
    read_audio(whole("m4a"))
    before = descriptors()
    for _ in range(20):
        for source in (tmp_path / "bad.wav", tmp_path / "cut.wav", tmp_path / "void.wav", "/dev/null"):
            with pytest.raises(InputError):
                read_audio(source)
        for name in ("flac", "mkv"):
            read_audio(whole(name))
            with open_audio(whole(name)) as recording:
                next(recording.blocks(0.1))
    assert descriptors() <= before
