"""The figures of ``bench text``, a function for each part."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyperconformer.bench.figures import line_style
from hyperconformer.bench.text.scores import score_systems
from hyperconformer.bench.text.tables import Found
from hyperconformer.bench.text.trials import trial_scores
from hyperconformer.bench.text.tuning import expected_best
from hyperconformer.bench.trainings.figures import draw_intervals, draw_panels, name_logarithmic
from hyperconformer.bench.trainings.intervals import SystemScore
from hyperconformer.bench.trainings.planned import Planned, by_row, ended_well, systems_of
from hyperconformer.data.text_tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _first_scores(planned: Sequence[Planned], found: Found) -> dict[str, SystemScore]:
    """Scores on the first test of the runs that ended well."""
    runs = ended_well(planned, found)
    if not runs:
        return {}
    first = next(iter(runs))
    return score_systems(runs, runs[first][0].tests[0], first)


def draw_accuracy(planned: Sequence[Planned], found: Found, folder: Path) -> list[Path]:
    """Draw every system's mean accuracy with its interval, and its runs as dots.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to TextFound
        By the run's key.
    folder : Path

    Returns
    -------
    list of Path

    Examples
    --------
    >>> [path.name for path in draw_accuracy([], {}, getfixture("tmp_path"))]
    ['accuracy.svg', 'accuracy.png']
    """
    scores = _first_scores(planned, found)

    def draw(panels: "Sequence[Axes]") -> None:
        for row, score in enumerate(scores.values()):
            value, low, high = (100 * number for number in score.mean)
            colour = line_style(row)["color"]
            panels[0].errorbar(
                value, row, xerr=[[value - low], [high - value]], fmt="s", color=colour, capsize=4
            )
            dots = [100 * accuracy for accuracy in score.values]
            panels[0].plot(dots, [row + 0.2] * len(dots), ".", color=colour)
        panels[0].set_yticks(range(len(scores)), list(scores))
        panels[0].invert_yaxis()
        panels[0].set(xlabel="accuracy / %, 95 % interval; dots: seeds")

    return draw_panels(folder, "accuracy", 1, draw)


def draw_data(planned: Sequence[Planned], found: Found, folder: Path) -> list[Path]:
    """Draw mean accuracy, with its interval, against the share of the training texts.

    Parameters
    ----------
    planned, found, folder
        As of :func:`draw_accuracy`.

    Returns
    -------
    list of Path

    Examples
    --------
    >>> [path.name for path in draw_data([], {}, getfixture("tmp_path"))]
    ['data.svg', 'data.png']
    """
    scores = {float(share): _first_scores(some, found) for share, some in by_row(planned).items()}
    systems = systems_of(planned)

    def draw(panels: "Sequence[Axes]") -> None:
        for index, system in enumerate(systems):
            points = [(share, of[system].mean) for share, of in sorted(scores.items()) if system in of]
            shares, means = [share for share, _ in points], [mean for _, mean in points]
            draw_intervals(panels[0], shares, means, system, index)
        name_logarithmic(panels[0], list(scores), [f"{share:g}" for share in scores])
        panels[0].set(xlabel="share of the training texts / %", ylabel="accuracy / %")

    return draw_panels(folder, "data", 1, draw)


def draw_tuning(planned: Sequence[Planned], found: Found, folder: Path) -> list[Path]:
    """Draw the expected best validation accuracy against the number of trials.

    Parameters
    ----------
    planned, found, folder
        As of :func:`draw_accuracy`.

    Returns
    -------
    list of Path

    Examples
    --------
    >>> [path.name for path in draw_tuning([], {}, getfixture("tmp_path"))]
    ['tuning.svg', 'tuning.png']
    """

    def draw(panels: "Sequence[Axes]") -> None:
        for index, (system, scores) in enumerate(trial_scores(planned, found).items()):
            heights = [100 * best for best in expected_best(scores)]
            panels[0].plot(range(1, len(heights) + 1), heights, label=system, **line_style(index))
        panels[0].set(xlabel="random trials", ylabel="expected best validation accuracy / %")

    return draw_panels(folder, "tuning", 1, draw)


def draw_tasks(planned: Sequence[Planned], found: Found, folder: Path) -> list[Path]:
    """Draw mean accuracy on made tasks against the length, and chance.

    Parameters
    ----------
    planned, found, folder
        As of :func:`draw_accuracy`.

    Returns
    -------
    list of Path

    Examples
    --------
    >>> [path.name for path in draw_tasks([], {}, getfixture("tmp_path"))]
    ['tasks.svg', 'tasks.png']
    """
    tasks = by_row(planned)
    systems = systems_of(planned)

    def draw(panels: "Sequence[Axes]") -> None:
        for panel, (task, some) in zip(panels, tasks.items(), strict=False):
            for system, runs in ended_well(some, found).items():
                tests = runs[0].tests
                heights = [100 * float(np.mean([one.accuracy[test] for one in runs])) for test in tests]
                names = [test.removeprefix("length_") for test in tests]
                panel.plot(names, heights, label=system, **line_style(systems.index(system)))
            panel.axhline(100 * TASKS[task].chance, color="grey", linestyle=":")
            panel.set(title=task, xlabel="length beside training's", ylabel="accuracy / %", ylim=(0, 102))

    return draw_panels(folder, "tasks", max(1, len(tasks)), draw)
