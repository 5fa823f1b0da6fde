"""Recordings of any kind to mono float32 samples at 16 kHz, whole or block by block."""

from hyperconformer.audio.house import Samples, as_house_audio
from hyperconformer.audio.reading import audio_seconds, read_audio, read_short_audio
from hyperconformer.audio.recording import Recording, open_audio
from hyperconformer.audio.sources import AudioSource
from hyperconformer.constants import SAMPLE_RATE

__all__ = [
    "SAMPLE_RATE",
    "AudioSource",
    "Recording",
    "Samples",
    "as_house_audio",
    "audio_seconds",
    "open_audio",
    "read_audio",
    "read_short_audio",
]
