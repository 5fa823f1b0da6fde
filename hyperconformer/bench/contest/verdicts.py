"""What a contest of systems was held to show, and whether it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hyperconformer.bench.contest.found import ContestFound
from hyperconformer.bench.contest.scores import (
    clearly,
    measures_of,
    score_growth,
    score_joined,
    score_systems,
)
from hyperconformer.bench.contest.tables import Found, Runs, cell, lengths_of
from hyperconformer.bench.trainings.intervals import Interval
from hyperconformer.bench.trainings.planned import Planned, ended_well
from hyperconformer.bench.trainings.tables import Table

NO_MIXING = "identity"
UNNORMALISED = ("ours-upstream-init", "speechbrain")
CLOSE = 0.03
"""Ratio of two speeds less than this from one: too close to tell on a machine with neighbours."""
READS_NOTHING = 0.95
"""Who gets so many words of short recordings wrong has nothing to lose in long ones."""


class Claim(NamedTuple):
    """That the reference beats a system, or at least is not behind it.

    Attributes
    ----------
    words : str
        How it is said.
    share : float
        Of what mixing gains over none: how far behind the interval may reach.

    Examples
    --------
    >>> claim_about("identity").words, claim_about("attention-lr-0.0005").words
    ('beats', 'is not behind')
    """

    words: str
    share: float

    def holds(self, difference: Interval | None, gain: float) -> str:
        """Say whether the system's score minus the reference's bears the claim, where mixing gains so much.

        Returns
        -------
        {"yes", "no", "open"}
            Open: there are too few runs or recordings to tell.

        Examples
        --------
        >>> [NOT_BEHIND.holds(Interval(0.0, -wide, wide), 10.0) for wide in (4.0, 6.0)]
        ['yes', 'open']
        >>> NOT_BEHIND.holds(Interval(-6.0, -7.0, -5.0), 10.0)
        'no'
        """
        margin = self.share * max(0.0, gain)
        if difference is None:
            return "open"
        if difference.low > -margin:
            return "yes"
        return "no" if difference.high <= -margin else "open"


BEATS, NOT_BEHIND = Claim("beats", 0.0), Claim("is not behind", 0.5)
CLAIMS = {"identity": BEATS, "speechbrain": BEATS, "ours-upstream-init": BEATS}
"""About systems by their name; of any other: that the reference is not behind."""


def claim_about(system: str) -> Claim:
    """What is claimed about a system; one with another learning rate (``NAME-lr-...``) is held to its name's.

    Parameters
    ----------
    system : str

    Returns
    -------
    Claim

    Examples
    --------
    >>> claim_about("speechbrain-lr-0.0005") == BEATS, claim_about("mine") == NOT_BEHIND
    (True, True)
    """
    return CLAIMS.get(_plain(system), NOT_BEHIND)


def _plain(system: str) -> str:
    return system.partition("-lr-")[0]


def _better(runs: Runs, against: str) -> list[list[str]]:
    """Claims about every measure."""
    rows = []
    for measure in measures_of(runs[against][0]):
        scores = score_systems(runs, measure, against)
        means = {system: score.mean.value for system, score in scores.items()}
        gain = means.get(NO_MIXING, means[against]) - means[against]
        for system in runs:
            if system != against:
                claim, score = claim_about(system), scores.get(system)
                difference = score.against if score else None
                rows.append(
                    [
                        f"{against} {claim.words} {system}: {measure.name}",
                        cell(difference, measure.scale, "+"),
                        clearly(difference, against),
                        claim.holds(difference, gain),
                    ]
                )
    return rows


def _longer(runs: Runs, against: str) -> list[list[str]]:
    """That errors grow less with length than they do without length normalisation."""
    lengths, rows = lengths_of(runs), []
    if len(lengths) < 2:
        return []
    short = score_joined(runs, "WER", lengths[0], against)
    for rate in ("WER", "CER"):
        grown = score_growth(runs, rate, (lengths[0], lengths[-1]), against)
        for system in runs:
            if _plain(system) not in UNNORMALISED or system == against:
                continue
            if system in short and short[system].mean.value > READS_NOTHING:
                continue
            difference = grown[system].against if system in grown else None
            rows.append(
                [
                    f"from {lengths[0]} to {lengths[-1]} s {against} loses less {rate} than {system}",
                    cell(difference, 100, "+"),
                    clearly(difference, against),
                    BEATS.holds(difference, 0.0),
                ]
            )
    return rows


def _faster(runs: Runs, against: str) -> list[list[str]]:
    """That no mixing system encodes faster, at any length."""

    def rate(own: Sequence[ContestFound], length: str) -> float:
        return float(np.mean([one.encoder_rates.get(length, 0.0) for one in own]))

    rows = []
    for length in dict.fromkeys(length for own in runs.values() for length in own[0].encoder_rates):
        # Other forms of the reference (its name and more) are no rivals.
        others = {
            system: rate(own, length)
            for system, own in runs.items()
            if system != NO_MIXING and not f"{system}-".startswith(f"{against}-")
        }
        best = max(others, key=lambda system: others[system], default="")
        # What hears no recording of that length has no rate, and is no rival.
        if others.get(best):
            times = rate(runs[against], length) / others[best]
            claim = f"{against} is the fastest mixing system at {length} s (next: {best})"
            holds = "open" if abs(times - 1) < CLOSE else "yes" if times > 1 else "no"
            rows.append([claim, f"x {times:.2f}", "-", holds])
    return rows


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
