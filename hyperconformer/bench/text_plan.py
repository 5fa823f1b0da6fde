"""The trainings of ``bench text``: which ones each part needs, with what values for a recipe's keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hyperconformer.bench.text_runs import TextRun
from hyperconformer.bench.text_sizes import equal_config
from hyperconformer.bench.text_tuning import draw_trial
from hyperconformer.data.text_tasks import TASKS
from hyperconformer.errors import InputError
from hyperconformer.models.config import ClassifierConfig
from hyperconformer.training.recipe import build_settings, read_recipe
from hyperconformer.training.text_data import prepare_classification
from hyperconformer.training.text_settings import ClassificationSettings

RECIPES = Path("recipes/TextClassification/hparams")
# What the command line says of the recipe's data is not said of the made tasks.
OF_DATA = {
    "corpus",
    "data_folder",
    "train_texts",
    "dev_texts",
    "test_texts",
    "text_column",
    "second_column",
    "label_column",
    "train_share",
    "num_classes",
    "texts",
    "output_neurons",
    "token_type",
}
# The system decides, or the bench.
NOT_GIVEN = ("mixer", "mixer_options", "pair", "seed", "name", "output_folder")
_OF_MODEL = {f.name for f in fields(ClassifierConfig)}


@dataclass(frozen=True)
class Ground:
    """A recipe whose data has been looked at.

    Attributes
    ----------
    recipe : str
        YAML file.
    overrides, values : mapping
        Values for its keys, and of all its keys.
    settings : ClassificationSettings
        Made of these.
    longest : int
        Most tokens of a text, each of a pair for itself.

    Examples
    --------
    >>> list(Ground.__annotations__)
    ['recipe', 'overrides', 'values', 'settings', 'longest']
    """

    recipe: str
    overrides: Mapping[str, Any]
    values: Mapping[str, Any]
    settings: ClassificationSettings
    longest: int

    @property
    def places(self) -> int:
        """Most tokens of what a mixer sees: a pair is one sequence, with a symbol between."""
        return self.longest if self.settings.model.texts == 1 else 2 * self.longest + 1


@dataclass(frozen=True)
class Planned:
    """A training, and where in the report it belongs.

    Attributes
    ----------
    system : str
    row : str
        What it is beside the system: a share, a task, or nothing.
    number : int
        Seed, or trial.
    run : TextRun

    Examples
    --------
    >>> list(Planned.__annotations__)
    ['system', 'row', 'number', 'run']
    """

    system: str
    row: str
    number: int
    run: TextRun


def look_at(recipe: str, overrides: Mapping[str, Any]) -> Ground:
    """Read a recipe and its data, so that what is wrong with them is said before anything is trained.

    Parameters
    ----------
    recipe : str
        YAML file.
    overrides : mapping
        Values for its keys.

    Returns
    -------
    Ground

    Raises
    ------
    InputError
        If it cannot be trained, or a value is the bench's to decide.

    Examples
    --------
    >>> look_at("hparams/text.yaml", {"task_texts": 40}).longest
    130
    >>> look_at("hparams/text.yaml", {"mixer": "fourier"})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --mixer is not for bench text: it takes --mixers, --seeds and --output
    """
    for key in NOT_GIVEN:
        if key in overrides:
            raise InputError(f"--{key} is not for bench text: it takes --mixers, --seeds and --output")
    values = read_recipe(recipe, overrides)
    settings = build_settings(ClassificationSettings, values, recipe)
    with TemporaryDirectory() as folder:
        # Of all mixers: a length that one cannot take is raised for it later.
        anything = replace(settings.model, mixer="identity", mixer_options={}, pair="joined")
        data = prepare_classification(replace(settings, output_folder=folder, model=anything))
    splits = [data.train, data.valid, *data.tests.values(), *data.strangers.values()]
    longest = max(len(row) for split in splits for rows in (split.tokens, split.second) for row in rows)
    return Ground(recipe, overrides, values, settings, longest)


@dataclass(frozen=True)
class Planner:
    """Makes the trainings of every part.

    Attributes
    ----------
    systems : sequence of str
        Keys of :data:`~hyperconformer.bench.text_sizes.SYSTEMS`.
    seeds : sequence of int
    device, precision : str

    Examples
    --------
    >>> planner = Planner(["hypermixing", "identity"], [1, 2], "cpu", "fp32")
    >>> ground = look_at("hparams/text.yaml", {"task_texts": 40})
    >>> [(one.system, one.number) for one in planner.accuracy(ground)]
    [('hypermixing', 1), ('identity', 1), ('hypermixing', 2), ('identity', 2)]
    >>> {one.run.decided["d_ffn"] for one in planner.accuracy(ground) if one.system == "hypermixing"} == {
    ...     ground.settings.model.d_ffn}
    True
    """

    systems: Sequence[str]
    seeds: Sequence[int]
    device: str
    precision: str

    def accuracy(self, ground: Ground) -> list[Planned]:
        """Every system by every seed."""
        return self._seeds(ground, "", {})

    def data(self, ground: Ground, shares: Sequence[float]) -> list[Planned]:
        """The same from parts of the training texts, in percent."""
        return [
            planned
            for share in shares
            for planned in self._seeds(ground, f"{share:g}", {"train_share": share / 100})
        ]

    def tuning(self, ground: Ground, trials: int) -> list[Planned]:
        """Every system with the same random hyperparameters; the trial is the seed too."""
        return [
            self._planned(ground, system, "", trial, {"seed": trial, **draw_trial(0, trial)}, "trial")
            for trial in range(trials)
            for system in self.systems
        ]

    def tasks(self, grounds: Mapping[str, Ground]) -> list[Planned]:
        """Every system by every seed on each made task."""
        return [planned for task, ground in grounds.items() for planned in self._seeds(ground, task, {})]

    def _seeds(self, ground: Ground, row: str, changes: Mapping[str, Any]) -> list[Planned]:
        return [
            self._planned(ground, system, row, seed, {**changes, "seed": seed}, "seed")
            for seed in self.seeds
            for system in self.systems
        ]

    def _planned(
        self,
        ground: Ground,
        system: str,
        row: str,
        number: int,
        changes: Mapping[str, Any],
        counted: str,
    ) -> Planned:
        sizes = {key: value for key, value in changes.items() if key in _OF_MODEL}
        config = equal_config(replace(ground.settings.model, **sizes), system, ground.places)
        of_system = {key: getattr(config, key) for key in ("mixer", "mixer_options", "pair", "d_ffn")}
        overrides = {**ground.overrides, **changes, **of_system, "max_text_tokens": ground.longest}
        values = {**ground.values, **overrides}
        decided = build_settings(ClassificationSettings, values, ground.recipe).plain()
        name = ", ".join(filter(None, (system, row, f"{counted} {number}")))
        run = TextRun(name, ground.recipe, overrides, self.device, self.precision, decided)
        return Planned(system, row, number, run)


def look_at_tasks(tasks: Sequence[str], overrides: Mapping[str, Any]) -> dict[str, Ground]:
    """Look at the recipes of made tasks.

    Parameters
    ----------
    tasks : sequence of str
        Keys of :data:`~hyperconformer.data.text_tasks.TASKS`.
    overrides : mapping
        Values for the keys of the main recipe: those of its data do not count here.

    Returns
    -------
    dict of str to Ground

    Raises
    ------
    InputError
        If there is no such task.

    Examples
    --------
    >>> look_at_tasks(["juggling"], {})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --tasks juggling: choose from match, order, count
    """
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"--tasks {task}: choose from {', '.join(TASKS)}")
    own = {key: value for key, value in overrides.items() if key not in OF_DATA}
    return {task: look_at(str(RECIPES / f"{task}.yaml"), own) for task in dict.fromkeys(tasks)}
