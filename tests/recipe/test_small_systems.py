"""The small recipes reach the WER that they promise, and true word times: minutes of training each."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperconformer.audio import read_audio
from hyperconformer.calibration import CalibrationReport, calibration, reliability_table
from hyperconformer.data.mini import plan_mini
from hyperconformer.data.mini_times import word_times
from hyperconformer.decoding.alignment import words
from hyperconformer.decoding.confidence import MEASURES, fit_calibration
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.training.command import CommandLine
from tests.recipe.digits import digit_time_errors, judged_in_noise
from train import train

HPARAMS = Path(__file__).parents[2] / "hparams"

pytestmark = pytest.mark.slow


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
    print(f"word times: mean {np.mean(errors):.3f} s, 95th percentile {np.percentile(errors, 95):.3f} s")
    assert np.mean(errors) <= 0.04 and np.percentile(errors, 95) <= 0.12


def test_spoken_digits(shared_data: Path, tmp_path: Path) -> None:
    folders = [f"--output_folder={tmp_path}/out", f"--data_folder={shared_data}/digits"]
    bundle = train(CommandLine.parse([str(HPARAMS / "digits.yaml"), *folders, "--noprogressbar"]))
    rates = rates_of(bundle)
    assert rates["greedy"] <= 2 and rates["joint"] <= 2
    errors = digit_time_errors(bundle, shared_data / "digits" / "test-digits")
    print(f"word times: mean {np.mean(errors):.3f} s, 95th percentile {np.percentile(errors, 95):.3f} s")
    assert np.mean(errors) <= 0.1
    figures = {measure: confidence_figures(bundle, shared_data, measure) for measure in MEASURES}
    clean, fitted = figures["product"]
    assert clean.ece <= 0.05 and fitted.ece <= 0.1 and fitted.auc >= 0.75


def confidence_figures(
    bundle: Path, shared_data: Path, measure: str
) -> tuple[CalibrationReport, CalibrationReport]:
    """Confidences of clean speech as they are, and of all when fitted on the other half of the speakers."""
    split, noise = shared_data / "digits" / "test-digits", shared_data / "noise"
    judged = judged_in_noise(bundle, split, noise, measure)
    everything = [word for judged_words in judged.values() for word in judged_words]
    speakers = sorted({speaker for speaker, _, _ in everything})
    fitted: list[tuple[float, bool]] = []
    for half in (speakers[::2], speakers[1::2]):
        others = [word for word in everything if word[0] not in half]
        calibrated = fit_calibration([c for _, c, _ in others], [right for _, _, right in others])
        fitted += [(calibrated(c), right) for speaker, c, right in everything if speaker in half]
    for snr_db, judged_words in {**judged, "all": everything}.items():
        report = report_of([(confidence, right) for _, confidence, right in judged_words])
        print(f"{measure}, {'clean' if snr_db is None else snr_db} dB: {reliability_table(report)}")
    print(f"{measure}, all, fitted: {reliability_table(report_of(fitted))}")
    return report_of([(confidence, right) for _, confidence, right in judged[None]]), report_of(fitted)


def report_of(judged: list[tuple[float, bool]]) -> CalibrationReport:
    return calibration([confidence for confidence, _ in judged], [right for _, right in judged])
