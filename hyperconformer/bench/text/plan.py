"""The trainings of ``bench text``: which ones each part needs, with what values for a recipe's keys."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hyperconformer.bench.text.sizes import equal_config, system_config
from hyperconformer.bench.text.tuning import draw_trial
from hyperconformer.bench.trainings.arguments import check_undecided
from hyperconformer.bench.trainings.planned import Planned
from hyperconformer.bench.trainings.recipes import located
from hyperconformer.bench.trainings.runs import Run
from hyperconformer.bench.trainings.sizes import Unequal
from hyperconformer.data.labelled import LabelledCorpus
from hyperconformer.data.text_tasks import TASKS
from hyperconformer.errors import InputError
from hyperconformer.models.config import ClassifierConfig
from hyperconformer.training.recipe import build_settings, read_recipe
from hyperconformer.training.text_data import ClassificationData, prepare_classification
from hyperconformer.training.text_settings import ClassificationSettings

RECIPES = Path("recipes/TextClassification/hparams")
# All that the command line says of the made tasks; what else it says is said of its own recipe.
OF_TASKS = ("task_texts", "number_of_epochs")
# The system decides, or the bench.
NOT_GIVEN = ("mixer", "mixer_options", "pair", "seed", "name", "output_folder")
_OF_MODEL = {f.name for f in fields(ClassifierConfig)}


def texts_key(corpus: LabelledCorpus) -> str:
    """Sum up all texts of a corpus, their labels and their splits.

    Parameters
    ----------
    corpus : LabelledCorpus

    Returns
    -------
    str

    Examples
    --------
    >>> from hyperconformer.data.labelled import LabelledText
    >>> corpora = [LabelledCorpus([LabelledText("a", label)], [], {}) for label in "xy"]
    >>> texts_key(corpora[0]) == texts_key(corpora[1])
    False
    """
    splits = {"train": corpus.train, "valid": corpus.valid}
    splits |= {f"test {name}": texts for name, texts in corpus.tests.items()}
    splits |= {f"strangers {name}": texts for name, texts in corpus.strangers.items()}
    digest = hashlib.sha256()
    for name, texts in splits.items():
        digest.update(json.dumps([name, len(texts)]).encode())
        for one in texts:
            digest.update(json.dumps(astuple(one)).encode())
    return digest.hexdigest()


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
    texts : str
        A sum over the whole corpus.
    longest : int
        Most tokens of a text, each of a pair for itself.
    places : int
        Most tokens of what a mixer sees: a pair is one sequence, with a symbol between.

    Examples
    --------
    >>> list(Ground.__annotations__)
    ['recipe', 'overrides', 'values', 'settings', 'texts', 'longest', 'places']
    """

    recipe: str
    overrides: Mapping[str, Any]
    values: Mapping[str, Any]
    settings: ClassificationSettings
    texts: str
    longest: int
    places: int

    def of_share(self, share: float, seeds: Sequence[int]) -> "Ground":
        """Look again where less is learnt from: other tokens make texts longer, seed by seed."""
        if share == 1:
            return self
        parts = [_prepared(replace(self.settings, train_share=share, seed=seed)) for seed in seeds]
        longest, places = (max(sizes) for sizes in zip(*map(_sizes, parts), strict=True))
        return replace(self, longest=longest, places=places)


