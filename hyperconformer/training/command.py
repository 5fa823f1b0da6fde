"""The command line of ``train.py``: a recipe, values for its keys, and options of the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hyperconformer.errors import InputError
from hyperconformer.training.checks import check_type

# What the command line takes beside the YAML's own keys.
Precision = Literal["auto", "fp32", "bf16", "fp16"]
RUN_OPTIONS = {
    "device": str,
    "precision": Precision,
    "eval_precision": Precision,
    "debug": bool,
    "debug_batches": int,
    "debug_epochs": int,
    "test_only": bool,
    "noprogressbar": bool,
    "compile": bool,
}


@dataclass(frozen=True)
class CommandLine:
    """What ``train.py`` was asked to do.

    Attributes
    ----------
    hparams_file : str
    overrides : dict
        Values for the YAML's keys.
    run_options : dict
        Options of the run, most of them of SpeechBrain's Brain.

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
