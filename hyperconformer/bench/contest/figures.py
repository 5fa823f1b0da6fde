"""The figures of ``bench contest``: errors against length, validation loss against epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyperconformer.bench.contest.scores import score_joined
from hyperconformer.bench.contest.tables import Found, lengths_of
from hyperconformer.bench.figures import line_style
from hyperconformer.bench.trainings.figures import draw_intervals, draw_panels, name_logarithmic
from hyperconformer.bench.trainings.planned import Planned, ended_well

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_lengths(planned: Sequence[Planned], found: Found, folder: Path, name: str) -> list[Path]:
    """Draw WER and CER against the length of joined recordings, with intervals.

    Parameters
    ----------
    planned : sequence of Planned
        Of one part.
    found : mapping of str to ContestFound
        By the run's key.
    folder : Path
    name : str
        Of the files.

    Returns
    -------
    list of Path

    Examples
    --------
    >>> [path.name for path in draw_lengths([], {}, getfixture("tmp_path"), "mini_length")]
    ['mini_length.svg', 'mini_length.png']
    """
    runs = ended_well(planned, found)
    lengths = lengths_of(runs)

    def draw(panels: "Sequence[Axes]") -> None:
        for panel, rate in zip(panels, ("WER", "CER"), strict=True):
            scores = {length: score_joined(runs, rate, length, "") for length in lengths}
            for index, system in enumerate(runs):
                points = [(length, of[system].mean) for length, of in scores.items() if system in of]
                at = [float(length) * 1.02 ** (index - len(runs) / 2) for length, _ in points]
                draw_intervals(panel, at, [mean for _, mean in points], system, index)
            name_logarithmic(panel, [float(length) for length in lengths], lengths)
            panel.set(xlabel="joined to at most / s", ylabel=f"{rate} / %")

    return draw_panels(folder, name, 2, draw)


def draw_epochs(planned: Sequence[Planned], found: Found, folder: Path, name: str) -> list[Path]:
    """Draw the mean validation loss after every epoch, and its range over the seeds.

    Parameters
    ----------
    planned, found, folder, name
        As of :func:`draw_lengths`.

    Returns
    -------
    list of Path

    Examples
    --------
    >>> [path.name for path in draw_epochs([], {}, getfixture("tmp_path"), "mini_epochs")]
    ['mini_epochs.svg', 'mini_epochs.png']
    """
    runs = ended_well(planned, found)

    def draw(panels: "Sequence[Axes]") -> None:
        for index, (system, own) in enumerate(runs.items()):
            losses = np.array([one.epochs for one in own])
            epochs, style = range(1, losses.shape[1] + 1), line_style(index)
            panels[0].plot(epochs, losses.mean(axis=0), label=system, **style)
            panels[0].fill_between(
                epochs, losses.min(axis=0), losses.max(axis=0), color=style["color"], alpha=0.2
            )
        panels[0].set(xlabel="epoch", ylabel="validation loss / nats an utterance; range: seeds")

    return draw_panels(folder, name, 1, draw)