def read_settings(
    recipe: str, overrides: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ClassificationSettings]:
    """Read a recipe, not its data.

    Parameters
    ----------
    recipe : str
        YAML file.
    overrides : mapping
        Values for its keys.

    Returns
    -------
    values : mapping
        Of all its keys.
    settings : ClassificationSettings

    Raises
    ------
    InputError
        If it cannot be read, or a value is the bench's to decide.

    Examples
    --------
    >>> read_settings("hparams/text.yaml", {"mixer": "fourier"})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --mixer is not for bench text: it takes --mixers, --seeds and --output
    """
    check_undecided("text", overrides, NOT_GIVEN, "--mixers, --seeds and --output")
    values = read_recipe(located(recipe), overrides)
    if values.get("task") != "classify":
        raise InputError(f"{recipe!r} is not a text classification recipe: see {RECIPES}/")
    return values, build_settings(ClassificationSettings, values, recipe)


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
    """
    values, settings = read_settings(recipe, overrides)
    data = _prepared(replace(settings, train_share=1.0))
    return Ground(located(recipe), overrides, values, settings, texts_key(data.corpus), *_sizes(data))


def _prepared(settings: ClassificationSettings) -> ClassificationData:
    """Read and encode the texts, for any mixer: lengths that one cannot take are dealt with later."""
    with TemporaryDirectory() as folder:
        anything = replace(settings.model, mixer="identity", mixer_options={}, pair="joined")
        return prepare_classification(replace(settings, output_folder=folder, model=anything))


def _sizes(data: ClassificationData) -> tuple[int, int]:
    """Most tokens of a text, and of a pair."""
    splits = [data.train, data.valid, *data.tests.values(), *data.strangers.values()]
    longest = max(len(row) for split in splits for rows in (split.tokens, split.second) for row in rows)
    return longest, max(int(split.lengths.max(initial=0)) for split in splits)


@dataclass(frozen=True)
class Planner:
    """Makes the trainings of every part.

    Attributes
    ----------
    systems : sequence of str
        Keys of :data:`~hyperconformer.bench.text.sizes.SYSTEMS`.
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
        """The same from parts of the training texts, in percent.

        Less texts are learnt from in more epochs, so that all shares have as many steps: else a small share
        would show how little a few steps teach.
        """
        plans = []
        for share in shares:
            epochs = max(1, round(ground.settings.number_of_epochs / (share / 100)))
            changes = {"train_share": share / 100, "number_of_epochs": epochs}
            plans += self._seeds(ground, f"{share:g}", changes)
        return plans

    def tuning(self, ground: Ground, trials: int) -> list[Planned]:
        """Every system with the same random hyperparameters; the trial is the seed too."""
        ground = ground.of_share(ground.settings.train_share, range(trials))
        return [
            self._planned(ground, system, "", trial, {"seed": trial, **draw_trial(0, trial)}, "trial")
            for trial in range(trials)
            for system in self.systems
        ]

    def tasks(self, grounds: Mapping[str, Ground]) -> list[Planned]:
        """Every system by every seed on each made task."""
        return [planned for task, ground in grounds.items() for planned in self._seeds(ground, task, {})]

    def _seeds(self, ground: Ground, row: str, changes: Mapping[str, Any]) -> list[Planned]:
        ground = ground.of_share(changes.get("train_share", ground.settings.train_share), self.seeds)
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
        model, unfit = replace(ground.settings.model, **sizes), ""
        try:
            config = equal_config(model, system, ground.places)
        except Unequal as error:
            config, unfit = system_config(model, system, ground.places), str(error)
        of_system = {key: getattr(config, key) for key in ("mixer", "mixer_options", "pair", "d_ffn")}
        overrides = {**ground.overrides, **changes, **of_system, "max_text_tokens": ground.longest}
        values = {**ground.values, **overrides}
        decided = build_settings(ClassificationSettings, values, ground.recipe).plain()
        name = ", ".join(filter(None, (system, row, f"{counted} {number}")))
        run = Run(name, ground.recipe, overrides, self.device, self.precision, decided, ground.texts)
        return Planned(system, row, number, run, unfit)


def look_at_tasks(tasks: Sequence[str], overrides: Mapping[str, Any]) -> dict[str, Ground]:
    """Look at the recipes of made tasks.

    Parameters
    ----------
    tasks : sequence of str
        Keys of :data:`~hyperconformer.data.text_tasks.TASKS`.
    overrides : mapping
        Values for the keys of the main recipe: only :data:`OF_TASKS` count here.

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
    own = {key: value for key, value in overrides.items() if key in OF_TASKS}
    return {task: look_at(str(RECIPES / f"{task}.yaml"), own) for task in dict.fromkeys(tasks)}
