"""A training recipe made ready to be measured: its data prepared once, and loaded by every process alike."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperconformer.bench.cases import THEIR_MIXERS, UPSTREAM, Case, Recipe, Sizes
from hyperconformer.data.manifest import read_manifest
from hyperconformer.data.pipeline import Batch, Loader, collate
from hyperconformer.errors import InputError
from hyperconformer.models.config import with_mixer
from hyperconformer.text import Tokenizer
from hyperconformer.training.corpus import make_tokenizer, prepare_manifests, trainable
from hyperconformer.training.settings import AUTO, Settings, load_settings
from hyperconformer.training.setup import make_model, measure_features, training_loader
from hyperconformer.types import Utterance

STATISTICS = "statistics.pt"
# A batch on a GPU may be over before workers have read another: only many steps show what they can do.
CPU_STEPS, GPU_STEPS = 12, 100
WARM_UPS, BATCHES_AHEAD = 3, 4


@dataclass(frozen=True)
class Prepared:
    """What a process needs to train.

    Attributes
    ----------
    settings : Settings
        Of the recipe, its mixer the case's.
    tokenizer : Tokenizer
    utterances : list of Utterance
        To train on.
    statistics : dict of str to Tensor
        Of the feature normalisation.

    Examples
    --------
    >>> list(Prepared.__annotations__)
    ['settings', 'tokenizer', 'utterances', 'statistics']
    """

    settings: Settings
    tokenizer: Tokenizer
    utterances: list[Utterance]
    statistics: dict[str, Tensor]

    def loader(self) -> Loader:
        """The recipe's training batches."""
        return training_loader(self.utterances, self.tokenizer, self.settings)

    def alone(self, count: int) -> list[Batch]:
        """The first utterances of the first batch, each a batch of its own."""
        loader = self.loader()
        draws = loader.steps.pieces(0)[0][:count]
        return [collate([loader.dataset[draw]]) for draw in draws]


def counterpart(mixer: str) -> str:
    """Name SpeechBrain's system of the same mixer, or its HyperConformer where it has none.

    Parameters
    ----------
    mixer : str
        Ours.

    Returns
    -------
    str

    Examples
    --------
    >>> counterpart("attention"), counterpart("mlp")
    ('upstream:RoPEMHA', 'upstream:hypermixing')
    """
    names = {ours: theirs for theirs, ours in THEIR_MIXERS.items()}
    return UPSTREAM + names.get(mixer, "hypermixing")


def read_settings(file: str, overrides: Mapping[str, Any], folder: Path) -> Settings:
    """Read the recipe that is to be measured.

    Parameters
    ----------
    file : str
        Its YAML.
    overrides : mapping
        Values for its keys.
    folder : Path
        For its data; takes the place of ``output_folder``.

    Returns
    -------
    Settings

    Raises
    ------
    InputError
        If it is no recipe, or does not say how large a batch is.

    Examples
    --------
    >>> read_settings("hparams/mini.yaml", {"max_batch_length": "auto"}, Path("."))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: max_batch_length is auto: give the seconds of a batch, for instance ...
    """
    settings = load_settings(file, {**overrides, "output_folder": str(folder)})
    if settings.max_batch_length == AUTO:
        raise InputError(
            "max_batch_length is auto: give the seconds of a batch, for instance --max_batch_length=120"
        )
    return settings


def check_comparable(settings: Settings, systems: Sequence[str]) -> None:
    """Refuse to compare a recipe with SpeechBrain's where that has no such loss.

    Parameters
    ----------
    settings : Settings
    systems : sequence of str

    Raises
    ------
    InputError

    Examples
    --------
    >>> settings = load_settings("hparams/mini.yaml", {"cr_ctc_weight": 0.2})
    >>> check_comparable(settings, ["hypermixing", "upstream:hypermixing"])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: SpeechBrain's recipe has no cr_ctc_weight: give ...
    """
    if not any(system.startswith(UPSTREAM) for system in systems):
        return
    for name, off in (("cr_ctc_weight", "0"), ("inter_ctc_layers", "[]")):
        if getattr(settings, name):
            raise InputError(
                f"SpeechBrain's recipe has no {name}: give --{name}={off}, or --mixers without upstream"
            )


