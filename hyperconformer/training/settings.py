"""A recipe's YAML, read into one checked object."""

import difflib
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml.error import YAMLError

from hyperconformer.data.augment import SpecAugment
from hyperconformer.errors import InputError, check_range
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import ModelType
from hyperconformer.training.checks import check_type

SMALLEST = 1e-12
RANGES = {
    "seed": (0, math.inf),
    "number_of_epochs": (1, math.inf),
    "num_workers": (0, math.inf),
    "max_batch_length": (SMALLEST, math.inf),
    "max_utterance_length": (SMALLEST, math.inf),
    "lr": (SMALLEST, math.inf),
    "n_warmup_steps": (1, math.inf),
    "adam_eps": (SMALLEST, math.inf),
    "weight_decay": (0, math.inf),
    "ctc_weight": (0, 1),
    "label_smoothing": (0, 1),
    "average_checkpoints": (1, math.inf),
    "beam_size": (1, math.inf),
    "ctc_weight_decode": (0, 1),
    "max_decode_ratio": (SMALLEST, math.inf),
}


@dataclass(frozen=True)
class Settings:
    """Every decision of a training run except the model's own; the names are the YAML's keys.

    Attributes
    ----------
    seed : int
    name, output_folder : str
        The run's name, and where everything it writes goes.
    corpus : str
        What ``data_folder`` is: ``librispeech`` (that layout), ``mini`` (espeak-ng makes it there), or
        ``manifests`` (a CSV file for each split, as ``hyperconformer prepare`` writes them).
    data_folder : str or None
        Folder that holds the splits.
    train_splits, dev_splits, test_splits : list of str
        Without a dev split, a tenth of every training speaker's utterances is held out.
    token_type : str
        Kind of SentencePiece model.
    number_of_epochs, num_workers : int
    max_batch_length, max_utterance_length : float
        Padded seconds of a batch; longer training utterances are left out.
    lr, n_warmup_steps
        Peak learning rate and steps of the Noam schedule.
    adam_betas, adam_eps, weight_decay
        Of AdamW.
    ctc_weight, label_smoothing : float
        Of the loss.
    speeds : list of int
        Speed perturbation in percent.
    average_checkpoints : int
        Best checkpoints kept, and averaged for the test.
    decode : list of {"greedy", "joint"}
        Searches for the test; the last one's WER is the run's result.
    beam_size, ctc_weight_decode, max_decode_ratio, length_normalization
        Of the joint search.
    augment : SpecAugment
        The keys of the masks.
    model : ModelConfig
        The keys that decide the weights.

    Examples
    --------
    >>> Settings.__annotations__["number_of_epochs"]
    <class 'int'>
    """

    seed: int
    name: str
    output_folder: str
    corpus: Literal["librispeech", "mini", "manifests"]
    data_folder: str | None
    train_splits: list[str]
    dev_splits: list[str]
    test_splits: list[str]
    token_type: ModelType
    number_of_epochs: int
    num_workers: int
    max_batch_length: float
    max_utterance_length: float
    lr: float
    n_warmup_steps: int
    adam_betas: tuple[float, float]
    adam_eps: float
    weight_decay: float
    ctc_weight: float
    label_smoothing: float
    speeds: list[int]
    average_checkpoints: int
    decode: list[Literal["greedy", "joint"]]
    beam_size: int
    ctc_weight_decode: float
    max_decode_ratio: float
    length_normalization: bool
    augment: SpecAugment
    model: ModelConfig

    def __post_init__(self) -> None:
        """Refuse what would fail only later."""
        for name, (low, high) in RANGES.items():
            check_range(name, getattr(self, name), low, high)
        check_range("speeds, in percent,", min(self.speeds, default=0), 1)
        check_range("adam_betas", min(self.adam_betas), 0, 1)
        if not self.decode:
            raise ValueError("decode must name a search, for instance [greedy]")

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(self.output_folder)

    def plain(self) -> dict[str, Any]:
        """Every key of the recipe with its value, as a YAML file would have them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("augment", "model")}
        return {**own, "adam_betas": list(self.adam_betas), **self.model.to_dict(), **asdict(self.augment)}


def _flat(loaded: Any) -> dict[str, Any]:
    """Lift the keys of an included base to the top; the including file's own keys win."""
    if not isinstance(loaded, Mapping):
        raise ValueError(f"a recipe is a mapping of keys to values, got {loaded!r}")
    own = {key: value for key, value in loaded.items() if key != "base"}
    return {**_flat(loaded["base"]), **own} if "base" in loaded else own


def load_settings(hparams_file: str, overrides: Mapping[str, Any]) -> Settings:
    """Read a recipe.

    Parameters
    ----------
    hparams_file : str
        HyperPyYAML file; ``base: !include:other.yaml`` and the keys that differ make a variant.
    overrides : mapping
        Values that replace the file's.

    Returns
    -------
    Settings

    Raises
    ------
    InputError
        If the file cannot be read, or a key is unknown, missing or of the wrong type.

    Examples
    --------
    >>> load_settings("no.yaml", {})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'no.yaml' does not exist: see the files in hparams/
    """
    if not Path(hparams_file).is_file():
        raise InputError(f"recipe {hparams_file!r} does not exist: see the files in hparams/")
    try:
        with open(hparams_file, encoding="utf-8") as stream:
            values = _flat(load_hyperpyyaml(stream)) | dict(overrides)
    except (YAMLError, OSError, ValueError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split("To suppress")[0].split())
        raise InputError(f"recipe {hparams_file!r} is not valid: {reason}") from error
    own, sections = _legal_keys()
    legal = own | {key: hint for _, hints in sections.values() for key, hint in hints.items()}
    for key in values:
        if key not in legal:
            raise InputError(_unknown(key, list(legal), hparams_file))
    for key, hint in legal.items():
        if key not in values:
            raise InputError(f"recipe {hparams_file!r} has no {key!r}: give it there or as --{key}=...")
        check_type(key, values[key], hint)
    arguments: dict[str, Any] = {key: values[key] for key in own}
    for name, (section, hints) in sections.items():
        try:
            arguments[name] = section(**{key: values[key] for key in hints})
        except ValueError as error:
            raise InputError(f"recipe {hparams_file!r}: {error}") from error
    arguments["adam_betas"] = tuple(arguments["adam_betas"])
    for key in ("name", "seed"):
        arguments["output_folder"] = arguments["output_folder"].replace(f"{{{key}}}", str(values[key]))
    try:
        return Settings(**arguments)
    except ValueError as error:
        raise InputError(f"recipe {hparams_file!r}: {error}") from error


def _legal_keys() -> tuple[dict[str, Any], dict[str, tuple[Any, dict[str, Any]]]]:
    """The keys of the settings proper, and those of each section; all stand at the top of the YAML."""
    hints = typing.get_type_hints(Settings)
    sections = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = {name: hint for name, hint in hints.items() if name not in sections}
    return own, {name: (section, typing.get_type_hints(section)) for name, section in sections.items()}


def _unknown(key: str, legal: Sequence[str], hparams_file: str) -> str:
    within = [name for name in legal if key in name]
    close = within or difflib.get_close_matches(key, legal, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else "see its base file for the keys there are"
    return f"recipe {hparams_file!r} has no setting {key!r}: {remedy}"
