"""Figures of what trainings found."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperconformer.bench.figures import save_figure

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
