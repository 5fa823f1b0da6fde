"""The two small recipes reach the WER that they promise, and word times that are near the truth: minutes of training each."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperconformer.audio import read_audio
from hyperconformer.data.mini import plan_mini
from hyperconformer.data.mini_times import word_times
from hyperconformer.decoding.alignment import words
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.training.command import CommandLine
from train import train

HPARAMS = Path(__file__).parents[2] / "hparams"

pytestmark = pytest.mark.slow


def word_error_rates(*arguments: str) -> dict[str, float]:
    """Train a recipe; returns the WER in percent by search."""
    return rates_of(train(CommandLine.parse([*arguments, "--noprogressbar"])))


def rates_of(bundle: Path) -> dict[str, float]:
    """WER in percent by search."""
    (rows,) = json.loads((bundle / "metrics.json").read_text())["splits"].values()
    return {search: row["wer"] for search, row in rows.items()}


def time_errors(bundle: Path, data_folder: Path) -> list[float]:
    """How far, in seconds, starts and ends of the words of test-mini are from where espeak-ng spoke them."""
    model, tokenizer = load_bundle(bundle)
    errors = []
    for reader in plan_mini():
        if reader.split != "test-mini":
            continue
        chapter = data_folder / reader.split / str(reader.speaker) / "1"
        for index, truth in enumerate(word_times(reader)):
            samples = torch.from_numpy(read_audio(chapter / f"{reader.utterance_id(index)}.flac"))[None]
            with torch.inference_mode():
                memory, _ = model.encode(samples, torch.tensor([samples.shape[1]]))
                log_probs = model.ctc_log_probs(memory)[0]
            tokens = tokenizer.encode(" ".join(word.text for word in truth))
            found = iter(words(log_probs, tokens, tokenizer))
            for word in truth:
                # What espeak-ng joins is two words here.
                own = [next(found) for _ in word.text.split()]
                errors += [abs(own[0].start - word.start), abs(own[-1].end - word.end)]
    return errors


def test_the_embedded_corpus(tmp_path: Path) -> None:
    folders = [f"--output_folder={tmp_path}/out", f"--data_folder={tmp_path}/mini"]
    bundle = train(CommandLine.parse([str(HPARAMS / "mini.yaml"), *folders, "--noprogressbar"]))
    assert rates_of(bundle)["joint"] <= 5
    errors = time_errors(bundle, tmp_path / "mini")
    assert np.mean(errors) <= 0.04 and np.percentile(errors, 95) <= 0.12


def test_spoken_digits(shared_data: Path, tmp_path: Path) -> None:
    folders = [f"--output_folder={tmp_path}/out", f"--data_folder={shared_data}/digits"]
    rates = word_error_rates(str(HPARAMS / "digits.yaml"), *folders)
    assert rates["greedy"] <= 2 and rates["joint"] <= 2
