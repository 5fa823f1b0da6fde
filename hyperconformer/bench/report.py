"""From outcomes to rows, from rows to a table that a person reads."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hyperconformer.bench.cases import UPSTREAM, Case, Outcome, Part
from hyperconformer.bench.decoding import Decoding, Found

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
    def audio_seconds_per_second(self) -> float | None:
        """Speed of the forward pass or step by its median time; of ``train`` the median of the rounds."""
        measured = next(iter(self.parts.values()))
        if measured.speeds:
            return statistics.median(measured.speeds)
        median = measured.median_ms
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


def _measured(outcomes: Sequence[Outcome]) -> Measured:
    wrong = next((outcome for outcome in outcomes if outcome.status != "ok"), None)
    if wrong is not None:
        return Measured(status=wrong.status, note=wrong.note)
    rounds = [(o.audio_seconds, o.times_ms) for o in outcomes if o.audio_seconds is not None]
    fastest = sum(map(min, zip(*(times for _, times in rounds), strict=True)))
    waiting = [o.waited_ms / sum(o.times_ms) for o in outcomes if o.waited_ms is not None]
    return Measured(
        tuple(time for outcome in outcomes for time in outcome.times_ms),
        _median([outcome.peak_bytes for outcome in outcomes]),
        _median([outcome.saved_bytes for outcome in outcomes]),
        speeds=tuple(1000 * audio / sum(times) for audio, times in rounds),
        fastest_speed=1000 * rounds[0][0] / fastest if rounds else None,
        waiting=statistics.median(waiting) if waiting else None,
        found=outcomes[0].found,
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
    quantities["saved"] = _median([measured.saved_bytes for measured in row.parts.values()])
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


def rows_of(outcomes: Sequence[Outcome], against: str) -> list[Row]:
    """Join the outcomes of all rounds and parts, and compare with the reference system.

    Parameters
    ----------
    outcomes : sequence of Outcome
    against : str
        The reference system: compared at the same length in the same mode, or eager where it only is.

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
    groups: dict[tuple[str, float, str, Decoding | None], dict[Part, list[Outcome]]] = {}
    for outcome in outcomes:
        case = outcome.case
        group = groups.setdefault((case.system, case.seconds, case.mode, case.decoding), {})
        group.setdefault(case.part, []).append(outcome)
    rows = {}
    for key, parts in groups.items():
        every = [outcome for found in parts.values() for outcome in found]
        parameters = next((o.parameters for o in every if o.parameters is not None), None)
        measured = {part: _measured(found) for part, found in parts.items()}
        rows[key] = Row(every[0].case, measured, parameters)
    return [
        _compared(row, rows.get((against, *key[1:]), rows.get((against, key[1], "eager", key[3]))))
        for key, row in rows.items()
    ]


@dataclass(frozen=True)
class Cell:
    """Text of a table, and a note where something went wrong.

    Attributes
    ----------
    text, note : str

    Examples
    --------
    >>> Cell("fails", "out of memory").inline()
    'fails: out of memory'
    """

    text: str
    note: str = ""

    def inline(self) -> str:
        """Text and note in one."""
        return f"{self.text}: {self.note}" if self.note else self.text


def _number(value: float | None, unit: float = 1.0) -> Cell:
    if value is None:
        return Cell("-")
    value /= unit
    return Cell(f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}")


def _time(part: Part) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        measured = row.parts.get(part, Measured())
        if measured.status != "ok":
            return Cell("-" if measured.status == "too long" else "fails", measured.note)
        times = f"{_number(measured.fastest_ms).text} / {_number(measured.median_ms).text}"
        return Cell(times if measured.times_ms else "-")

    return cell


def _peak(part: Part) -> Callable[[Row], Cell]:
    return lambda row: _number(row.parts.get(part, Measured()).peak_bytes, MEBIBYTE)


def _ratio(name: str) -> Callable[[Row], Cell]:
    return lambda row: _number(row.ratios.get(name))


Column = tuple[str, Callable[[Row], Cell]]

_WHAT: tuple[Column, ...] = (
    ("system", lambda row: Cell(row.case.system)),
    ("mode", lambda row: Cell(row.case.mode)),
    ("precision", lambda row: Cell(row.case.precision)),
    ("seconds", lambda row: Cell(row.case.length)),
    ("batch", lambda row: Cell(str(row.case.batch_size))),
    ("weights", lambda row: Cell("-" if row.parameters is None else f"{row.parameters:,}")),
)
_FORWARD: Column = ("forward ms", _time("forward"))
_SPEED: Column = ("audio s / s", lambda row: _number(row.audio_seconds_per_second))
_SAVED: Column = ("saved MiB", lambda row: _number(_quantities(row)["saved"], MEBIBYTE))
_BOTH_PASSES: tuple[Column, ...] = (
    *_WHAT,
    _FORWARD,
    ("forward+backward ms", _time("backward")),
    _SPEED,
    ("forward peak MiB", _peak("forward")),
    ("forward+backward peak MiB", _peak("backward")),
    _SAVED,
    ("forward x", _ratio("forward time")),
    ("forward+backward x", _ratio("backward time")),
    ("peak x", _ratio("backward peak")),
    ("saved x", _ratio("saved")),
)


