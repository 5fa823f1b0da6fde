"""What a run is set up from: seed, hardware, model, loaders and the statistics of its features."""

import os
import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from hyperconformer.data.pipeline import Loader, SpeechDataset, make_loader
from hyperconformer.data.sampler import BatchSampler, Share
from hyperconformer.data.token_batches import TokenLoader, TokenSampler
from hyperconformer.device import check_device
from hyperconformer.errors import InputError
from hyperconformer.feature_statistics import FeatureStatistics
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.training import distributed
from hyperconformer.training.run_settings import RunSettings
from hyperconformer.training.settings import Settings
from hyperconformer.types import Utterance

B = TypeVar("B")

STATISTICS_UTTERANCES = 1000


def training_loader(train: Sequence[Utterance], tokenizer: Tokenizer, settings: Settings) -> Loader:
    """Load this process's share of augmented training batches, in a new order every epoch.

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
    >>> loader.steps.speeds, loader.dataset.augment == settings.augment
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
        max_batch_seconds=settings.batch_seconds / settings.views,
        tokens=[len(tokenizer.encode(utterance.words)) for utterance in train],
        max_batch_tokens=settings.max_batch_tokens / settings.views,
        seed=settings.seed,
        speeds=settings.speeds,
        share=share_of(settings),
    )
    return make_loader(dataset, sampler, num_workers=_workers(settings), strict=False, onwards=True)


def plain_loader(
    utterances: Sequence[Utterance],
    tokenizer: Tokenizer,
    settings: Settings,
    *,
    shared: bool = True,
    strict: bool = True,
) -> Loader:
    """Load batches as they were recorded, from long to short.

    Parameters
    ----------
    utterances : sequence of Utterance
    tokenizer : Tokenizer
    settings : Settings
    shared : bool
        Load this process's share of every batch only.
    strict : bool
        End at the first audio that cannot be read.

    Returns
    -------
    Loader
        Of Batch.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> loader = plain_loader([], None, load_settings("hparams/mini.yaml", {}))
    >>> loader.steps.speeds, loader.dataset.augment
    ((100,), None)
    """
    seconds = [utterance.seconds for utterance in utterances]
    share = share_of(settings) if shared else Share()
    sampler = BatchSampler(seconds, max_batch_seconds=settings.batch_seconds, shuffle=False, share=share)
    dataset = SpeechDataset(utterances, tokenizer)
    return make_loader(dataset, sampler, num_workers=_workers(settings), strict=strict)


def token_loader(
    text: Dataset[B],
    lengths: npt.NDArray[np.int64],
    settings: RunSettings,
    *,
    max_batch_tokens: int,
    shuffle: bool,
) -> TokenLoader[B]:
    """Load this process's share of batches of a text's sentences.

    Parameters
    ----------
    text : Dataset
        As :class:`~hyperconformer.data.token_batches.TokenLoader` takes it.
    lengths : array, shape (N,), int64
        Tokens of each sentence.
    settings : RunSettings
    max_batch_tokens : int
        As :class:`~hyperconformer.data.token_batches.TokenSampler` takes it.
    shuffle : bool
        A new order every epoch; else from long to short.

    Returns
    -------
    TokenLoader

    Examples
    --------
    >>> from hyperconformer.data.text_batches import EncodedTexts
    >>> from hyperconformer.training.settings import load_settings
    >>> texts = EncodedTexts([np.array([5, 6], dtype=np.int32)], [], np.array([0]))
    >>> settings = load_settings("hparams/mini.yaml", {})
    >>> loader = token_loader(texts, texts.lengths, settings, max_batch_tokens=9, shuffle=False)
    >>> loader.steps.steps
    1
    """
    sampler = TokenSampler(
        lengths,
        max_batch_tokens=max_batch_tokens,
        seed=settings.seed,
        shuffle=shuffle,
        share=share_of(settings),
    )
    return TokenLoader(text, sampler, num_workers=_workers(settings))


def share_of(settings: RunSettings) -> Share:
    """What this process does of every batch.

    Parameters
    ----------
    settings : RunSettings

    Returns
    -------
    Share

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> share_of(load_settings("hparams/mini.yaml", {"grad_accumulation_factor": 2}))
    Share(rank=0, world=1, pieces=2)
    """
    return Share(distributed.rank(), distributed.world(), settings.grad_accumulation_factor)


def _workers(settings: RunSettings) -> int:
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


def check_hardware(run_options: Mapping[str, Any]) -> dict[str, Any]:
    """Find this process's device, join the others that torchrun started, and settle the precision.

    Parameters
    ----------
    run_options : mapping
        From the command line; precision ``auto``, the default, is bf16 where a GPU has it.

    Returns
    -------
    dict
        The same, with device and precisions decided.

    Raises
    ------
    InputError
        If the device is not there, or cannot do the precision.

    Examples
    --------
    >>> check_hardware({"device": "cpu", "precision": "fp16"})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: fp16 needs a GPU: use --precision=bf16, or --device=cuda
    >>> check_hardware({"device": "cpu"})
    {'device': 'cpu', 'precision': 'fp32', 'eval_precision': 'fp32'}
    """
    asked = run_options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = check_device(asked)
    device = distributed.join(kind) or asked
    best = "bf16" if kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    precisions = {
        name: best if (value := run_options.get(name, "auto")) == "auto" else value
        for name in ("precision", "eval_precision")
    }
    if kind == "cpu" and "fp16" in precisions.values():
        raise InputError("fp16 needs a GPU: use --precision=bf16, or --device=cuda")
    return {**run_options, "device": device, **precisions}


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


def compile_model(model: ASR) -> None:
    """Let torch.compile make training steps faster; weights and checkpoints stay as they are.

    The layers of encoder and decoder are compiled one by one, for any batch and length: all layers of a kind
    share one graph, so that takes minutes less than the whole model. The front-end stays as it is (PyTorch
    2.11 cannot compile its mirrored edges for a GPU when lengths vary).

    Parameters
    ----------
    model : ASR

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> model = make_model(load_settings("hparams/mini.yaml", {}))
    >>> names = list(model.state_dict())
    >>> compile_model(model)
    >>> list(model.state_dict()) == names
    True
    """
    for part in (*model.encoder.layers, *model.decoder.layers):
        part.compile(dynamic=True)


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
    strict = settings.max_unreadable == 0
    for batch in plain_loader(chosen, tokenizer, settings, shared=False, strict=strict):
        if not batch.names:
            continue
        batch = batch.to(model.normalizer.mean.device)
        statistics.update(*model.log_mel(batch.samples_bs, batch.lengths_b))
    model.normalizer.set_statistics(statistics.mean.float(), statistics.std.float())
