"""Reading audio: formats, rates, channels, durations, and one clear line for every bad file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from scipy import signal

from hyperconformer.audio import SAMPLE_RATE, audio_seconds, read_audio
from hyperconformer.errors import InputError

Maker = Callable[[Path], None]

# extension -> libsndfile format, subtype, sample rate in Hz, smallest acceptable correlation
FORMATS = {
    "wav": ("WAV", "PCM_16", 44_100, 0.999),
    "flac": ("FLAC", "PCM_16", 22_050, 0.999),
    "ogg": ("OGG", "VORBIS", 48_000, 0.99),
    "opus": ("OGG", "OPUS", 48_000, 0.99),
    "mp3": ("MP3", "MPEG_LAYER_III", 44_100, 0.99),
}


def _tone(rate_hz: int, seconds: float = 1.237) -> npt.NDArray[np.float64]:
    """Sum of two tones that every codec keeps, with soft ends."""
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    tone: npt.NDArray[np.float64] = 0.2 * np.sin(2 * np.pi * 440 * times) + 0.1 * np.sin(
        2 * np.pi * 1_000 * times
    )
    tone *= np.minimum(1, 20 * np.minimum(times, times[-1] - times))
    return tone


def _write(path: Path, samples: npt.NDArray[np.float64], rate_hz: int) -> Path:
    container, subtype, *_ = FORMATS[path.suffix[1:]]
    soundfile.write(path, samples, rate_hz, format=container, subtype=subtype)
    return path


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_gives_the_same_mono_16_khz_signal(
    tmp_path: Path, extension: str, channels: int
) -> None:
    rate_hz, smallest_correlation = FORMATS[extension][2:]
    tone = _tone(rate_hz)
    path = _write(tmp_path / f"tone.{extension}", np.stack([tone] * channels, axis=1), rate_hz)
    samples = read_audio(path)
    expected = _tone(SAMPLE_RATE)
    assert samples.ndim == 1 and samples.dtype == np.float32
    assert abs(len(samples) - len(expected)) <= 1
    overlap = min(len(samples), len(expected))
    assert np.corrcoef(samples[:overlap], expected[:overlap])[0, 1] > smallest_correlation


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.237])
def test_header_seconds_agree_with_the_decoded_length(tmp_path: Path, extension: str, seconds: float) -> None:
    rate_hz = FORMATS[extension][2]
    path = _write(tmp_path / f"tone.{extension}", _tone(rate_hz, seconds), rate_hz)
    assert audio_seconds(path) == pytest.approx(seconds, abs=1e-4)
    assert audio_seconds(str(path)) == pytest.approx(len(read_audio(str(path))) / SAMPLE_RATE, abs=1e-4)


def test_header_seconds_agree_on_real_speech(shared_data: Path) -> None:
    opus = sorted((shared_data / "LibriSpeech/test-clean").glob("*/*/*.opus"))[::100]
    flac = sorted((shared_data / "LibriSpeech-lossless").rglob("*.flac"))[::6]
    assert opus and flac
    for path in [*opus, *flac]:
        assert audio_seconds(path) == len(read_audio(path)) / SAMPLE_RATE, path


def test_opus_is_the_recording_that_flac_is(shared_data: Path) -> None:
    lossless = sorted((shared_data / "LibriSpeech-lossless").rglob("*.flac"))[0]
    [opus] = (shared_data / "LibriSpeech").rglob(f"{lossless.stem}.opus")
    original, coded = read_audio(lossless), read_audio(opus)
    assert len(original) == len(coded)
    assert np.corrcoef(original, coded)[0, 1] > 0.8


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).uniform(-0.5, 0.5, (1_000, 3))
    path = tmp_path / "three.wav"
    soundfile.write(path, channels, SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), channels.mean(axis=1), atol=1e-6)


def test_float_samples_at_16_khz_come_back_bit_for_bit(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 999).astype(np.float32)
    soundfile.write(tmp_path / "exact.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "exact.wav"), samples)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000, 96_000])
def test_resampling_agrees_with_a_slow_reference(tmp_path: Path, rate_hz: int) -> None:
    tone = _tone(rate_hz)
    soundfile.write(tmp_path / "tone.wav", tone, rate_hz, subtype="DOUBLE")
    samples = read_audio(tmp_path / "tone.wav")
    gcd = np.gcd(SAMPLE_RATE, rate_hz)
    # A long Kaiser filter designed here, applied by plain polyphase convolution.
    up, down = SAMPLE_RATE // gcd, rate_hz // gcd
    taps = signal.firwin(200 * max(up, down) + 1, 0.95 / max(up, down), window=("kaiser", 10.0))
    reference = signal.resample_poly(tone, up, down, window=taps)[: len(samples)]
    np.testing.assert_allclose(samples[: len(reference)], reference, atol=2e-4)


def test_tones_above_8_khz_do_not_fold_back(tmp_path: Path) -> None:
    times = np.arange(48_000) / 48_000
    soundfile.write(tmp_path / "high.wav", 0.5 * np.sin(2 * np.pi * 10_000 * times), 48_000)
    assert np.abs(read_audio(tmp_path / "high.wav")[1_000:-1_000]).max() < 1e-3


@pytest.mark.parametrize("rate_hz", [24_000, 48_000, 96_000, 192_000, 1_000_000])
@pytest.mark.parametrize("count", [1, 2])
def test_one_sample_is_a_recording_at_any_rate(tmp_path: Path, rate_hz: int, count: int) -> None:
    soundfile.write(tmp_path / "tick.wav", np.full(count, 0.5), rate_hz, subtype="FLOAT")
    samples = read_audio(tmp_path / "tick.wav")
    assert len(samples) == 1 and 0 < abs(samples[0]) <= 0.6


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a recording at all " * 500)


def _half_a_file(path: Path) -> None:
    whole = _write(path.with_stem("whole"), _tone(16_000), 16_000).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0), SAMPLE_RATE)


def _not_a_number(path: Path) -> None:
    soundfile.write(path, np.array([0.1, np.nan, 0.2]), SAMPLE_RATE, subtype="FLOAT")


def _infinite(path: Path) -> None:
    opposed = np.array([[0.1, 0.1], [np.inf, -np.inf]])
    soundfile.write(path, opposed, SAMPLE_RATE, subtype="FLOAT")


BAD_FILES = [
    ("missing.wav", lambda path: None, "does not exist: check the path"),
    ("folder.wav", lambda path: path.mkdir(), "is a folder, not an audio file"),
    ("empty.flac", lambda path: path.touch(), "cannot be decoded"),
    ("garbage.wav", _garbage, "cannot be decoded"),
    ("garbage.mp3", _garbage, "cannot be decoded"),
    ("headerless.raw", _garbage, "cannot be decoded"),
    ("half.flac", _half_a_file, "cannot be decoded"),
    ("half.opus", _half_a_file, "is cut short"),
    ("half.mp3", _half_a_file, "is cut short"),
    ("none.wav", _no_samples, "holds no samples"),
    ("nan.wav", _not_a_number, "NaN or infinite samples: write it again"),
    ("infinite.wav", _infinite, "NaN or infinite samples: write it again"),
]


@pytest.mark.parametrize(("name", "make", "complaint"), BAD_FILES, ids=[name for name, *_ in BAD_FILES])
def test_bad_files_are_named_in_one_line(tmp_path: Path, name: str, make: Maker, complaint: str) -> None:
    make(tmp_path / name)
    with pytest.raises(InputError, match=complaint) as raised:
        read_audio(tmp_path / name)
    message = str(raised.value)
    assert str(tmp_path / name) in message and "\n" not in message


@pytest.mark.parametrize(
    ("name", "make"),
    [("missing.wav", lambda path: None), ("garbage.opus", _garbage), ("none.wav", _no_samples)],
)
def test_seconds_of_bad_files_are_input_errors(tmp_path: Path, name: str, make: Maker) -> None:
    make(tmp_path / name)
    with pytest.raises(InputError, match=name):
        audio_seconds(tmp_path / name)


def test_audio_and_data_do_not_import_torch() -> None:
    code = (
        "import sys, hyperconformer.audio, hyperconformer.data.manifest, hyperconformer.data.librispeech, "
        "hyperconformer.data.custom, hyperconformer.data.archives, hyperconformer.data.summary; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
