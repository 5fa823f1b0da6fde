"""What several runs of several systems say together: means, spreads, and intervals of their differences."""

from collections.abc import Mapping, Sequence

import numpy as np

from hyperconformer.bench.text.found import TextFound
from hyperconformer.bench.trainings.intervals import SystemScore, interval_of
from hyperconformer.significance import CHUNK, RESAMPLES, Floats, drawn_rates

_SEED = 1


def score_systems(
    runs: Mapping[str, Sequence[TextFound]], split: str, against: str
) -> dict[str, SystemScore]:
    """Compare systems on a split that all of them were tested on.

    Each of 10,000 draws takes texts with replacement, the same for all runs of all systems, and runs of each
    system with replacement, as :mod:`hyperconformer.significance` does. Made texts are others for every seed:
    there each draw takes seeds, the same for all systems, and then texts of each of these. Drawn accuracies
    are kept between 0 and 1, where the widening of few runs would leave that.

    Parameters
    ----------
    runs : mapping of str to sequence of TextFound
        Of each system those that ended well, at least one, in the order of the seeds.
    split : str
    against : str
        The reference system.

    Returns
    -------
    dict of str to SystemScore
        By system.

    Examples
    --------
    >>> def found(*rows):
    ...     return [TextFound(row, "ok", correct={"test": row}, texts={"test": "t"}) for row in rows]
    >>> scores = score_systems({"a": found("1100", "1110"), "b": found("1111")}, "test", "a")
    >>> scores["a"].mean.value, scores["b"].against.value
    (0.625, 0.375)
    """
    scores: dict[str, SystemScore] = {}
    alike: dict[tuple[str, ...], list[str]] = {}
    for system, found in runs.items():
        texts = [one.texts[split] for one in found]
        alike.setdefault(tuple(texts[: len(texts) if len(set(texts)) > 1 else 1]), []).append(system)
    for texts_of, systems in alike.items():
        wrong = {system: [_wrong(one, split) for one in runs[system]] for system in systems}
        draw = _drawn if len(texts_of) == 1 else drawn_seeds
        drawn = dict(zip(systems, (rates.clip(0, 1) for rates in draw(list(wrong.values()))), strict=True))
        means = {system: float(np.mean([row.mean() for row in rows])) for system, rows in wrong.items()}
        for system in systems:
            accuracies = tuple(1 - float(row.mean()) for row in wrong[system])
            ahead = None
            if against in drawn and system != against:
                ahead = interval_of(means[against] - means[system], drawn[against] - drawn[system])
            mean = interval_of(1 - means[system], 1 - drawn[system])
            scores[system] = SystemScore(accuracies, mean, ahead)
    return {system: scores[system] for system in runs}


def _wrong(found: TextFound, split: str) -> Floats:
    """Mistakes, (texts,)."""
    return 1 - np.array([int(mark) for mark in found.correct[split]], dtype=float)


def _drawn(systems: Sequence[Sequence[Floats]]) -> list[Floats]:
    """Mean rates of every draw of texts that all runs share."""
    return drawn_rates([np.stack(rows) for rows in systems], np.ones((1, len(systems[0][0]))))


def drawn_seeds(systems: Sequence[Sequence[Floats]]) -> list[Floats]:
    """Draw seeds, and texts of each: every system's mean rate of mistakes in every draw.

    A drawn seed's distance from the mean of all is widened by sqrt(n / (n - 1)), as that of runs is in
    :mod:`hyperconformer.significance`.

    Parameters
    ----------
    systems : sequence of sequence of array, shapes (texts,)
        Mistakes of each system with every seed; those of one seed are on the same texts.

    Returns
    -------
    list of array, shapes (10,000,)

    Examples
    --------
    >>> seeds = [np.zeros(50), np.ones(50)]
    >>> [sorted(set(rates.round(3).tolist())) for rates in drawn_seeds([seeds])]
    [[-0.207, 0.5, 1.207]]
    """
    generator = np.random.default_rng(_SEED)
    seeds = len(systems[0])
    means = np.array([[row.mean() for row in rows] for rows in systems])
    middle = means.mean(axis=1, keepdims=True)
    widened = middle + np.sqrt(seeds / max(1, seeds - 1)) * (means - middle)
    total = np.zeros((len(systems), RESAMPLES))
    for _ in range(seeds):
        chosen = generator.integers(seeds, size=RESAMPLES)
        for seed in range(seeds):
            here = np.flatnonzero(chosen == seed)
            rows = np.stack([rows[seed] for rows in systems])
            # In pieces: all draws at once would fill the memory.
            for draws in np.array_split(here, max(1, len(here) // CHUNK)):
                texts = generator.integers(rows.shape[1], size=(len(draws), rows.shape[1]))
                drawn = np.stack([row[texts].mean(axis=1) for row in rows])
                total[:, draws] += widened[:, [seed]] + drawn - means[:, [seed]]
    return list(total / seeds)
