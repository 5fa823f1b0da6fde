"""A recipe's YAML, read into one checked object of whatever kind it is."""

import difflib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml.error import YAMLError

from hyperconformer.errors import InputError
from hyperconformer.training.checks import check_type
from hyperconformer.training.run_settings import RunSettings

S = TypeVar("S", bound=RunSettings)


def read_recipe(hparams_file: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Read a recipe's keys and values; what an included base says counts where the recipe says nothing.

    Parameters
    ----------
    hparams_file : str
        HyperPyYAML file; ``base: !include:other.yaml`` and the keys that differ make a variant.
    overrides : mapping
        Values that replace the file's. With another mixer the file's ``mixer_options`` are gone: they are of
        its own.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If the file cannot be read.

    Examples
    --------
    >>> read_recipe("no.yaml", {})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'no.yaml' does not exist: see the files in hparams/
    """
    if not Path(hparams_file).is_file():
        raise InputError(f"recipe {hparams_file!r} does not exist: see the files in hparams/")
    try:
        with open(hparams_file, encoding="utf-8") as stream:
            values = _flat(load_hyperpyyaml(stream))
    except (YAMLError, OSError, ValueError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split("To suppress")[0].split())
        raise InputError(f"recipe {hparams_file!r} is not valid: {reason}") from error
    if "mixer_options" in values and overrides.get("mixer", values.get("mixer")) != values.get("mixer"):
        values["mixer_options"] = {}
    return values | dict(overrides)


def build_settings(kind: type[S], values: Mapping[str, Any], hparams_file: str) -> S:
    """Make settings from a recipe's values, of which none may be missing, unknown or of the wrong type.

    Parameters
    ----------
    kind : type
        A dataclass of settings; its fields that are dataclasses take their keys from the top as well.
    values : mapping
        From :func:`read_recipe`.
    hparams_file : str
        Named in errors.

    Returns
    -------
    RunSettings
        Of that kind.

    Raises
    ------
    InputError

    Examples
    --------
    >>> build_settings(RunSettings, {"sed": 1}, "x.yaml")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'x.yaml' has no setting 'sed': did you mean 'seed'?
    """
    own, sections = _legal_keys(kind)
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
        return kind(**arguments)
    except ValueError as error:
        raise InputError(f"recipe {hparams_file!r}: {error}") from error


def _flat(loaded: Any) -> dict[str, Any]:
    """Lift the keys of an included base, or several, to the top: the later ones win, and the file's own."""
    if not isinstance(loaded, Mapping):
        raise ValueError(f"a recipe is a mapping of keys to values, got {loaded!r}")
    bases = loaded.get("base", [])
    flat: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        flat |= _flat(base)
    return flat | {key: value for key, value in loaded.items() if key != "base"}


def _legal_keys(kind: type[RunSettings]) -> tuple[dict[str, Any], dict[str, tuple[Any, dict[str, Any]]]]:
    """The keys of the settings proper, and those of each section; all stand at the top of the YAML."""
    hints = typing.get_type_hints(kind)
    sections = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = {name: hint for name, hint in hints.items() if name not in sections}
    return own, {name: (section, typing.get_type_hints(section)) for name, section in sections.items()}


def _unknown(key: str, legal: Sequence[str], hparams_file: str) -> str:
    within = [name for name in legal if key in name]
    close = within or difflib.get_close_matches(key, legal, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else "see its base file for the keys there are"
    return f"recipe {hparams_file!r} has no setting {key!r}: {remedy}"
