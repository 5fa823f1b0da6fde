"""The tables of ``bench contest``: who is better, how errors grow with length, how fast each is."""

from collections.abc import Mapping, Sequence

import numpy as np

from hyperconformer.bench.contest.found import VALID, ContestFound
from hyperconformer.bench.contest.scores import (
    Measure,
    measures_of,
    score_growth,
    score_joined,
    score_systems,
)
from hyperconformer.bench.trainings.intervals import Interval, SystemScore
from hyperconformer.bench.trainings.planned import (
    Planned,
    ended_well,
    how_many,
    of_system,
    systems_of,
    what_failed,
)
from hyperconformer.bench.trainings.tables import Table

SECTION = "## Contest"
Found = Mapping[str, ContestFound]
Runs = Mapping[str, Sequence[ContestFound]]


def cell(interval: Interval | None, scale: float, sign: str = "") -> str:
    """Write a value and its interval.

    Parameters
    ----------
    interval : Interval or None
    scale : float
        100 for percent.
    sign : {"", "+"}
        ``+`` for differences.

    Returns
    -------
    str

    Examples
    --------
    >>> cell(Interval(0.125, -0.1, 0.25), 100, "+"), cell(None, 1)
    ('+12.50 (-10.00 to +25.00)', '-')
    """
    if interval is None:
        return "-"
    value, low, high = (f"{scale * number:{sign}.2f}" for number in interval)
    return f"{value} ({low} to {high})"


def _cells(score: SystemScore | None, scale: float) -> list[str]:
    if score is None:
        return ["-", "-"]
    return [cell(score.mean, scale), cell(score.against, scale, "+")]


def _mean(values: Sequence[float | None], digits: int = 0) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):,.{digits}f}" if known else "-"


def _notes(planned: Sequence[Planned], found: Found) -> list[str]:
    notes = what_failed(planned, found)
    seeds = len({one.number for one in planned})
    return [*notes, *(["one seed: intervals are over recordings alone"] if seeds == 1 else [])]


def main_table(heading: str, planned: Sequence[Planned], found: Found, against: str) -> Table:
    """Lay out what every system reached and cost.

    Parameters
    ----------
    heading : str
    planned : sequence of Planned
        Of one part.
    found : mapping of str to ContestFound
        By the run's key.
    against : str
        The reference system.

    Returns
    -------
    Table

    Examples
    --------
    >>> main_table("### mini", [], {}, "ours").header[:4]
    ['system', 'd_ffn', 'weights', 'seeds']
    """
    runs = ended_well(planned, found)
    measures = measures_of(next(iter(runs.values()))[0]) if runs else []
    scores = {measure.name: score_systems(runs, measure, against) for measure in measures}
    header = ["system", "d_ffn", "weights", "seeds"]
    for measure in measures:
        header += [measure.name, f"- {against}" if measure is measures[0] else f"{measure.name} - {against}"]
    header += ["train s", "audio s / s", "peak MiB"]
    rows = [_row(planned, runs, system, measures, scores) for system in systems_of(planned)]
    return Table(heading, header, rows, _notes(planned, found))


def _row(
    planned: Sequence[Planned],
    runs: Runs,
    system: str,
    measures: Sequence[Measure],
    scores: Mapping[str, Mapping[str, SystemScore]],
) -> list[str]:
    own, ended = of_system(planned, system), runs.get(system, [])
    row = [
        system,
        "-" if own[0].unfit else str(own[0].run.decided["d_ffn"]),
        f"{ended[0].parameters:,}" if ended else "-",
        how_many(own, len(ended)),
    ]
    for measure in measures:
        row += _cells(scores[measure.name].get(system), measure.scale)
    return [
        *row,
        _mean([one.train_seconds for one in ended]),
        _mean([one.audio_rate for one in ended]),
        _mean([one.peak_mib for one in ended]),
    ]


