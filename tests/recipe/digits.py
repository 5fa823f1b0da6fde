"""Spoken digits: when each is said, and what is heard in noise, where a model that hardly errs does err."""

from pathlib import Path

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
                samples = _with_noise(read_audio(path), noises, snr_db, generator)
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


def digit_time_errors(bundle: Path, split: Path) -> list[float]:
    """How far, in seconds, starts and ends of aligned references are from :func:`digit_times`."""
    model, tokenizer = load_bundle(bundle)
    errors: list[float] = []
    for transcripts in sorted(split.rglob("*.trans.txt")):
        for line in transcripts.read_text().splitlines():
            name, reference = line.split(" ", 1)
            (path,) = transcripts.parent.glob(f"{name}.*")
            samples = read_audio(path)
            times = digit_times(samples, len(reference.split()))
            if times is None:
                continue
            with torch.inference_mode():
                memory, _ = model.encode(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
                log_probs = model.ctc_log_probs(memory)[0]
            found = words(log_probs, tokenizer.encode(reference), tokenizer)
            for word, (start, end) in zip(found, times, strict=True):
                errors += [abs(word.start - start), abs(word.end - end)]
    return errors


def _with_noise(
    speech: Samples, noises: list[Samples], snr_db: int | None, generator: np.random.Generator
) -> Samples:
    if snr_db is None:
        return speech
    noise = noises[generator.integers(len(noises))]
    start = generator.integers(max(1, len(noise) - len(speech)))
    noise = np.resize(noise[start:], len(speech))
    gain = np.sqrt(np.mean(speech**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return (speech + gain * noise).astype(np.float32)