def template(settings: Settings, file: str, overrides: Mapping[str, Any], **options: Any) -> Case:
    """Describe the training of a recipe, its system yet to be filled in.

    Parameters
    ----------
    settings : Settings
        Of the recipe, in the folder that holds its data.
    file : str
    overrides : mapping
        Both as :func:`read_settings` took them.
    **options
        ``device``, ``precision``, ``threads``, ``limit_seconds``; ``repeats`` and ``warm_up`` may be None.

    Returns
    -------
    Case

    Examples
    --------
    >>> settings = load_settings("hparams/mini.yaml", {})
    >>> case = template(settings, "hparams/mini.yaml", {}, device="cpu", repeats=None, warm_up=None)
    >>> case.name, case.repeats, case.recipe.warm_up, case.sizes.d_model
    ('train hypermixing 30 s step', 12, 3, 128)
    """
    model = settings.model
    on_cpu = options["device"] == "cpu"
    # What workers hold ready at first would hide that they cannot keep up.
    ahead = 0 if on_cpu else BATCHES_AHEAD * settings.num_workers
    warm_up = options.pop("warm_up") or WARM_UPS + ahead
    repeats = options.pop("repeats") or (CPU_STEPS if on_cpu else GPU_STEPS)
    values = json.dumps({**overrides, "output_folder": settings.output_folder})
    return Case(
        "train",
        model.mixer,
        "step",
        seconds=settings.batch_seconds,
        batch_size=1,
        repeats=repeats,
        seed=settings.seed,
        sizes=Sizes(
            model.d_model,
            model.nhead,
            model.num_encoder_layers,
            model.num_decoder_layers,
            model.output_neurons,
            model.transformer_dropout,
        ),
        recipe=Recipe(file, values, warm_up),
        **options,
    )


def prepare(settings: Settings, file: str, *, progress: bool = True) -> None:
    """Find the training splits, train the tokenizer and measure the features, for all processes to come.

    Parameters
    ----------
    settings : Settings
    file : str
        The recipe, named where its data is missing.
    progress : bool
        Show bars.

    Raises
    ------
    InputError
        If the data is not there or of no use.

    Examples
    --------
    >>> prepare(load_settings("hparams/hyperconformer.yaml", {}), "hparams/hyperconformer.yaml")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder is not set: ...
    """
    found = prepare_manifests(settings, file, settings.train_splits, progress=progress)
    every = [utterance for utterances in found.values() for utterance in utterances]
    tokenizer = make_tokenizer(settings, every)
    model = make_model(settings)
    measure_features(model, trainable(every, tokenizer, settings), tokenizer, settings)
    torch.save(model.normalizer.state_dict(), settings.folder / STATISTICS)


def load(case: Case) -> Prepared:
    """Take up what :func:`prepare` left.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Prepared

    Raises
    ------
    InputError
        If the recipe cannot be read, or does not go together with the case's mixer.

    Examples
    --------
    >>> load(Case("train", "mlp", "step", seconds=9.0, batch_size=1, recipe=Recipe("no.yaml", "{}", 1)))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'no.yaml' does not exist: see the files in hparams/
    """
    assert case.recipe is not None
    settings = load_settings(case.recipe.file, case.recipe.values)
    if not case.is_upstream:
        settings = replace(settings, model=with_mixer(settings.model, case.mixer))
    manifests = [settings.folder / "manifests" / f"{split}.csv" for split in settings.train_splits]
    every = [utterance for manifest in manifests for utterance in read_manifest(manifest)]
    tokenizer = Tokenizer.load(settings.folder / "save" / "tokenizer.model")
    statistics = torch.load(settings.folder / STATISTICS, weights_only=True)
    return Prepared(settings, tokenizer, trainable(every, tokenizer, settings), statistics)
