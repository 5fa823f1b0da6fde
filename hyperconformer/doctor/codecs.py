"""Whether audio of every kind is really decoded: a second of a tone is written, read and listened to."""

import tempfile
from collections.abc import Callable, Iterator
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
    good = []
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            wrong = _listen(read_audio, Path(folder) / f"tone.{name}", *FORMATS[name])
            if not wrong:
                good.append(name)
            elif name in NECESSARY:
                yield fault("codecs", f"{name}: {wrong}", REINSTALL)
            else:
                yield warning("codecs", f"{name}: {wrong}", "convert such files to flac, or: " + REINSTALL)
    readers = f"soundfile {soundfile.__version__}, libsndfile {soundfile.__libsndfile_version__}"
    if good:
        yield ok("codecs", f"{', '.join(good)} decoded ({readers})")


def _listen(read: Reader, path: Path, container: str, codec: str) -> str:
    """Write a tone and read it; say what is wrong, or nothing."""
    import numpy as np
    import soundfile

    from hyperconformer.constants import SAMPLE_RATE

    tone = 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(RATE_HZ) / RATE_HZ)
    try:
        soundfile.write(path, tone, RATE_HZ, format=container, subtype=codec)
    except (ValueError, soundfile.SoundFileError) as error:
        return f"this libsndfile does not know it ({error})"
    try:
        samples = read(path)
    except ValueError as error:
        return str(error)
    if abs(len(samples) - SAMPLE_RATE) > SAMPLE_RATE / 10:
        return f"one second becomes {len(samples) / SAMPLE_RATE:.2f}"
    loudest_hz = np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples)
    return "" if abs(loudest_hz - TONE_HZ) < 10 else f"{TONE_HZ} Hz become {loudest_hz:.0f} Hz"