def lengths_of(runs: Runs) -> list[str]:
    """Name the lengths of joined recordings.

    Parameters
    ----------
    runs : mapping of str to sequence of ContestFound

    Returns
    -------
    list of str

    Examples
    --------
    >>> lengths_of({})
    []
    """
    first = next(iter(runs.values()), [])
    return list(first[0].joined) if first else []


def joined_table(heading: str, planned: Sequence[Planned], found: Found, against: str) -> Table:
    """Lay out error rates against the length of what is heard in one pass.

    Parameters
    ----------
    heading, planned, found, against
        As of :func:`main_table`.

    Returns
    -------
    Table

    Examples
    --------
    >>> joined_table("### mini", [], {}, "ours").rows
    []
    """
    runs = ended_well(planned, found)
    lengths = lengths_of(runs)
    header = ["system", "rate", *(f"joined to {length} s" for length in lengths)]
    if len(lengths) > 1:
        header += [f"{lengths[0]} to {lengths[-1]} s", f"that - {against}"]
    rows = []
    for rate in ("WER %", "CER %") if runs else ():
        short = rate.split()[0]
        scores = {length: score_joined(runs, short, length, against) for length in lengths}
        growth = score_growth(runs, short, (lengths[0], lengths[-1]), against) if len(lengths) > 1 else {}
        for system in runs:
            means = [scores[length].get(system) for length in lengths]
            row = [system, rate, *(cell(score.mean, 100) if score else "-" for score in means)]
            grown = growth.get(system)
            if len(lengths) > 1:
                means_grown = (grown.mean, grown.against) if grown else (None, None)
                row += [cell(interval, 100, "+") for interval in means_grown]
            rows.append(row)
    failed = {
        f"{system}, joined to {length} s: {one.joined[length].note}"
        for system, own in runs.items()
        for one in own
        for length in lengths
        if one.joined[length].note
    }
    return Table(heading, header, rows, sorted(failed))


def speed_table(heading: str, planned: Sequence[Planned], found: Found, against: str) -> Table:
    """Lay out how many seconds of audio go through encoder and training in a second.

    Parameters
    ----------
    heading, planned, found, against
        As of :func:`main_table`.

    Returns
    -------
    Table

    Examples
    --------
    >>> speed_table("### mini", [], {}, "ours").header
    ['system', 'training']
    """
    runs = ended_well(planned, found)
    lengths = list(
        dict.fromkeys(length for own in runs.values() for one in own for length in one.encoder_rates)
    )
    header = ["system", "training", *(f"encoder, {length} s" for length in lengths)]
    rows = [
        [
            system,
            _mean([one.audio_rate for one in own]),
            *(_mean([one.encoder_rates.get(length) for one in own]) for length in lengths),
        ]
        for system, own in runs.items()
    ]
    return Table(
        heading,
        header,
        rows,
        ["seconds of audio in a second; encoders after all trainings, one recording at a time, fp32"],
    )


def log_table(heading: str, planned: Sequence[Planned], found: Found, against: str) -> Table:
    """Lay out the course of every training: validation loss after each pass, and of the averaged weights.

    Parameters
    ----------
    heading, planned, found, against
        As of :func:`main_table`.

    Returns
    -------
    Table

    Examples
    --------
    >>> log_table("### mini", [], {}, "ours").header
    ['system', 'seed', 'steps', 'train s', 'averaged']
    """
    ended = [(one, found[one.run.key]) for one in planned if found[one.run.key].status == "ok"]
    passes = max((len(own.epochs) for _, own in ended), default=0)
    header = ["system", "seed", "steps", "train s", *(f"pass {number + 1}" for number in range(passes))]
    rows = [
        [
            one.system,
            str(one.number),
            f"{own.steps:,}",
            f"{own.train_seconds:.0f}",
            *(f"{loss:.2f}" for loss in own.epochs),
            *["-"] * (passes - len(own.epochs)),
            f"{own.splits[VALID].mean_loss:.2f}",
        ]
        for one, own in ended
    ]
    return Table(
        heading,
        [*header, "averaged"],
        rows,
        ["valid loss after every pass, and of the weights that are tested"],
    )
