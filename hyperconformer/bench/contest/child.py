"""The process of a recogniser's training."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hyperconformer.bench.contest.found import ContestFound
from hyperconformer.bench.contest.task import ContestTask, note_peak
from hyperconformer.bench.trainings.child import answer, or_diverged
from hyperconformer.training.progress import Stopped
from hyperconformer.training.settings import load_settings
from hyperconformer.training.task import run_task


def train(asked: Mapping[str, Any]) -> ContestFound:
    """Train as asked.

    Parameters
    ----------
    asked : mapping
        The run's ``key``, ``recipe``, ``overrides``, ``run_options`` and ``further`` (of
        :class:`~hyperconformer.bench.contest.task.ContestTask`).

    Returns
    -------
    ContestFound
        A training that diverged is an answer like others.

    Raises
    ------
    InputError
        If it cannot be done.

    Examples
    --------
    >>> train({"key": "k", "recipe": "no.yaml", "overrides": {}, "run_options": {}, "further": {}})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'no.yaml' does not exist: see the files in hparams/
    """
    settings = load_settings(asked["recipe"], asked["overrides"])
    # Losses are compared to the fourth digit, whatever the training's precision.
    options = {**asked["run_options"], "eval_precision": "fp32"}

    def trained() -> ContestFound:
        found = run_task(partial(ContestTask, **asked["further"]), settings, options, asked["recipe"])
        known = ContestFound.__dataclass_fields__
        told = {name: value for name, value in found.items() if name in known}
        return ContestFound(asked["key"], "ok", **told)

    try:
        return or_diverged(trained, ContestFound, asked["key"])
    except Stopped:
        note_peak(settings.folder, options["device"])
        raise


if __name__ == "__main__":
    answer(train)
