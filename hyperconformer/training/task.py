"""What the story of train.py asks of anything that can be trained."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from torch import nn

from hyperconformer.errors import InputError
from hyperconformer.training import distributed
from hyperconformer.training.command import CommandLine
from hyperconformer.training.curves import require_wandb
from hyperconformer.training.loop import StepBrain, StepLoader
from hyperconformer.training.recipe import build_settings, read_recipe
from hyperconformer.training.record import record_run
from hyperconformer.training.run_settings import RunSettings
from hyperconformer.training.setup import check_hardware, seed_everything

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=RunSettings)
M = TypeVar("M", bound=nn.Module)
D = TypeVar("D")
B = TypeVar("B", bound=StepBrain)


class Task(ABC, Generic[S, M, D, B]):
    """One kind of training: its settings, model, data and Brain, and what it leaves behind.

    Parameters
    ----------
    settings : RunSettings
        Of the kind that ``settings_type`` says.
    run_options : dict
        With device and precisions decided.
    hparams_file : str
        Named in errors.

    Examples
    --------
    >>> sorted(Task.__abstractmethods__)[:3]
    ['finish', 'make_brain', 'make_model']
    """

    settings_type: ClassVar[type[RunSettings]]

    def __init__(self, settings: S, run_options: dict[str, Any], hparams_file: str) -> None:
        self.settings, self.run_options, self.hparams_file = settings, run_options, hparams_file

    @property
    def debug(self) -> bool:
        """Whether a few short batches will do."""
        return bool(self.run_options.get("debug", False))

    @property
    def progress(self) -> bool:
        """Whether this process shows bars."""
        return distributed.is_main() and not self.run_options.get("noprogressbar", False)

    @abstractmethod
    def make_model(self) -> M:
        """Build the model, before anything slow happens."""

    @abstractmethod
    def prepare(self) -> D:
        """Find or make the data and open the run's folder; what it returns says in print what there is."""

    @abstractmethod
    def make_brain(self, model: M, data: D) -> B:
        """Bring the model to the device, with its optimizer."""

    def start(self, brain: B, data: D) -> None:
        """Do what a new run needs before its first step, and a continued one has behind it."""
        del brain, data

    @abstractmethod
    def train_loader(self, data: D) -> StepLoader:
        """Batches to learn from."""

    @abstractmethod
    def valid_loader(self, data: D) -> Any:
        """Batches to validate by."""

    @abstractmethod
    def finish(self, brain: B, data: D) -> dict[str, Any]:
        """Test the model as it is and write its folder, ``model``, in the main process; its metrics."""


def open_task(line: CommandLine, tasks: Mapping[str, type[Task[Any, Any, Any, Any]]]) -> Any:
    """Read a recipe, find its kind, its device and the other processes, and seed everything.

    Parameters
    ----------
    line : CommandLine
    tasks : mapping of str to type
        By the recipe's ``task``.

    Returns
    -------
    Task

    Raises
    ------
    InputError

    Examples
    --------
    >>> open_task(CommandLine("hparams/mini.yaml", {"task": "juggling"}, {}), {})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'hparams/mini.yaml' has task 'juggling', which is not one of
    """
    values = read_recipe(line.hparams_file, line.overrides)
    kind = str(values.get("task", ""))
    if kind not in tasks:
        raise InputError(
            f"recipe {line.hparams_file!r} has task {kind!r}, which is not one of {', '.join(tasks)}".rstrip()
        )
    settings = build_settings(tasks[kind].settings_type, values, line.hparams_file)
    if line.run_options.get("debug", False):
        # A debugging run is kept from real ones and from their results.
        settings = replace(settings, output_folder=f"{settings.output_folder}_debug")
        if "record" in line.run_options:
            raise InputError("--debug says nothing worth recording: leave --record away")
    run_options = check_hardware(line.run_options)
    if settings.wandb:
        require_wandb()
    seed_everything(settings.seed)
    return tasks[kind](settings, run_options, line.hparams_file)


def run_task(
    kind: Callable[[S, dict[str, Any], str], Task[S, Any, Any, Any]],
    settings: S,
    run_options: Mapping[str, Any],
    hparams_file: str = "",
) -> dict[str, Any]:
    """Follow one recipe in this process: the story of ``train.py``, for programs that train many.

    Parameters
    ----------
    kind : callable
        A kind of task, or what makes one of settings, options and the recipe's name.
    settings : RunSettings
        Of the kind's own type.
    run_options : mapping
        As of ``train.py``'s command line, for instance ``{"device": "cpu", "noprogressbar": True}``.
    hparams_file : str
        Named in errors.

    Returns
    -------
    dict
        What :meth:`Task.finish` returns.

    Raises
    ------
    InputError

    Examples
    --------
    >>> from hyperconformer.training.text import ClassificationTask
    >>> from hyperconformer.training.text_settings import classification_settings
    >>> settings = classification_settings("hparams/text.yaml", {"d_model": 30})
    >>> run_task(ClassificationTask, settings, {"device": "cpu"})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: d_model 30 must be a multiple of num_heads 4
    """
    run_options = check_hardware(run_options)
    seed_everything(settings.seed)
    task = kind(settings, run_options, hparams_file)
    model = task.make_model()
    data = task.prepare()
    brain = task.make_brain(model, data)
    if not brain.resume():
        task.start(brain, data)
    brain.fit(range(1, settings.number_of_epochs + 1), task.train_loader(data), task.valid_loader(data))
    brain.load_best(settings.average_checkpoints)
    return task.finish(brain, data)


def close_task(task: Task[Any, Any, Any, Any], metrics: Mapping[str, Any]) -> Path:
    """Record a finished run where that was asked for, and say where its model is.

    Parameters
    ----------
    task : Task
    metrics : mapping
        From :meth:`Task.finish`.

    Returns
    -------
    Path
        The model folder.

    Examples
    --------
    >>> from hyperconformer.training.asr import ASRTask
    >>> close_task(open_task(CommandLine("hparams/mini.yaml", {}, {"device": "cpu"}), {"asr": ASRTask}), {})
    model folder: results/mini/7775/model
    PosixPath('results/mini/7775/model')
    """
    folder = task.settings.folder / "model"
    if distributed.is_main():
        print(f"model folder: {folder}")
        if "record" in task.run_options:
            record_run(Path(task.run_options["record"]), metrics)
    return folder
