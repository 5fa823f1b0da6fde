"""Recordings that are broken in every way we could think of, made on the spot; and some that are only odd."""

import io
import os
import socket
import struct
import tempfile
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

RATE_HZ, SECONDS = 44_100, 2.0
Samples = npt.NDArray[np.float32]

# extension -> libsndfile's format and subtype, and sample rate in Hz
LIBSNDFILE = {
    "wav": ("WAV", "PCM_16", RATE_HZ),
    "flac": ("FLAC", "PCM_24", RATE_HZ),
    "ogg": ("OGG", "VORBIS", RATE_HZ),
    "opus": ("OGG", "OPUS", 48_000),
    "mp3": ("MP3", "MPEG_LAYER_III", RATE_HZ),
    "aiff": ("AIFF", "PCM_16", RATE_HZ),
    "au": ("AU", "PCM_16", RATE_HZ),
    "caf": ("CAF", "PCM_16", RATE_HZ),
    "w64": ("W64", "PCM_16", RATE_HZ),
    "rf64": ("RF64", "PCM_16", RATE_HZ),
}

# extension -> FFmpeg's container, audio codec, sample rate in Hz, video codec, options of the container
FFMPEG: dict[str, tuple[str, str, int, str | None, dict[str, str]]] = {
    "m4a": ("ipod", "aac", RATE_HZ, None, {}),
    "faststart.m4a": ("ipod", "aac", RATE_HZ, None, {"movflags": "faststart"}),
    "alac.m4a": ("ipod", "alac", RATE_HZ, None, {}),
    "aac": ("adts", "aac", RATE_HZ, None, {}),
    "wma": ("asf", "wmav2", RATE_HZ, None, {}),
    "amr": ("amr", "libopencore_amrnb", 8_000, None, {}),
    "webm": ("webm", "libopus", 48_000, None, {}),
    "mp4": ("mp4", "aac", RATE_HZ, "mpeg4", {}),
    "mkv": ("matroska", "aac", RATE_HZ, "mpeg4", {}),
}

# What libsndfile reads and FFmpeg's formats that say how long they are: whole or refused.
TELL_THEIR_LENGTH = [*LIBSNDFILE, *(name for name in FFMPEG if name not in ("aac", "amr"))]


def sound(seconds: float = SECONDS, rate_hz: int = RATE_HZ) -> Samples:
    """Noise whose pitch glides and whose loudness beats, so that no two places are alike."""
    generator = np.random.default_rng(0)
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    glide = np.sin(2 * np.pi * (200 + 300 * times) * times) * (1 + np.sin(2 * np.pi * 3 * times))
    return (0.2 * glide + 0.01 * generator.standard_normal(len(times))).astype(np.float32)


@cache
def whole(name: str, seconds: float = SECONDS) -> bytes:
    """A good recording in a format of the two tables."""
    if name in FFMPEG:
        return encode(sound(seconds), *FFMPEG[name])
    container, subtype, rate_hz = LIBSNDFILE[name]
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(seconds, rate_hz), rate_hz, subtype, format=container)
    return buffer.getvalue()


def encode(
    samples: Samples,
    container: str,
    codec: str,
    rate_hz: int = RATE_HZ,
    video: str | None = None,
    options: dict[str, str] | None = None,
    *,
    from_rate_hz: int = RATE_HZ,
    bit_rate: int = 64_000,
) -> bytes:
    """Encode mono samples by FFmpeg, with a second of pictures more if there is a video codec."""
    # A container that is rearranged at its end is opened again by name.
    with (
        tempfile.NamedTemporaryFile() as scratch,
        av.open(scratch.name, "w", format=container, options=options or {}) as target,
    ):
        pictures = target.add_stream(video, rate=5) if video else None
        stream = target.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = bit_rate
        if pictures is not None:
            _film(target, pictures, len(samples) / from_rate_hz + 1)
        target.start_encoding()
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = from_rate_hz, 0
        context = stream.codec_context
        converter = av.AudioResampler(context.format, "mono", rate_hz, context.frame_size or 4096)
        for piece in [*converter.resample(frame), *converter.resample(None), None]:
            target.mux(stream.encode(piece))
        target.close()
        return Path(scratch.name).read_bytes()


