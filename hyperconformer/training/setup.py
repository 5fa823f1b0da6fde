"""What a run is set up from: seed, hardware, model, loaders and the statistics of its features."""

import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from speechbrain.utils.distributed import infer_device

from hyperconformer.data.pipeline import Loader, SpeechDataset, make_loader
from hyperconformer.data.sampler import BatchSampler
from hyperconformer.device import check_device
from hyperconformer.errors import InputError
from hyperconformer.features import FeatureStatistics
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.training.settings import Settings
from hyperconformer.types import Utterance

STATISTICS_UTTERANCES = 1000


def training_loader(train: Sequence[Utterance], tokenizer: Tokenizer, settings: Settings) -> Loader:
    """Load augmented training batches, in a new order every epoch.

    Parameters
    ----------
    train : sequence of Utterance
    tokenizer : Tokenizer
    settings : Settings

    Returns
    -------
    Loader
        Of Batch.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> settings = load_settings("hparams/mini.yaml", {})
    >>> loader = training_loader([], None, settings)
    >>> loader.batch_sampler.speeds, loader.dataset.augment == settings.augment
    ((95, 100, 105), True)
    """
    dataset = SpeechDataset(
        train,
        tokenizer,
        seed=settings.seed,
        augment=settings.augment,
        n_mels=settings.model.n_mels,
        views=settings.views,
    )
    sampler = BatchSampler(
        [utterance.seconds for utterance in train],
        max_batch_seconds=settings.max_batch_length / settings.views,
        seed=settings.seed,
        speeds=settings.speeds,
    )
    return make_loader(dataset, sampler, num_workers=_workers(settings))


def plain_loader(utterances: Sequence[Utterance], tokenizer: Tokenizer, settings: Settings) -> Loader:
    """Load batches as they were recorded, from long to short.

    Parameters
    ----------
    utterances : sequence of Utterance
    tokenizer : Tokenizer
    settings : Settings

    Returns
    -------
    Loader
        Of Batch.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> loader = plain_loader([], None, load_settings("hparams/mini.yaml", {}))
    >>> loader.batch_sampler.speeds, loader.dataset.augment
    ((100,), None)
    """
    seconds = [utterance.seconds for utterance in utterances]
    sampler = BatchSampler(seconds, max_batch_seconds=settings.max_batch_length, shuffle=False)
    return make_loader(SpeechDataset(utterances, tokenizer), sampler, num_workers=_workers(settings))


def _workers(settings: Settings) -> int:
    """Reading processes: no more than there are cores for them."""
    return min(settings.num_workers, os.cpu_count() or 1)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch.

    Parameters
    ----------
    seed : int

    Examples
    --------
    >>> seed_everything(7); a = torch.rand(1); seed_everything(7); bool(a == torch.rand(1))
    True
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def check_hardware(run_options: Mapping[str, Any]) -> None:
    """Refuse a device that is not there, and a precision that it cannot do.

    Parameters
    ----------
    run_options : mapping
        From the command line.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_hardware({"device": "cpu", "precision": "fp16"})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: fp16 needs a GPU: use --precision=bf16, or --device=cuda
    """
    if "RANK" in os.environ:
        raise InputError("several processes (torchrun) are not supported yet: run train.py with python alone")
    kind = check_device(run_options.get("device") or infer_device())
    if kind == "cpu" and "fp16" in (run_options.get("precision"), run_options.get("eval_precision")):
        raise InputError("fp16 needs a GPU: use --precision=bf16, or --device=cuda")


def make_model(settings: Settings) -> ASR:
    """Build the recogniser, before anything slow happens.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    ASR

    Raises
    ------
    InputError
        If its sizes or its mixer's options do not go together.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> make_model(load_settings("hparams/mini.yaml", {"nhead": 5}))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: d_model 128 must be a multiple of num_heads 5
    """
    try:
        return ASR(settings.model)
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error


@torch.no_grad()
def measure_features(
    model: ASR, train: Sequence[Utterance], tokenizer: Tokenizer, settings: Settings
) -> None:
    """Set the model's feature normalisation from up to a thousand training utterances.

    Parameters
    ----------
    model : ASR
    train : sequence of Utterance
    tokenizer : Tokenizer
    settings : Settings

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> import tempfile, soundfile
    >>> from pathlib import Path
    >>> from hyperconformer.text import train_tokenizer
    >>> settings = load_settings("hparams/mini.yaml", {})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/silence.wav"
    ...     soundfile.write(path, np.zeros(1600), 16_000)
    ...     words = [Utterance("a", 0.1, path, "1", "A")]
    ...     tokenizer = train_tokenizer(["A"], Path(folder) / "t.model", output_neurons=5)
    ...     model = ASR(settings.model)
    ...     measure_features(model, words, tokenizer, settings)
    >>> model.normalizer.mean[0]
    tensor(-100.)
    """
    chosen = random.Random(settings.seed).sample(list(train), min(STATISTICS_UTTERANCES, len(train)))
    statistics = FeatureStatistics(settings.model.n_mels)
    for batch in plain_loader(chosen, tokenizer, settings):
        batch = batch.to(model.normalizer.mean.device)
        statistics.update(*model.log_mel(batch.samples_bs, batch.lengths_b))
    model.normalizer.set_statistics(statistics.mean.float(), statistics.std.float())
