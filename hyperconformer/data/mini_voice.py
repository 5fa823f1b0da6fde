"""The voices of the embedded corpus, each reading sentences aloud in a process of its own.

espeak-ng is GPL-3 and keeps state from one sentence to the next, so it is never loaded beside the rest
of the package. :func:`read_aloud` starts this very file once per voice (``python -m
hyperconformer.data.mini_voice`` is the same program), hands it one JSON object on standard input and
reads speech back through a pipe. Starting it is cheap: only the standard library is imported here.

What comes back is a stream of little-endian 4-byte numbers and samples: the sample rate, then for every
sentence the number of samples and the samples themselves, int16 in the byte order of the machine, the number
of words and for each the character it begins with and the samples at which it starts and ends.
"""

import ctypes
import io
import itertools
import json
import os
import struct
import subprocess
import sys
from typing import Any, BinaryIO, NamedTuple

_PHONEME_EVENTS = 1  # tell when each phoneme starts, which shows where a word ends
_SYNCHRONOUS = 2  # hand the samples to the callback, and return when all are spoken
_DONT_EXIT = 0x8000  # report a missing data folder instead of ending the process
_UTF8 = 1
_RATE, _PITCH = 1, 3
_BUFFER_MS = 200
_NUMBER = struct.Struct("<I")
_LIST_ENDS, _WORD, _END, _PHONEME = 0, 1, 5, 7  # types of events
_PAUSE = b"_"  # what a phoneme's name starts with if it is silence