def _film(target: Any, stream: Any, seconds: float) -> None:
    for number in range(round(5 * seconds)):
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 9 * number % 256, np.uint8), "rgb24")
        picture.pts, picture.time_base = number, Fraction(1, 5)
        target.mux(stream.encode(picture))
    target.mux(stream.encode(None))


def make_broken_files(folder: Path) -> list[Path]:
    """Write more than 200 files, pipes, links and the like of which every single one must be refused.

    The folder is made if need be. The list has names that are not UTF-8 and one that holds a line break, a
    pipe into which nobody writes, and a path that is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for makers in (_truncated, _not_audio, _wrong_samples, _wrong_headers):
        for name, content in makers():
            paths.append(folder / name)
            paths[-1].write_bytes(content)
    paths += _no_files(folder)
    assert len(set(paths)) == len(paths)
    return paths


def _truncated() -> Iterator[tuple[str, bytes]]:
    for name in TELL_THEIR_LENGTH:
        content = whole(name)
        # Whether a part is refused may not depend on how far apart a format's marks are.
        assert len(content) > 4_000, name
        counts = [0, 1, 8, 20, 40, *(len(content) * percent // 100 for percent in (10, 30, 50, 70, 85))]
        for count in counts:
            yield f"first-{count}-bytes.{name}", content[:count]
    # Without their beginning.
    for name in ("wav", "flac", "m4a", "webm"):
        yield f"headless.{name}", whole(name)[len(whole(name)) // 3 :]


def _not_audio() -> Iterator[tuple[str, bytes]]:
    contents = {
        "text": b"Four score and seven years ago our fathers brought forth\n" * 200,
        "page": b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>\n" * 20,
        "json": b'{"error": "no such object", "code": 404}\n' * 50,
        "picture": _jpeg(),
        "drawing": _png(),
        "archive": b"PK\x03\x04" + bytes(range(256)) * 20,
        "squeezed": zlib.compress(b"speech" * 5000, wbits=31),
        "program": b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 20,
        "zeros": bytes(20_000),
        "noise": np.random.default_rng(7).bytes(20_000),
        "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n",
        "list": b"ffconcat version 1.0\nfile first.wav\n",
    }
    for kind, content in contents.items():
        for extension in ("wav", "mp3", "m4a", "mp4"):
            yield f"{kind}.{extension}", content


def _jpeg() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.arange(12_288, dtype=np.uint8).reshape(64, 64, 3)).save(buffer, "JPEG")
    return buffer.getvalue()


def _png() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.arange(12_288, dtype=np.uint8).reshape(64, 64, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def written(samples: npt.NDArray[Any], container: str, subtype: str, rate_hz: int = RATE_HZ) -> bytes:
    """What libsndfile makes of samples, but for the time of day that it adds to the peak of floats."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, subtype, format=container)
    content = buffer.getvalue()
    # The chunk: its name, its size, a version, and seconds since 1970.
    peak = content.find(b"PEAK", 0, 200)
    return content if peak < 0 else _patched(content, peak + 12, bytes(4))


