"""Figures of what trainings found."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperconformer.bench.figures import line_style, save_figure
from hyperconformer.bench.trainings.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Sequence[Axes]"], None]


def draw_panels(folder: Path, name: str, panels: int, draw: Draw) -> list[Path]:
    """Draw a figure of panels side by side, with one legend.

    Parameters
    ----------
    folder : Path
    name : str
        Of the files.
    panels : int
    draw : callable
        Fills them.

    Returns
    -------
    list of Path

    Examples
    --------
    >>> paths = draw_panels(getfixture("tmp_path"), "a", 1, lambda panels: panels[0].plot([1, 2], label="b"))
    >>> [path.name for path in paths]
    ['a.svg', 'a.png']
    """
    from matplotlib.figure import Figure as Canvas  # needs no screen, and is not there for every user

    canvas = Canvas(figsize=(4 * panels + 3, 4.2), layout="constrained")
    axes = list(canvas.subplots(1, panels, squeeze=False)[0])
    draw(axes)
    for panel in axes:
        panel.grid(visible=True, which="major", alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    if labels:
        canvas.legend(handles, labels, loc="outside right upper")
    return save_figure(canvas, folder, name)


def draw_intervals(
    panel: "Axes", at: Sequence[float], means: Sequence[Interval], system: str, index: int
) -> None:
    """Draw a system's line of fractions in percent, each with its interval.

    Parameters
    ----------
    panel : Axes
    at : sequence of float
        Where each stands.
    means : sequence of Interval
    system : str
    index : int
        The system's place, for its style.

    Examples
    --------
    >>> means = [Interval(0.5, 0.4, 0.6), Interval(0.7, 0.6, 0.9)]
    >>> def draw(panels):
    ...     draw_intervals(panels[0], [1.0, 2.0], means, "ours", 0)
    >>> len(draw_panels(getfixture("tmp_path"), "a", 1, draw))
    2
    """
    heights = [100 * mean.value for mean in means]
    below = [100 * (mean.value - mean.low) for mean in means]
    above = [100 * (mean.high - mean.value) for mean in means]
    panel.errorbar(at, heights, yerr=[below, above], label=system, capsize=3, **line_style(index))


def name_logarithmic(panel: "Axes", ticks: Sequence[float], names: Sequence[str]) -> None:
    """Let a panel's first axis be logarithmic, with named ticks alone, if there are any.

    Parameters
    ----------
    panel : Axes
    ticks : sequence of float
    names : sequence of str

    Examples
    --------
    >>> def draw(panels):
    ...     name_logarithmic(panels[0], [10, 100], ["10 %", "all"])
    >>> len(draw_panels(getfixture("tmp_path"), "a", 1, draw))
    2
    """
    if ticks:
        panel.set_xscale("log")
        panel.set_xticks(ticks, names)
        panel.minorticks_off()
