"""What several runs of several systems say together, with intervals over recordings and seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hyperconformer.bench.contest.found import GREEDY, VALID, ContestFound, Judged
from hyperconformer.bench.trainings.intervals import Interval, SystemScore, interval_of
from hyperconformer.significance import Floats, drawn_rates

Runs = Mapping[str, Sequence[Judged]]


@dataclass(frozen=True)
class Measure:
    """A rate that systems are compared by; lower is better.

    Attributes
    ----------
    name : str
    split : str
    errors, units : callable
        A test to what it has of each, recording by recording: the rate is their sums' ratio.
    scale : float
        What a rate is shown as a multiple of.

    Examples
    --------
    >>> measure = rate_measure("WER", "test", "greedy")
    >>> measure.name, measure.errors(Judged(word_edits={"greedy": [1, 2]}))
    ('test greedy WER %', [1, 2])
    """

    name: str
    split: str
    errors: Callable[[Judged], Sequence[float]]
    units: Callable[[Judged], Sequence[float]]
    scale: float = 100.0


LOSS = Measure(
    "valid loss", VALID, lambda tested: tested.loss, lambda tested: [1.0] * len(tested.loss), scale=1.0
)


def rate_measure(rate: str, split: str, search: str) -> Measure:
    """Make the measure of an error rate.

    Parameters
    ----------
    rate : {"WER", "CER"}
    split, search : str

    Returns
    -------
    Measure

    Examples
    --------
    >>> rate_measure("CER", "test", "greedy").units(Judged(characters=[9]))
    [9]
    """
    name = f"{split} {search} {rate} %"
    if rate == "WER":
        return Measure(name, split, lambda tested: tested.word_edits[search], lambda tested: tested.words)
    return Measure(
        name, split, lambda tested: tested.character_edits[search], lambda tested: tested.characters
    )


def measures_of(found: ContestFound) -> list[Measure]:
    """What a training can be judged by: its validation loss, and the errors of every test by every search.

    Parameters
    ----------
    found : ContestFound

    Returns
    -------
    list of Measure

    Examples
    --------
    >>> splits = {"valid": Judged(), "test": Judged(word_edits={"greedy": [], "joint": []})}
    >>> [measure.name for measure in measures_of(ContestFound("k", "ok", splits=splits))]
    ['valid loss', 'test greedy CER %', 'test greedy WER %', 'test joint WER %']
    """
    measures = [LOSS]
    for split in found.tests:
        measures.append(rate_measure("CER", split, GREEDY))
        measures += [rate_measure("WER", split, search) for search in found.splits[split].word_edits]
    return measures


def score_systems(
    runs: Mapping[str, Sequence[ContestFound]], measure: Measure, against: str
) -> dict[str, SystemScore]:
    """Compare systems by a rate.

    Each of 10,000 draws takes recordings with replacement, the same for all runs of all systems, and runs of
    each system with replacement, as :mod:`hyperconformer.significance` does.

    Parameters
    ----------
    runs : mapping of str to sequence of ContestFound
        Of each system those that ended well, at least one.
    measure : Measure
    against : str
        The reference system.

    Returns
    -------
    dict of str to SystemScore
        By system; ``against`` is the difference to the reference, above zero where that is better. Systems
        that were not tested on what the first was tested on are left out.

    Examples
    --------
    >>> def found(*losses):
    ...     return [ContestFound("k", "ok", splits={"valid": Judged("same", loss=list(losses))})]
    >>> scores = score_systems({"ours": found(1.0, 2.0), "other": found(2.0, 3.0)}, LOSS, "ours")
    >>> scores["other"].against, scores["ours"].mean.value
    (Interval(value=1.0, low=1.0, high=1.0), 1.5)
    """
    tests = {system: [one.splits[measure.split] for one in own] for system, own in runs.items()}
    return _score(tests, measure, against, _errors)


def _score(
    tests: Runs, measure: Measure, against: str, errors_of: Callable[[Sequence[Judged], Measure], Floats]
) -> dict[str, SystemScore]:
    """Compare those who heard everything, and the very same as the first of them."""
    whole = {system: own for system, own in tests.items() if not any(one.note for one in own)}
    first = next((own[0] for own in whole.values()), None)
    if first is None:
        return {}
    heard = first.recordings
    errors = {
        system: errors_of(own, measure)
        for system, own in whole.items()
        if all(one.recordings == heard for one in own)
    }
    units = np.array([measure.units(first)], dtype=float)
    drawn = dict(zip(errors, drawn_rates(list(errors.values()), units), strict=True))
    values = {system: rows.sum(axis=1) / units.sum() for system, rows in errors.items()}
    means = {system: float(own.mean()) for system, own in values.items()}
    scores = {}
    for system, own in values.items():
        ahead = None
        if against in drawn and system != against:
            ahead = interval_of(means[system] - means[against], drawn[system] - drawn[against])
        scores[system] = SystemScore(tuple(own.tolist()), interval_of(means[system], drawn[system]), ahead)
    return scores


def _errors(own: Sequence[Judged], measure: Measure) -> Floats:
    """(runs, recordings)."""
    return np.array([measure.errors(one) for one in own], dtype=float)


def _more_errors(own: Sequence[Judged], measure: Measure) -> Floats:
    """Of all runs at one length and then all at another, what the other has more: (runs, recordings)."""
    short, long = np.split(_errors(own, measure), 2)
    more: Floats = long - short
    return more


def score_joined(
    runs: Mapping[str, Sequence[ContestFound]], rate: str, length: str, against: str
) -> dict[str, SystemScore]:
    """Compare systems by an error rate of joined recordings.

    Parameters
    ----------
    runs, against
        As of :func:`score_systems`.
    rate : {"WER", "CER"}
    length : str
        Greatest seconds of a recording.

    Returns
    -------
    dict of str to SystemScore
        Without systems that could not hear all recordings of that length. Utterances are drawn, as of tests.

    Examples
    --------
    >>> score_joined({}, "WER", "15", "ours")
    {}
    """
    tests = {system: [one.joined[length] for one in own] for system, own in runs.items()}
    return _score(tests, rate_measure(rate, "joined", GREEDY), against, _errors)


def score_growth(
    runs: Mapping[str, Sequence[ContestFound]], rate: str, lengths: tuple[str, str], against: str
) -> dict[str, SystemScore]:
    """Compare by how much an error rate grows from short recordings to long ones of the same utterances.

    Utterances are drawn, each with its errors in the short recording and in the long one.

    Parameters
    ----------
    runs, rate, against
        As of :func:`score_joined`.
    lengths : (str, str)
        The shorter, and the longer.

    Returns
    -------
    dict of str to SystemScore
        Without systems that could not hear all recordings of both lengths.

    Examples
    --------
    >>> score_growth({}, "WER", ("15", "120"), "ours")
    {}
    """
    tests = {
        system: [one.joined[length] for length in lengths for one in own] for system, own in runs.items()
    }
    return _score(tests, rate_measure(rate, "joined", GREEDY), against, _more_errors)


def clearly(interval: Interval | None, against: str) -> str:
    """Say of a difference to the reference what its interval allows.

    Parameters
    ----------
    interval : Interval or None
        A system's rate minus the reference's.
    against : str
        The reference.

    Returns
    -------
    str

    Examples
    --------
    >>> clearly(Interval(1.0, 0.5, 1.5), "ours"), clearly(Interval(1.0, -0.5, 1.5), "ours")
    ('ours better', 'no difference shown')
    """
    if interval is None:
        return "not compared"
    if interval.low > 0:
        return f"{against} better"
    return f"{against} worse" if interval.high < 0 else "no difference shown"