def _wrong_samples() -> Iterator[tuple[str, bytes]]:
    for wrong in (np.nan, np.inf, -np.inf):
        for container in ("WAV", "AIFF", "AU", "CAF", "W64"):
            samples = sound(0.1)
            samples[len(samples) // 2] = wrong
            yield f"{wrong}.{container.lower()}", written(samples, container, "FLOAT")
    doubles = np.full(1_000, 1e300)
    yield "too-loud-for-floats.wav", written(doubles, "WAV", "DOUBLE")
    for name, (container, subtype, rate_hz) in LIBSNDFILE.items():
        if name not in ("flac", "mp3", "opus", "ogg"):
            yield f"no-samples.{name}", written(np.zeros(0), container, subtype, rate_hz)


def _wrong_headers() -> Iterator[tuple[str, bytes]]:
    for rate_hz in (1, 7, 999, 1_000_001, 10_000_000, 2**31 - 1):
        yield f"{rate_hz}-hz.wav", _patched(whole("wav", 0.1), 24, struct.pack("<I", rate_hz))
        yield f"{rate_hz}-hz.au", _patched(whole("au", 0.1), 16, struct.pack(">I", rate_hz))
    yield "no-rate.wav", _patched(whole("wav", 0.1), 24, bytes(4))
    yield "no-channels.wav", _patched(whole("wav", 0.1), 22, bytes(2))
    yield "65535-channels.wav", _patched(whole("wav", 0.1), 22, b"\xff\xff")
    yield "a-gigabyte.wav", _patched(whole("wav", 0.1), 40, struct.pack("<I", 10**9))
    yield "a-gigabyte.au", _patched(whole("au", 0.1), 8, struct.pack(">I", 10**9))
    flac = whole("flac")
    # The count of samples has 36 bits: 12 hours, and 18 days.
    yield "12-hours.flac", _patched(flac, 21, bytes([flac[21] & 0xF0]) + struct.pack(">I", 43_200 * RATE_HZ))
    yield "18-days.flac", _patched(flac, 21, bytes([flac[21] | 0x0F]) + b"\xff" * 4)
    w64 = whole("w64")
    yield "a-terabyte.w64", _patched(w64, 16, struct.pack("<Q", 2**40))
    rf64 = whole("rf64")
    yield "a-terabyte.rf64", _patched(rf64, 20, struct.pack("<QQQ", 2**40, 2**40, 2**39))


def _patched(content: bytes, start: int, new: bytes) -> bytes:
    return content[:start] + new + content[start + len(new) :]


def _no_files(folder: Path) -> list[Path]:
    """What is in the way where a file should be."""
    garbage = b"no sound " * 100
    raw = os.fsencode(folder)
    odd = [Path(os.fsdecode(raw + name)) for name in (b"/caf\xe9.wav", b"/\xff\xfe.mp3", b"/two\nlines.wav")]
    for path in odd:
        path.write_bytes(garbage)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    (folder / "to-pipe.wav").symlink_to("pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_RDONLY)
        try:  # by way of the descriptor, since a socket's path may not have more than 107 bytes
            server.bind(f"/proc/self/fd/{here}/socket.wav")
        finally:
            os.close(here)
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "there.wav").symlink_to("back.wav")
    (folder / "back.wav").symlink_to("there.wav")
    (folder / "nowhere.wav").symlink_to("no-such-file.wav")
    (folder / "zero.wav").symlink_to("/dev/zero")
    (folder / "random.wav").symlink_to("/dev/urandom")
    (folder / "null.wav").symlink_to("/dev/null")
    (folder / "secret.wav").write_bytes(garbage)
    (folder / "secret.wav").chmod(0)
    links = ("to-pipe", "loop", "there", "back", "nowhere", "zero", "random", "null")
    names = ("folder", "pipe", "socket", *links, "secret", "never-made")
    others = ["long" * 99 + ".wav", "folder.wav/deeper.wav", "first-0-bytes.wav/below.wav"]
    return [*odd, *(folder / f"{name}.wav" for name in names), *(folder / other for other in others)]


def make_odd_files(folder: Path) -> list[Path]:
    """Write files that may be read or refused, but nothing else may happen: flipped bits, and cut streams."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(1)
    paths = []
    for name in [*LIBSNDFILE, *FFMPEG]:
        content = whole(name, 0.5)
        for number in range(8):
            flipped = bytearray(content)
            # Half of them in the header.
            reach = min(len(content), 96) if number % 2 else len(content)
            for place in generator.integers(0, reach, 3):
                flipped[place] ^= 1 << generator.integers(0, 8)
            paths.append(folder / f"flipped-{number}.{name}")
            paths[-1].write_bytes(flipped)
    for name in ("aac", "amr"):  # nothing in them tells that they are not whole
        paths.append(folder / f"half.{name}")
        paths[-1].write_bytes(whole(name)[: len(whole(name)) // 2])
    return paths
