"""The paper's two figures: time against length, and memory against length."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hyperconformer.bench.cases import Part
from hyperconformer.bench.report import MEBIBYTE, Measured, Row
from hyperconformer.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

# Okabe and Ito's colours, told apart by (nearly) everyone; markers and lines differ as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*<>"
LINES = ("-", "--", ":", "-.")

TITLES: dict[Part, str] = {
    "forward": "forward",
    "backward": "forward and backward",
    "step": "training step",
    "search": "search",
}


class Figure(NamedTuple):
    """One figure: what stands on its vertical axis.

    Attributes
    ----------
    name : str
        Of the file.
    label : str
        Of the axis; ``{item}`` is what a batch is made of.
    value : callable
        Measured -> the height for a whole batch, or None.

    Examples
    --------
    >>> FIGURES[0].value(Measured((2.0, 3.0, 4.0)))
    3.0
    """

    name: str
    label: str
    value: Callable[[Measured], float | None]


FIGURES = (
    Figure("time", "median time per {item} / ms", lambda m: m.median_ms),
    Figure("memory", "peak memory per {item} / MiB", lambda m: m.peak_bytes and m.peak_bytes / MEBIBYTE),
)


def require_matplotlib() -> None:
    """Refuse to begin where the figures could not be drawn in the end.

    Raises
    ------
    InputError
        If matplotlib is not installed.

    Examples
    --------
    >>> require_matplotlib()
    """
    if find_spec("matplotlib") is None:
        raise InputError(
            "--output draws figures, and matplotlib is not installed: pip install 'hyperconformer[bench]'"
        )


def line_style(index: int) -> dict[str, Any]:
    """Tell the lines of a figure apart, in print too.

    Parameters
    ----------
    index : int
        Of the line, from 0.

    Returns
    -------
    dict
        What matplotlib's ``plot`` takes.

    Examples
    --------
    >>> line_style(0)
    {'color': '#0072B2', 'marker': 'o', 'linestyle': '-'}
    """
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index // len(COLOURS) % len(LINES)],
    }


def save_figure(canvas: "Canvas", folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG and PNG.

    Parameters
    ----------
    canvas : matplotlib.figure.Figure
    folder : Path
    name : str

    Returns
    -------
    list of Path

    Examples
    --------
    >>> from matplotlib.figure import Figure as Canvas
    >>> [path.name for path in save_figure(Canvas(), getfixture("tmp_path"), "time")]
    ['time.svg', 'time.png']
    """
    written = [folder / f"{name}.{suffix}" for suffix in ("svg", "png")]
    for path in written:
        canvas.savefig(path, dpi=150)
    return written


def _length(row: Row) -> float:
    return float(row.case.frames if row.case.kind == "text" else row.case.seconds)


def _curves(rows: Sequence[Row], part: Part, figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """Points (seconds, height) of every system; what failed has none."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        name = row.case.system if row.case.mode == "eager" else f"{row.case.system} ({row.case.mode})"
        height = figure.value(row.parts.get(part, Measured()))
        points = curves.setdefault(name, [])
        if height:
            points.append((_length(row), height / row.case.batch_size))
    return {name: sorted(points) for name, points in curves.items()}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw both figures as SVG and PNG.

    Parameters
    ----------
    rows : sequence of Row
        Of one kind, at one or more lengths.
    folder : Path

    Returns
    -------
    list of Path
        The files.

    Examples
    --------
    >>> from hyperconformer.bench.cases import Case
    >>> case = Case("step", "attention", "step", seconds=15.0, batch_size=2)
    >>> [path.name for path in draw([Row(case, {"step": Measured((2.0,), 2**20)})], getfixture("tmp_path"))]
    ['time.svg', 'time.png', 'memory.svg', 'memory.png']
    """
    from matplotlib.figure import Figure as Canvas  # needs no screen, and is not there for every user

    item, unit = ("text", "tokens") if rows[0].case.kind == "text" else ("utterance", "s")
    lengths = sorted({_length(row) for row in rows})
    parts = list(rows[0].parts)
    written = []
    for figure in FIGURES:
        canvas = Canvas(figsize=(5 * len(parts) + 2.5, 4.2), layout="constrained")
        panels = canvas.subplots(1, len(parts), squeeze=False)[0]
        for panel, part in zip(panels, parts, strict=True):
            for index, (name, points) in enumerate(_curves(rows, part, figure).items()):
                heights = [height for _, height in points]
                panel.loglog([at for at, _ in points], heights, label=name, **line_style(index))
            label = figure.label.format(item=item)
            panel.set(title=TITLES[part], xlabel=f"length of {item} / {unit}", ylabel=label)
            panel.set_xticks(lengths, [f"{length:g}" for length in lengths])
            panel.minorticks_off()
            panel.grid(visible=True, which="major", alpha=0.3)
        case = rows[0].case
        canvas.suptitle(f"{case.kind}, {case.precision}, {case.device}")
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
        written += save_figure(canvas, folder, figure.name)
    return written
