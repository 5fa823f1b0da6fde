"""A recipe's YAML and command line, read into one checked object."""

import difflib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hyperconformer.data.augment import SpecAugment
from hyperconformer.errors import InputError
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import ModelType
from hyperconformer.training.checks import check_type

# What the command line takes beside the YAML's own keys, and SpeechBrain's Brain acts on.
Precision = Literal["fp32", "bf16", "fp16"]
RUN_OPTIONS = {
    "device": str,
    "precision": Precision,
    "eval_precision": Precision,
    "debug": bool,
    "debug_batches": int,
    "debug_epochs": int,
    "test_only": bool,
    "noprogressbar": bool,
    "grad_accumulation_factor": int,
    "max_grad_norm": float,
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
        How ``data_folder`` comes to be: ``librispeech`` (it is there) or ``mini`` (espeak-ng speaks it).
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
    beam_size, ctc_weight_decode, max_decode_ratio
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
    corpus: Literal["librispeech", "mini"]
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
    adam_betas: list[float]
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
    augment: SpecAugment
    model: ModelConfig

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(self.output_folder)


@dataclass(frozen=True)
class CommandLine:
    """What ``train.py`` was asked to do.

    Attributes
    ----------
    hparams_file : str
    overrides : dict
        Values for the YAML's keys.
    run_options : dict
        Options of SpeechBrain's Brain.

    Examples
    --------
    >>> CommandLine.parse(["x.yaml", "--seed=3", "--debug"])
    CommandLine(hparams_file='x.yaml', overrides={'seed': 3}, run_options={'debug': True})
    """

    hparams_file: str
    overrides: dict[str, Any]
    run_options: dict[str, Any]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "CommandLine":
        """Read ``FILE.yaml [--key=value | --key value | --flag] ...``; values are plain YAML.

        Raises
        ------
        InputError
            If the YAML file is missing, or an argument is neither an option nor its value.

        Examples
        --------
        >>> CommandLine.parse(["x.yaml", "--data_folder=/a=b", "--speeds", "[90, 110]"]).overrides
        {'data_folder': '/a=b', 'speeds': [90, 110]}
        """
        if not arguments or arguments[0].startswith("-"):
            raise InputError("name a recipe first: python train.py hparams/mini.yaml [--key=value ...]")
        values: dict[str, Any] = {}
        pending = list(arguments[1:])
        while pending:
            argument = pending.pop(0)
            if not argument.startswith("--"):
                raise InputError(f"argument {argument!r} is not of the form --key=value")
            key, equals, text = argument[2:].partition("=")
            if not equals and pending and not pending[0].startswith("--"):
                text = pending.pop(0)
            elif not equals:
                text = "true"
            values[key] = _plain_value(key, text)
        run_options = {key: values.pop(key) for key in list(values) if key in RUN_OPTIONS}
        for key, value in run_options.items():
            check_type(key, value, RUN_OPTIONS[key])
        return cls(arguments[0], values, run_options)


def _plain_value(key: str, text: str) -> Any:
    """Parse a command-line value as YAML without tags: an override must never run code."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise InputError(f"--{key}={text!r} is not a plain YAML value") from error


def _flat(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Lift the keys of an included base to the top; the including file's own keys win."""
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
    except YAMLError as error:
        raise InputError(
            f"recipe {hparams_file!r} is not valid YAML: {' '.join(str(error).split())}"
        ) from error
    own, sections = _legal_keys()
    legal = own | {key: hint for _, hints in sections.values() for key, hint in hints.items()}
    for key in values:
        if key not in legal:
            raise InputError(_unknown(key, [*legal, *RUN_OPTIONS], hparams_file))
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
    for key in ("name", "seed"):
        arguments["output_folder"] = arguments["output_folder"].replace(f"{{{key}}}", str(values[key]))
    return Settings(**arguments)


def _legal_keys() -> tuple[dict[str, Any], dict[str, tuple[Any, dict[str, Any]]]]:
    """The keys of the settings proper, and those of each section; all stand at the top of the YAML."""
    hints = typing.get_type_hints(Settings)
    sections = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = {name: hint for name, hint in hints.items() if name not in sections}
    return own, {name: (section, typing.get_type_hints(section)) for name, section in sections.items()}


def _unknown(key: str, legal: Sequence[str], hparams_file: str) -> str:
    close = difflib.get_close_matches(key, legal, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else "see its base file for the keys there are"
    return f"recipe {hparams_file!r} has no setting {key!r}: {remedy}"
