"""From outcomes to rows: medians over the rounds, and ratios to a reference system."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hyperconformer.bench.cases import Case, Outcome, Part
from hyperconformer.bench.decoding import Decoding, Found
from hyperconformer.bench.transcribing import ONE_BY_ONE, Heard, Summary, summary

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Measured:
    """One part of a row over all its rounds.

    Attributes
    ----------
    times_ms : tuple of float
        Every timed run.
    peak_bytes, saved_bytes : int or None
        Medians over the rounds.
    status, note : str
        As of an outcome: what went wrong.
    speeds : tuple of float
        Of ``train``: audio seconds per second of every round.
    fastest_speed : float or None
        Of ``train``: the same, where every step counts as it went in its fastest round.
    waiting : float or None
        Of ``train``: share of the time that went by waiting for data, the median over the rounds.
    found : Found or None
        Of ``decode``.
    heard : Summary or None
        Of ``transcribe``.

    Examples
    --------
    >>> Measured((3.0, 1.0, 2.0)).fastest_ms, Measured((3.0, 1.0, 2.0)).median_ms
    (1.0, 2.0)
    """

    times_ms: tuple[float, ...] = ()
    peak_bytes: int | None = None
    saved_bytes: int | None = None
    status: str = "ok"
    note: str = ""
    speeds: tuple[float, ...] = ()
    fastest_speed: float | None = None
    waiting: float | None = None
    found: Found | None = None
    heard: Summary | None = None

    @property
    def fastest_ms(self) -> float | None:
        """The quickest run."""
        return min(self.times_ms) if self.times_ms else None

    @property
    def median_ms(self) -> float | None:
        """The run in the middle."""
        return statistics.median(self.times_ms) if self.times_ms else None


@dataclass(frozen=True)
class Row:
    """One system at one length.

    Attributes
    ----------
    case : Case
        Any of the row's cases; its part is of no meaning.
    parts : mapping of str to Measured
    parameters : int or None
    ratios : mapping of str to float
        Median times, speeds, peaks and saved bytes as multiples of the reference system's.

    Examples
    --------
    >>> case = Case("step", "attention", "step", seconds=15.0, batch_size=2)
    >>> Row(case, {"step": Measured((2000.0,))}).audio_seconds_per_second
    15.0
    """

    case: Case
    parts: Mapping[Part, Measured]
    parameters: int | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)

    @property
    def first(self) -> Measured:
        """Its forward pass, or the only part that it has."""
        return next(iter(self.parts.values()))

    @property
    def saved_bytes(self) -> int | None:
        """What a forward pass kept, the median over the parts."""
        return _median([measured.saved_bytes for measured in self.parts.values()])

    @property
    def audio_seconds_per_second(self) -> float | None:
        """Speed of the first part by its median time; of ``train`` the median of the rounds."""
        if self.first.speeds:
            return statistics.median(self.first.speeds)
        median = self.first.median_ms
        return None if median is None else 1000 * self.case.batch_size * self.case.seconds / median

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        case = asdict(self.case)
        del case["part"]
        parts = {
            part: {**asdict(m), "fastest_ms": m.fastest_ms, "median_ms": m.median_ms}
            for part, m in self.parts.items()
        }
        return {
            **case,
            "parameters": self.parameters,
            "audio_seconds_per_second": self.audio_seconds_per_second,
            "parts": parts,
            "ratios": dict(self.ratios),
        }


def _median(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known)) if known else None


def _measured(outcomes: Sequence[Outcome], truth: Heard | None) -> Measured:
    wrong = next((outcome for outcome in outcomes if outcome.status != "ok"), None)
    if wrong is not None:
        return Measured(status=wrong.status, note=wrong.note)
    rounds = [(o.audio_seconds, o.times_ms) for o in outcomes if o.audio_seconds is not None]
    fastest = sum(map(min, zip(*(times for _, times in rounds), strict=True)))
    heard = [o.heard for o in outcomes if o.heard is not None]
    waiting = [o.waited_ms / sum(o.times_ms) for o in outcomes if o.waited_ms is not None]
    return Measured(
        tuple(time for outcome in outcomes for time in outcome.times_ms),
        _median([outcome.peak_bytes for outcome in outcomes]),
        _median([outcome.saved_bytes for outcome in outcomes]),
        speeds=tuple(1000 * audio / sum(times) for audio, times in rounds),
        fastest_speed=1000 * rounds[0][0] / fastest if rounds else None,
        waiting=statistics.median(waiting) if waiting else None,
        found=outcomes[0].found,
        heard=summary(heard, truth) if heard else None,
    )


def _quantities(row: Row) -> dict[str, float | None]:
    """What is compared with the reference system."""
    quantities: dict[str, float | None] = {}
    for part, measured in row.parts.items():
        quantities[f"{part} time"] = measured.median_ms
        quantities[f"{part} peak"] = measured.peak_bytes
        if measured.speeds:
            quantities["speed"] = statistics.median(measured.speeds)
            quantities["fastest speed"] = measured.fastest_speed
        if part == "search":
            quantities["fastest search time"] = measured.fastest_ms
        if measured.heard is not None:
            quantities[f"{part} speed"] = row.audio_seconds_per_second
            quantities[f"{part} process"] = measured.heard.process_bytes
    quantities["saved"] = row.saved_bytes
    return quantities


def _compared(row: Row, reference: Row | None) -> Row:
    if reference is None:
        return row
    ours, theirs = _quantities(row), _quantities(reference)
    ratios = {}
    for name, value in ours.items():
        other = theirs.get(name)
        if value is not None and other:
            ratios[name] = value / other
    return replace(row, ratios=ratios)


# System, seconds, mode and what is decoded.
_Key = tuple[str, float, str, Decoding | None]


def rows_of(outcomes: Sequence[Outcome], against: str) -> list[Row]:
    """Join the outcomes of all rounds and parts, and compare with the reference system.

    Parameters
    ----------
    outcomes : sequence of Outcome
    against : str
        The reference system: compared at the same length in the same mode, or eager where it only is. A long
        recording is compared with the first one of the same system instead.

    Returns
    -------
    list of Row
        In the order of the outcomes.

    Examples
    --------
    >>> case = Case("step", "attention", "step", seconds=15.0, batch_size=2)
    >>> half = Outcome(replace(case, system="summary"), "ok", times_ms=(5.0,))
    >>> rows_of([Outcome(case, "ok", times_ms=(10.0,)), half], against="attention")[1].ratios
    {'step time': 0.5}
    """
    groups: dict[_Key, dict[Part, list[Outcome]]] = {}
    for outcome in outcomes:
        case = outcome.case
        group = groups.setdefault((case.system, case.seconds, case.mode, case.decoding), {})
        group.setdefault(case.part, []).append(outcome)
    truth = next((o.heard for o in outcomes if o.heard and o.case.system == ONE_BY_ONE), None)
    rows = {}
    for key, parts in groups.items():
        every = [outcome for found in parts.values() for outcome in found]
        parameters = next((o.parameters for o in every if o.parameters is not None), None)
        measured = {part: _measured(found, truth) for part, found in parts.items()}
        rows[key] = Row(every[0].case, measured, parameters)
    return [_compared(row, _reference(key, rows, against)) for key, row in rows.items()]


def _reference(key: _Key, rows: Mapping[_Key, Row], against: str) -> Row | None:
    system, seconds, mode, decoding = key
    if "long" in rows[key].parts:
        return next(row for row in rows.values() if row.case.system == system)
    eager = rows.get((against, seconds, "eager", decoding))
    return rows.get((against, seconds, mode, decoding), eager)