class _Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h; `name` is a union there."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("text_length", ctypes.c_int),
        ("position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)

# Split -> accent -> variants. All are easily understood, and none is used twice. Variants that sound nearly
# alike (m3 and Mike, m4 and m5, f4 and aunty, robert and rob) never stand on both sides of a split.
_CAST = {
    "train-mini": {
        "en-US": "Alex f2 Diogo Gene linda max m1 steph klatt6 Nguyen grandma john Storm f3 paul Denis",
        "en": "belinda m7 edward m6 michel ed steph2 benjamin Andrea victor pedro iven4",
        "en-GB-x-rp": "m2 anika Hugo quincy",
        "en-US-nyc": "croak",
        "en-029": "grandpa",
        "en-GB-scotland": "mike2",
        "en-GB-x-gbclan": "pablo",
    },
    "dev-mini": {"en-US": "f5 Mario", "en": "m4", "en-GB-x-rp": "Annie"},
    "test-mini": {"en-US": "f1 m3 antonio", "en": "m8 f4", "en-GB-x-rp": "robert"},
}
_PITCHES = (50, 42, 58)
_RATES_WPM = (145, 135, 155, 140, 150)


class EspeakError(RuntimeError):
    """espeak-ng did not speak as it was asked to.

    Examples
    --------
    >>> raise EspeakError("espeak-ng failed as en-US+f2 (exit status 1): OSError: no voice en-US+f2")
    Traceback (most recent call last):
        ...
    hyperconformer.data.mini_voice.EspeakError: espeak-ng failed as en-US+f2 ...
    """


class Voice(NamedTuple):
    """How somebody speaks.

    Attributes
    ----------
    accent : str
        A file of espeak-ng's ``lang/gmw``: ``en-US``, ``en`` (Great Britain), ``en-GB-x-rp``...
    variant : str
        A file of espeak-ng's ``voices/!v``, or the empty string for the plain accent.
    pitch : int
        From 0 to 100, within the range of the variant; 50 leaves it alone.
    rate_wpm : int
        Speaking rate, words per minute.

    Examples
    --------
    >>> Voice("en-US", "f2").name
    'en-US+f2'
    """

    accent: str
    variant: str = ""
    pitch: int = 50
    rate_wpm: int = 160

    @property
    def name(self) -> str:
        """The voice as espeak-ng calls it."""
        return f"{self.accent}+{self.variant}" if self.variant else self.accent


class Spoken(NamedTuple):
    """A sentence as it was spoken.

    Attributes
    ----------
    samples : bytes
        int16, mono.
    words : tuple of (int, int, int)
        Of each word: the character of the sentence that it begins with, counted from 0, and the samples at
        which its first phoneme starts and its last one ends. espeak-ng joins some pairs, like "from the",
        which then count as one word.

    Examples
    --------
    >>> Spoken(bytes(4), ((0, 0, 2),)).words
    ((0, 0, 2),)
    """

    samples: bytes
    words: tuple[tuple[int, int, int], ...]


def cast(split: str) -> tuple[Voice, ...]:
    """The voices of a split, with pitch and rate varied a little from one to the next.

    Parameters
    ----------
    split : str
        ``train-mini``, ``dev-mini`` or ``test-mini``.

    Returns
    -------
    tuple of Voice
        Always the same voices in the same order.

    Examples
    --------
    >>> [voice.name for voice in cast("dev-mini")]
    ['en-US+f5', 'en-US+Mario', 'en+m4', 'en-GB-x-rp+Annie']
    """
    who = [(accent, variant) for accent, variants in _CAST[split].items() for variant in variants.split()]
    return tuple(
        Voice(accent, variant, _PITCHES[index % len(_PITCHES)], _RATES_WPM[index % len(_RATES_WPM)])
        for index, (accent, variant) in enumerate(who)
    )


def read_aloud(
    voice: Voice, sentences: tuple[str, ...], library: str, data_folder: str, seed: int = 0
) -> tuple[int, list[Spoken]]:
    """Let a fresh process read sentences aloud.

    Parameters
    ----------
    voice : Voice
        Who reads. espeak-ng silently speaks its default in place of a missing variant.
    sentences : tuple of str
        What to read, in this order: each sentence depends a little on those before it.
    library : str
        Path of espeak-ng's shared library.
    data_folder : str
        Path of the folder ``espeak-ng-data``.
    seed : int
        Seeds flutter and breath.

    Returns
    -------
    tuple of (int, list of Spoken)
        Sample rate in Hz, and for every sentence its samples and when its words are spoken.

    Raises
    ------
    EspeakError
        If the process failed; its last words are in the message.

    Examples
    --------
    >>> import espeakng_loader
    >>> library, data_folder = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    >>> sample_rate_hz, (hello,) = read_aloud(Voice("en-US", "f2"), ("hello",), library, data_folder)
    >>> sample_rate_hz, 0.3 < len(hello.samples) / 2 / sample_rate_hz < 1.5, len(hello.words)
    (22050, True, 1)
    """
    job = {
        "library": library,
        "data_folder": data_folder,
        "voice": voice._asdict(),
        "seed": seed,
        "sentences": sentences,
    }
    # By path, isolated and without site: neither the package nor anything around it is imported.
    command = [sys.executable, "-I", "-S", __file__]
    done = subprocess.run(command, input=json.dumps(job).encode(), capture_output=True)
    if done.returncode != 0:
        last_words = (done.stderr.decode(errors="replace").strip() or "no message").splitlines()[-1]
        raise EspeakError(f"espeak-ng failed as {voice.name} (exit status {done.returncode}): {last_words}")
    return _unpack(done.stdout, len(sentences))


def _unpack(stream: bytes, sentences: int) -> tuple[int, list[Spoken]]:
    """The inverse of :func:`main`'s writing."""
    source = io.BytesIO(stream)

    def number() -> int:
        return int(_NUMBER.unpack(source.read(_NUMBER.size))[0])

    sample_rate_hz = number()
    spoken = [
        Spoken(source.read(2 * number()), tuple((number(), number(), number()) for _ in range(number())))
        for _ in range(sentences)
    ]
    return sample_rate_hz, spoken


class _Espeak:
    """The loaded library; only ever made in the reading process."""

    def __init__(self, library: str, data_folder: str) -> None:
        self._library = ctypes.CDLL(library)
        # espeak-ng cuts paths at 160 characters, so it is given a relative one.
        os.chdir(os.path.dirname(data_folder))
        name = os.path.basename(data_folder).encode()
        options = _PHONEME_EVENTS | _DONT_EXIT
        self.sample_rate_hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, name, options))
        if self.sample_rate_hz <= 0:
            raise OSError(f"no voice data in {data_folder}")
        self._heard = bytearray()
        self._words: list[tuple[int, int, int]] = []
        self._open: tuple[int, int] | None = None
        self._callback = _CALLBACK(self._hear)  # kept: ctypes does not
        self._library.espeak_SetSynthCallback(self._callback)

    def _hear(self, samples: Any, count: int, events: Any) -> int:
        """Keep what has just been spoken; returning 0 asks for more."""
        if samples and count > 0:
            self._heard += ctypes.string_at(samples, 2 * count)
        for event in itertools.takewhile(lambda event: event.type != _LIST_ENDS, events):
            self._notice(event)
        return 0

    def _notice(self, event: _Event) -> None:
        """Begin a word at its event; the next word, a pause or the end ends it."""
        pause = event.type == _PHONEME and event.name.startswith(_PAUSE)
        if self._open is not None and (pause or event.type in (_WORD, _END)):
            self._words.append((*self._open, event.sample))
            self._open = None
        if event.type == _WORD:
            self._open = (event.text_position - 1, event.sample)

    def become(self, voice: Voice, seed: int) -> None:
        """Take on a voice, with flutter and breath seeded (espeak-ng takes the time of day)."""
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise OSError(f"no voice {voice.name}")
        self._library.espeak_SetParameter(_RATE, voice.rate_wpm, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))

    def speak(self, sentence: str) -> Spoken:
        """Speak a sentence and return what was heard."""
        self._heard.clear()
        self._words.clear()
        self._open = None
        text = sentence.encode()
        size = ctypes.c_size_t(len(text) + 1)
        if self._library.espeak_Synth(text, size, 0, 1, 0, _UTF8, None, None) != 0:
            raise OSError(f"cannot speak {sentence!r}")
        self._library.espeak_Synchronize()
        return Spoken(bytes(self._heard), tuple(self._words))


def main(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Read one job and write its speech, as the head of this file describes.

    Parameters
    ----------
    stdin : BinaryIO
        A JSON object with ``library``, ``data_folder``, ``voice``, ``seed`` and ``sentences``.
    stdout : BinaryIO
        Takes the sample rate and the speech.

    Examples
    --------
    >>> import io
    >>> main(io.BytesIO(b'{"sentences": []}'), io.BytesIO())
    Traceback (most recent call last):
        ...
    KeyError: 'library'
    """
    job = json.load(stdin)
    espeak = _Espeak(job["library"], job["data_folder"])
    espeak.become(Voice(**job["voice"]), job["seed"])
    stdout.write(_NUMBER.pack(espeak.sample_rate_hz))
    for sentence in job["sentences"]:
        samples, words = espeak.speak(sentence)
        stdout.write(_NUMBER.pack(len(samples) // 2) + samples)
        numbers = [len(words), *itertools.chain.from_iterable(words)]
        stdout.write(b"".join(map(_NUMBER.pack, numbers)))
    stdout.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