def _waiting(row: Row) -> Cell:
    waiting = row.parts["step"].waiting
    return Cell("-" if waiting is None else f"{100 * waiting:.1f}")


def _of_decoding(name: str) -> Callable[[Row], Cell]:
    return lambda row: Cell(str(getattr(row.case.decoding, name) or "-"))


def _share(name: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        share = getattr(row.parts["search"].found, name, None)
        return Cell("-" if share is None else f"{100 * share:.3g}")

    return cell


COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "mixer": _BOTH_PASSES,
    "encoder": _BOTH_PASSES,
    "hear": (_WHAT[0], *_WHAT[3:], _FORWARD, _SPEED, ("forward x", _ratio("forward time"))),
    "step": (
        *_WHAT,
        ("step ms", _time("step")),
        _SPEED,
        ("peak MiB", _peak("step")),
        _SAVED,
        ("step x", _ratio("step time")),
        ("peak x", _ratio("step peak")),
        ("saved x", _ratio("saved")),
    ),
    "train": (
        *_WHAT[:3],
        ("seconds a batch", _WHAT[3][1]),
        _WHAT[-1],
        ("step ms", _time("step")),
        _SPEED,
        ("fastest", lambda row: _number(row.parts["step"].fastest_speed)),
        ("waiting %", _waiting),
        ("peak MiB", _peak("step")),
        ("speed x", _ratio("speed")),
        ("fastest x", _ratio("fastest speed")),
        ("peak x", _ratio("step peak")),
    ),
    "decode": (
        _WHAT[0],
        ("recogniser", _of_decoding("recogniser")),
        ("language model", _of_decoding("language_model")),
        ("beam", _of_decoding("beam")),
        ("steps", _of_decoding("steps")),
        _WHAT[3],
        _WHAT[-1],
        ("search ms", _time("search")),
        _SPEED,
        ("peak MiB", _peak("search")),
        ("pruned %", _share("pruned")),
        ("full steps %", _share("fell_back")),
        ("time x", _ratio("search time")),
        ("fastest x", _ratio("fastest search time")),
        ("peak x", _ratio("search peak")),
    ),
}


def text_table(rows: Sequence[Row], against: str) -> str:
    """Align rows under their titles, without columns that nobody fills; what went wrong is said below.

    Parameters
    ----------
    rows : sequence of Row
        Of one kind.
    against : str
        The reference system.

    Returns
    -------
    str

    Examples
    --------
    >>> case = Case("step", "attention", "step", seconds=15.0, batch_size=2)
    >>> print(text_table(rows_of([Outcome(case, "fails", "out of memory")], "attention"), "attention"))
    system     mode   precision  seconds  batch  step ms
    attention  eager  fp32       15       2      fails [1]
    times: fastest / median; x: multiples of attention
    [1] attention 15 s: out of memory
    """
    columns = COLUMNS[rows[0].case.kind]
    notes: dict[str, int] = {}
    lines = [[title for title, _ in columns]]
    for row in rows:
        line = []
        for _, cell_of in columns:
            cell = cell_of(row)
            if cell.note:
                said = f"{row.case.system} {row.case.length} s: {cell.note}"
                line.append(f"{cell.text} [{notes.setdefault(said, len(notes) + 1)}]")
            else:
                line.append(cell.text)
        lines.append(line)
    told = [column for column in zip(*lines, strict=True) if set(column[1:]) != {"-"}]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in told]
    aligned = ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
    legend = f"times: fastest / median; x: multiples of {against}"
    said_below = (f"[{number}] {said}" for said, number in notes.items())
    return "\n".join([*aligned, legend, *_better_finds(rows), *said_below])


def _better_finds(rows: Sequence[Row]) -> list[str]:
    """How often our joint search found a better hypothesis than SpeechBrain's, which stops earlier."""
    found = {(row.case.system, row.case.seconds, row.case.decoding): row.parts.get("search") for row in rows}
    gaps = []
    for (system, seconds, decoding), ours in found.items():
        theirs = found.get((UPSTREAM + system, seconds, decoding))
        if ours and theirs and ours.found and theirs.found:
            gaps.append(ours.found.ahead_of(theirs.found))
    if not gaps:
        return []
    better = [gap for gap in gaps if gap > 0]
    by = f", by up to {max(better):.3g} nats" if better else ""
    return [f"better hypotheses than SpeechBrain's: {len(better)} of {len(gaps)}{by}"]
