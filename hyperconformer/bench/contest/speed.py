"""How fast the encoders of a contest are: asked in turns when all trainings are over, with nothing beside."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from hyperconformer.bench.contest.found import ContestFound
from hyperconformer.bench.contest.task import LENGTHS, MODULES
from hyperconformer.bench.trainings.planned import Planned
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.features import frames_of
from hyperconformer.models.asr import ASR
from hyperconformer.training.settings import load_settings

SHORT = 5
"""Seconds of a short recording."""
ROUNDS = 9


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def encoder_seconds(model: ASR, seconds: float) -> float | None:
    """Time encoder and front-end on one recording of noise.

    Parameters
    ----------
    model : ASR
        In evaluation mode; or what has its interface.
    seconds : float
        Of the recording.

    Returns
    -------
    float or None
        None where the system cannot hear so much.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, d_model=16, nhead=2, num_encoder_layers=1)).eval()
    >>> 0 < encoder_seconds(model, 1.0) < 10
    True
    """
    device = next(model.ctc_head.parameters()).device
    # Without the last frame, which a centred window adds: lengths are then whole encoder frames.
    frames = frames_of(round(seconds * SAMPLE_RATE)) - 1
    features_bfm = torch.randn(1, frames, model.config.n_mels, device=device)
    frames_b = torch.tensor([frames], device=device)
    begun = time.perf_counter()
    try:
        with torch.inference_mode():
            model.encode_features(features_bfm, frames_b)
    except (RuntimeError, AssertionError):
        return None
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def encoder_rates(
    models: Mapping[str, ASR], lengths: Sequence[float], rounds: int = ROUNDS
) -> dict[str, dict[str, float]]:
    """Measure how many seconds of audio each encoder goes through in a second.

    Parameters
    ----------
    models : mapping of str to ASR
        By system.
    lengths : sequence of float
        Seconds of the recordings.
    rounds : int
        Turns of every system, after one to warm up.

    Returns
    -------
    dict of str to dict of str to float
        By system and length; by the fastest round, as neighbours can only slow one down.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, d_model=16, nhead=2, num_encoder_layers=1)).eval()
    >>> rates = encoder_rates({"ours": model}, [1.0, 2.0], rounds=1)
    >>> list(rates["ours"])
    ['1', '2']
    """
    rates: dict[str, dict[str, float]] = {name: {} for name in models}
    for seconds in lengths:
        fastest = dict.fromkeys(models, float("inf"))
        for _ in range(1 + rounds):
            for name, model in models.items():
                took = encoder_seconds(model, seconds)
                fastest[name] = min(fastest[name], float("inf") if took is None else took)
        for name, took in fastest.items():
            if took < float("inf"):
                rates[name][f"{seconds:g}"] = seconds / took
    return rates


def with_rates(
    planned: Sequence[Planned], found: Mapping[str, ContestFound], device: str, threads: int
) -> dict[str, ContestFound]:
    """Measure the encoders of all systems that were trained.

    The systems are built anew: what weights say does not change how long they take.

    Parameters
    ----------
    planned : sequence of Planned
        Of one part.
    found : mapping of str to ContestFound
        By the run's key.
    device : str
    threads : int

    Returns
    -------
    dict of str to ContestFound
        The same, with the rates of their systems.

    Examples
    --------
    >>> with_rates([], {}, "cpu", 1)
    {}
    """
    systems = {one.run.key: one.system for one in planned}
    # Any seed's run says what a system is made of.
    runs = {one.system: one.run for one in planned if found[one.run.key].status == "ok"}
    models = {
        system: MODULES[run.further["modules"]](load_settings(run.recipe, run.overrides).model)
        .eval()
        .to(device)
        for system, run in runs.items()
    }
    with _threads(threads):
        rates = encoder_rates(models, (SHORT, *LENGTHS))
    return {key: replace(one, encoder_rates=rates.get(systems[key], {})) for key, one in found.items()}
