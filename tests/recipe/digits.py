"""Spoken digits: when each is said, and what is heard in noise, where a model that hardly errs does err."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hyperconformer.audio import read_audio
from hyperconformer.calibration import judge
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.decoding.alignment import words
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.scoring import score
from hyperconformer.types import Utterance

SILENCE_DB, RANGE_DB, SLICE_SECONDS = -84.0, 35.0, 0.005
SNRS_DB = (None, 20, 10, 5, 0, -5)

Samples = npt.NDArray[np.float32]
Errors = npt.NDArray[np.float64]
Judged = list[tuple[str, float, bool]]


def judged_in_noise(bundle: Path, split: Path, noise: Path, measure: str) -> dict[int | None, Judged]:
    """By signal-to-noise ratio: speaker, confidence and rightness of every word of a split's hypotheses."""
    model, tokenizer = load_bundle(bundle)
    noises = [read_audio(path) for path in sorted(noise.glob("*noise*/*.flac"))]
    generator = np.random.default_rng(0)
    judged: dict[int | None, Judged] = {snr_db: [] for snr_db in SNRS_DB}
    for transcripts in sorted(split.rglob("*.trans.txt")):
        for line in transcripts.read_text().splitlines():
            name, reference = line.split(" ", 1)
            (path,) = transcripts.parent.glob(f"{name}.*")
            for snr_db, judged_words in judged.items():
                samples = with_noise(read_audio(path), noises, snr_db, generator)
                lengths = torch.tensor([len(samples)])
                with torch.inference_mode():
                    memory, _ = model.encode(torch.from_numpy(samples)[None], lengths)
                    log_probs = model.ctc_log_probs(memory)[0]
                tokens = ctc_greedy(log_probs[None])[0].tokens
                utterance = Utterance(name, 1.0, "", name.split("-")[0], reference)
                (scored,) = score([(utterance, tokenizer.decode(tokens))], "test").utterances
                rows = judge(scored, words(log_probs, tokens, tokenizer, measure=measure))
                judged_words += [(scored.speaker, *row) for row in rows]
    return judged


def digit_times(samples: Samples, count: int) -> list[tuple[float, float]] | None:
    """When each digit starts and ends; None where digital silence does not part the recordings.

    The digits of an utterance are recordings of their own, with digital silence between them. A digit reaches
    from the first to the last 5 ms that are within 35 dB of its loudest.
    """
    size = round(SLICE_SECONDS * SAMPLE_RATE)
    power = np.mean(samples[: len(samples) // size * size].reshape(-1, size).astype(float) ** 2, axis=1)
    decibels = 10 * np.log10(power + 1e-12)
    loud = np.flatnonzero(decibels > SILENCE_DB)
    # Less than 40 ms of silence parts nothing, and 100 ms or less of sound is no digit.
    runs = [run for run in np.split(loud, np.flatnonzero(np.diff(loud) > 8) + 1) if run[-1] - run[0] >= 20]
    if len(runs) != count:
        return None
    times = []
    for run in runs:
        here = decibels[run[0] : run[-1] + 1]
        heard = run[0] + np.flatnonzero(here > here.max() - RANGE_DB)
        times.append((SLICE_SECONDS * float(heard[0]), SLICE_SECONDS * float(heard[-1] + 1)))
    return times


class Joined(NamedTuple):
    """A string of digits, and when each of them starts and ends."""

    text: str
    samples: Samples
    times: list[tuple[float, float]]


def recorded_strings(split: Path) -> Iterator[tuple[str, Joined]]:
    """Speaker, and the strings of a split whose times :func:`digit_times` can tell."""
    for transcripts in sorted(split.rglob("*.trans.txt")):
        for line in transcripts.read_text().splitlines():
            name, text = line.split(" ", 1)
            (path,) = transcripts.parent.glob(f"{name}.*")
            samples = read_audio(path)
            times = digit_times(samples, len(text.split()))
            if times is not None:
                yield name.split("-")[0], Joined(text, samples, times)


def single_digits(split: Path) -> dict[str, list[tuple[str, Samples]]]:
    """Of each speaker the digits, cut at their edges."""
    singles: dict[str, list[tuple[str, Samples]]] = {}
    for speaker, (text, samples, times) in recorded_strings(split):
        for word, (start, end) in zip(text.split(), times, strict=True):
            cut = samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
            singles.setdefault(speaker, []).append((word, cut))
    return singles


def joined_strings(
    singles: dict[str, list[tuple[str, Samples]]], count: int, pause: tuple[float, float], seed: int
) -> Iterator[Joined]:
    """Join 3 to 7 digits of a speaker, with pauses from a range of seconds between them, in faint noise."""
    generator = np.random.default_rng(seed)
    speakers = sorted(singles)
    for number in range(count):
        own = singles[speakers[number % len(speakers)]]
        said = [own[index] for index in generator.integers(len(own), size=generator.integers(3, 8))]
        pauses = generator.uniform(*pause, len(said) + 1)
        pauses[[0, -1]] = generator.uniform(0.05, 0.4, 2)
        parts, times, at = [], [], 0
        for (_, digit), seconds in zip(said, pauses[:-1], strict=True):
            parts += [np.zeros(round(seconds * SAMPLE_RATE), np.float32), digit]
            at += len(parts[-2])
            times.append((at / SAMPLE_RATE, (at + len(digit)) / SAMPLE_RATE))
            at += len(digit)
        samples = np.concatenate([*parts, np.zeros(round(pauses[-1] * SAMPLE_RATE))])
        samples += 1e-4 * generator.standard_normal(len(samples))
        yield Joined(" ".join(word for word, _ in said), samples.astype(np.float32), times)


def time_errors_of(bundle: Path, strings: Iterable[Joined], *, listening: bool = True) -> Errors:
    """How far, in seconds, starts and ends of aligned references are from the truth: (words, 2)."""
    model, tokenizer = load_bundle(bundle)
    errors = []
    for text, samples, times in strings:
        with torch.inference_mode():
            memory, _ = model.encode(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
            log_probs = model.ctc_log_probs(memory)[0]
        sound = samples if listening else None
        found = words(log_probs, tokenizer.encode(text), tokenizer, samples=sound)
        errors += [
            (word.start - start, word.end - end) for word, (start, end) in zip(found, times, strict=True)
        ]
    return np.abs(np.array(errors))


def with_noise(
    speech: Samples, noises: list[Samples], snr_db: int | None, generator: np.random.Generator
) -> Samples:
    if snr_db is None:
        return speech
    noise = noises[generator.integers(len(noises))]
    start = generator.integers(max(1, len(noise) - len(speech)))
    noise = np.resize(noise[start:], len(speech))
    gain = np.sqrt(np.mean(speech**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return (speech + gain * noise).astype(np.float32)
