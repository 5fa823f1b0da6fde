"""What a contest's folder says: systems and dials (what differs from a recipe), and budgets of recipes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hyperconformer.bench.trainings.recipes import located
from hyperconformer.errors import InputError

MODULES = ("ours", "speechbrain")


@dataclass(frozen=True)
class Entry:
    """A system, or a dial at one of its settings.

    Attributes
    ----------
    name : str
    keys : mapping
        Values for the recipe's keys; ``mixer_options`` are added to those of the same mixer.
    modules : {"ours", "speechbrain"}
        What the recogniser is made of.

    Examples
    --------
    >>> Entry("attention", {"mixer": "attention"}).modules
    'ours'
    """

    name: str
    keys: Mapping[str, Any]
    modules: str = "ours"


@dataclass(frozen=True)
class Part:
    """A recipe of a budget.

    Attributes
    ----------
    recipe : str
        YAML file.
    folder : str
        Of the data, beneath the folder of all; empty: the recipe knows where its data is.

    Examples
    --------
    >>> Part("cpu_mini.yaml").folder
    ''
    """

    recipe: str
    folder: str = ""

    def data(self, data_folder: str | None) -> dict[str, str]:
        """Values for the recipe's keys that say where its data is."""
        if not self.folder or data_folder is None:
            return {}
        beneath = Path(data_folder) / self.folder
        return {"data_folder": str(beneath if beneath.is_dir() else data_folder)}


@dataclass(frozen=True)
class Budget:
    """What is trained on what.

    Attributes
    ----------
    parts : mapping of str to Part
    seeds : list of int

    Examples
    --------
    >>> list(Budget.__annotations__)
    ['parts', 'seeds']
    """

    parts: Mapping[str, Part]
    seeds: list[int]


def _mapping(path: Path) -> dict[str, Any]:
    """The entries of a YAML file, none of which may be anything but a mapping."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"'{path}' cannot be read ({reason}): give the folder of a contest as --recipes"
        ) from error
    if (
        not isinstance(found, dict)
        or not all(isinstance(entry, dict) for entry in found.values())
        or not found
    ):
        raise InputError(
            f"'{path}' must hold a mapping for each name, for instance 'attention: {{mixer: attention}}'"
        )
    return found


def read_entries(path: Path) -> dict[str, Entry]:
    r"""Read a table of systems or dials.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to Entry
        In the order of the file; the first is what the others are held against.

    Raises
    ------
    InputError

    Examples
    --------
    >>> path = getfixture("tmp_path") / "systems.yaml"
    >>> _ = path.write_text("ours: {}\nupstream: {modules: speechbrain}\n")
    >>> [(entry.name, entry.modules) for entry in read_entries(path).values()]
    [('ours', 'ours'), ('upstream', 'speechbrain')]
    """
    entries = {}
    for name, keys in _mapping(path).items():
        modules = keys.pop("modules", "ours")
        if modules not in MODULES:
            raise InputError(f"'{path}': modules {modules!r} of {name}: choose from {', '.join(MODULES)}")
        entries[name] = Entry(name, keys, modules)
    return entries


def read_budgets(path: Path) -> dict[str, Budget]:
    r"""Read the budgets; recipes stand beside the file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to Budget

    Raises
    ------
    InputError

    Examples
    --------
    >>> path = getfixture("tmp_path") / "budgets.yaml"
    >>> _ = path.write_text("cpu: {seeds: [1, 2], parts: {mini: {recipe: cpu_mini.yaml}}}\n")
    >>> budget = read_budgets(path)["cpu"]
    >>> budget.seeds, Path(budget.parts["mini"].recipe).name
    ([1, 2], 'cpu_mini.yaml')
    """
    budgets = {}
    for name, values in _mapping(path).items():
        try:
            parts = {part: Part(**given) for part, given in values["parts"].items()}
            budgets[name] = Budget(
                {part: Part(str(path.parent / one.recipe), one.folder) for part, one in parts.items()},
                [int(seed) for seed in values["seeds"]],
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"'{path}': budget {name} needs seeds, and parts with a recipe each ({error})"
            ) from error
    return budgets


def contest_folder(recipes: str) -> Path:
    """Find the folder of a contest: from where we stand, else in the checkout.

    Parameters
    ----------
    recipes : str

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> contest_folder("no/such/contest")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --recipes no/such/contest is no folder: see recipes/LibriSpeech/contest
    """
    folder = Path(located(recipes))
    if not folder.is_dir():
        raise InputError(f"--recipes {recipes} is no folder: see recipes/LibriSpeech/contest")
    return folder
