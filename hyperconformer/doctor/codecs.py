"""Whether audio of every kind is really decoded: a second of a tone is written, read and listened to."""

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from hyperconformer.doctor.findings import Finding, fault, ok, warning

Reader = Callable[[Path], Any]

TONE_HZ, RATE_HZ = 440, 48_000
# What recordings are in that nobody can do without.
NECESSARY = ("wav", "flac")
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
BY_FFMPEG = "m4a"
REINSTALL = "pip install --force-reinstall soundfile soxr (its wheels bring libsndfile along)"


def check() -> Iterator[Finding]:
    """Decode every format.

    Yields
    ------
    Finding

    Examples
    --------
    >>> [finding.level for finding in check()]
    ['ok']
    """
    try:
        import soundfile

        from hyperconformer.audio import read_audio
    except (ImportError, OSError) as error:
        yield fault("codecs", f"audio cannot be read ({error})", REINSTALL)
        return
    good, has_ffmpeg = [], importlib.util.find_spec("av") is not None
    with tempfile.TemporaryDirectory() as folder:
        for name in [*FORMATS, BY_FFMPEG] if has_ffmpeg else FORMATS:
            wrong = _listen(read_audio, Path(folder) / f"tone.{name}")
            if not wrong:
                good.append(name)
            elif name in NECESSARY:
                yield fault("codecs", f"{name}: {wrong}", REINSTALL)
            else:
                yield warning("codecs", f"{name}: {wrong}", "convert such files to flac, or: " + REINSTALL)
    readers = f"soundfile {soundfile.__version__}, libsndfile {soundfile.__libsndfile_version__}"
    readers += f", PyAV {metadata.version('av')}" if has_ffmpeg else "; no PyAV: no m4a, aac, wma and video"
    if good:
        yield ok("codecs", f"{', '.join(good)} decoded ({readers})")


def _listen(read: Reader, path: Path) -> str:
    """Write a tone and read it; say what is wrong, or nothing."""
    import numpy as np
    import soundfile

    from hyperconformer.constants import SAMPLE_RATE

    tone = 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(RATE_HZ) / RATE_HZ)
    try:
        if path.suffix[1:] == BY_FFMPEG:
            _write_m4a(path, tone.astype(np.float32))
        else:
            container, codec = FORMATS[path.suffix[1:]]
            soundfile.write(path, tone, RATE_HZ, format=container, subtype=codec)
    except (ImportError, OSError, ValueError, soundfile.SoundFileError) as error:
        return f"this library does not write it ({error})"
    try:
        samples = read(path)
    except ValueError as error:
        return str(error)
    if abs(len(samples) - SAMPLE_RATE) > SAMPLE_RATE / 10:
        return f"one second becomes {len(samples) / SAMPLE_RATE:.2f}"
    loudest_hz = np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples)
    return "" if abs(loudest_hz - TONE_HZ) < 10 else f"{TONE_HZ} Hz become {loudest_hz:.0f} Hz"


def _write_m4a(path: Path, tone: Any) -> None:
    import av

    with av.open(str(path), "w", format="ipod") as target:
        stream = target.add_stream("aac", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        for piece in (frame, None):
            target.mux(stream.encode(piece))
