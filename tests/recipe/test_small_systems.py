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
from tests.recipe.digits import (
    Errors,
    joined_strings,
    judged_in_noise,
    recorded_strings,
    single_digits,
    time_errors_of,
    with_noise,
)
from tests.recipe.transcription import check_every_way_in, check_many, check_onnx
from train import train

HPARAMS = Path(__file__).parents[2] / "hparams"

pytestmark = pytest.mark.slow


def rates_of(bundle: Path) -> dict[str, float]:
    """WER in percent by search."""
    (rows,) = json.loads((bundle / "metrics.json").read_text())["splits"].values()
    return {search: row["wer"] for search, row in rows.items()}


def mini_time_errors(bundle: Path, data_folder: Path, *, listening: bool = True) -> Errors:
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
            found = iter(words(log_probs, tokens, tokenizer, samples=samples[0] if listening else None))
            for word in truth:
                # What espeak-ng joins is two words here.
                own = [next(found) for _ in word.text.split()]
                errors.append((own[0].start - word.start, own[-1].end - word.end))
    return np.abs(np.array(errors))


def show(name: str, errors: Errors) -> None:
    """Print a row of RESULTS.md."""
    cells = [
        f"{1000 * np.mean(side):.0f} | {1000 * np.percentile(side, 95):.0f} | "
        f"{1000 * side.max():.0f} | {100 * np.mean(side <= 0.12):.1f}"
        for side in errors.T
    ]
    print(f"word times: | {name} | {len(errors)} | {' | '.join(cells)} |")


def test_the_embedded_corpus(tmp_path: Path) -> None:
    folders = [f"--output_folder={tmp_path}/out", f"--data_folder={tmp_path}/mini"]
    bundle = train(CommandLine.parse([str(HPARAMS / "mini.yaml"), *folders, "--noprogressbar"]))
    assert rates_of(bundle)["joint"] <= 5
    for listening in (False, True):
        errors = mini_time_errors(bundle, tmp_path / "mini", listening=listening)
        show(f"test-mini, {'heard' if listening else 'guessed'}", errors)
        assert np.mean(errors) <= 0.03 and np.percentile(errors, 95) <= 0.08
    assert np.mean(errors <= 0.12) >= 0.995


def test_spoken_digits(shared_data: Path, tmp_path: Path) -> None:
    folders = [f"--output_folder={tmp_path}/out", f"--data_folder={shared_data}/digits"]
    bundle = train(CommandLine.parse([str(HPARAMS / "digits.yaml"), *folders, "--noprogressbar"]))
    rates = rates_of(bundle)
    assert rates["greedy"] <= 2 and rates["joint"] <= 2
    data_folder = shared_data / "digits"
    check_every_way_in(bundle, data_folder, "test-digits", tmp_path)
    check_many(bundle, data_folder, ("test-digits", "train-digits"), count=1000)
    check_onnx(bundle, data_folder, "test-digits", tmp_path)
    digit_times_are_near(bundle, shared_data)
    figures = {measure: confidence_figures(bundle, shared_data, measure) for measure in MEASURES}
    clean, fitted = figures["product"]
    assert clean.ece <= 0.05 and fitted.ece <= 0.1 and fitted.auc >= 0.75


def digit_times_are_near(bundle: Path, shared_data: Path) -> None:
    """Strings as recorded, and joined here with pauses and without; the latter two also in noise."""
    split = shared_data / "digits" / "test-digits"
    singles = single_digits(split)
    kinds = {
        "as recorded": ([string for _, string in recorded_strings(split)], 0.94),
        "joined with pauses": (list(joined_strings(singles, 60, (0.05, 0.5), seed=0)), 0.98),
        "joined without": (list(joined_strings(singles, 60, (0.0, 0.0), seed=0)), 0.88),
    }
    noises = [read_audio(path) for path in sorted((shared_data / "noise").glob("*noise*/*.flac"))]
    generator = np.random.default_rng(0)
    for name, (strings, share) in kinds.items():
        noisy = [
            string._replace(samples=with_noise(string.samples, noises, 10, generator)) for string in strings
        ]
        for listening in (False, True):
            how = "heard" if listening else "guessed"
            show(f"{name}, 10 dB, {how}", time_errors_of(bundle, noisy, listening=listening))
            errors = time_errors_of(bundle, strings, listening=listening)
            show(f"{name}, {how}", errors)
        assert np.mean(errors <= 0.12) >= share and np.mean(errors) <= 0.05


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
