"""What a contest of systems was held to show, and whether it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hyperconformer.bench.contest.found import ContestFound
from hyperconformer.bench.contest.scores import clearly, measures_of, score_growth, score_systems
from hyperconformer.bench.contest.tables import Found, Runs, cell, lengths_of
from hyperconformer.bench.trainings.intervals import Interval
from hyperconformer.bench.trainings.planned import Planned, ended_well
from hyperconformer.bench.trainings.tables import Table

NO_MIXING = "identity"
UNNORMALISED = ("ours-upstream-init", "speechbrain")


class Claim(NamedTuple):
    """That the reference beats a system, or at least is not behind it.

    Attributes
    ----------
    system : str
    words : str
        How it is said.
    margin : float
        How far behind, as a share of the reference's score, the interval may reach.

    Examples
    --------
    >>> CLAIMS[0].system, CLAIMS[0].words
    ('identity', 'beats')
    """

    system: str
    words: str
    margin: float

    def holds(self, difference: Interval | None, score: float) -> str:
        """Say whether the system's score minus the reference's, whose score is given, bears the claim.

        Returns
        -------
        {"yes", "no", "open"}
            Open: there are too few runs or recordings to tell.

        Examples
        --------
        >>> near = Claim("attention", "is not behind", 0.05)
        >>> [near.holds(Interval(0.0, -wide, wide), 100.0) for wide in (4.0, 6.0)]
        ['yes', 'open']
        >>> near.holds(Interval(-6.0, -7.0, -5.0), 100.0)
        'no'
        """
        if difference is None:
            return "open"
        if difference.low > -self.margin * score:
            return "yes"
        return "no" if difference.high <= -self.margin * score else "open"


MARGIN = 0.05
"""Of the reference's score: who is less behind counts as not behind."""
CLAIMS = (
    Claim("identity", "beats", 0.0),
    Claim("speechbrain", "beats", 0.0),
    Claim("ours-upstream-init", "beats", 0.0),
    Claim("summary", "is not behind", MARGIN),
    Claim("attention", "is not behind", MARGIN),
)


def _better(runs: Runs, against: str) -> list[list[str]]:
    """Claims about every measure."""
    rows = []
    for measure in measures_of(runs[against][0]):
        scores = score_systems(runs, measure, against)
        for claim in CLAIMS:
            if claim.system in scores and claim.system != against:
                difference = scores[claim.system].against
                rows.append(
                    [
                        f"{against} {claim.words} {claim.system}: {measure.name}",
                        cell(difference, measure.scale, "+"),
                        clearly(difference),
                        claim.holds(difference, scores[against].mean.value),
                    ]
                )
    return rows


def _longer(runs: Runs, against: str) -> list[list[str]]:
    """That errors grow less with length than they do without length normalisation."""
    lengths, rows = lengths_of(runs), []
    if len(lengths) < 2:
        return []
    for rate in ("WER", "CER"):
        scores = score_growth(runs, rate, (lengths[0], lengths[-1]), against)
        for system in UNNORMALISED:
            if system in scores and system != against:
                difference: Interval | None = scores[system].against
                shown = clearly(difference)
                claim = f"from {lengths[0]} to {lengths[-1]} s {against} loses less {rate} than {system}"
                rows.append([claim, cell(difference, 100, "+"), shown, _yes(shown == "reference better")])
    return rows


def _faster(runs: Runs, against: str) -> list[list[str]]:
    """That no mixing system encodes faster, at any length."""

    def rate(own: Sequence[ContestFound], length: str) -> float:
        return float(np.mean([one.encoder_rates.get(length, 0.0) for one in own]))

    rows = []
    for length in dict.fromkeys(length for own in runs.values() for length in own[0].encoder_rates):
        others = {
            system: rate(own, length) for system, own in runs.items() if system not in (against, NO_MIXING)
        }
        best = max(others, key=lambda system: others[system], default="")
        # What hears no recording of that length has no rate, and is no rival.
        if others.get(best):
            times = rate(runs[against], length) / others[best]
            claim = f"{against} is the fastest mixing system at {length} s (next: {best})"
            rows.append([claim, f"x {times:.2f}", "-", _yes(times > 1)])
    return rows


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


PARTS: Sequence[Callable[[Runs, str], list[list[str]]]] = (_better, _longer, _faster)


def verdict_table(heading: str, planned: Sequence[Planned], found: Found, against: str) -> Table:
    """Lay out every claim, what was found, and whether that bears it.

    Parameters
    ----------
    heading : str
    planned : sequence of Planned
        Of one part.
    found : mapping of str to ContestFound
        By the run's key.
    against : str
        The reference system: who the claims are about.

    Returns
    -------
    Table

    Examples
    --------
    >>> verdict_table("### mini", [], {}, "ours").header
    ['claim', 'difference', 'by its interval', 'holds']
    """
    runs: Mapping[str, Sequence[ContestFound]] = ended_well(planned, found)
    rows = [row for part in PARTS for row in part(runs, against)] if against in runs else []
    return Table(heading, ["claim", "difference", "by its interval", "holds"], rows, [])
