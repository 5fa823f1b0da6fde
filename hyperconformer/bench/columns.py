"""The columns of every kind of benchmark, and the table that a person reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hyperconformer.bench.cases import UPSTREAM, Part
from hyperconformer.bench.report import MEBIBYTE, Measured, Row
from hyperconformer.bench.transcribing import Summary


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
    ("seconds", lambda row: Cell(f"{round(row.case.seconds, 2):g}")),
    ("batch", lambda row: Cell(str(row.case.batch_size))),
    ("weights", lambda row: Cell("-" if row.parameters is None else f"{row.parameters:,}")),
)
_FORWARD: Column = ("forward ms", _time("forward"))
_SPEED: Column = ("audio s / s", lambda row: _number(row.audio_seconds_per_second))
_SAVED: Column = ("saved MiB", lambda row: _number(row.saved_bytes, MEBIBYTE))
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


def _seconds(row: Row) -> Cell:
    if row.first.status != "ok":
        return Cell("fails", row.first.note)
    return Cell(f"{_number(row.first.fastest_ms, 1000).text} / {_number(row.first.median_ms, 1000).text}")


def _files(row: Row) -> Cell:
    return Cell(str(row.case.transcribing.number) if row.case.transcribing and row.case.seconds else "-")


def _audio(value: Callable[[Row], float | None], unit: float = 1.0) -> Callable[[Row], Cell]:
    """What is said of audio, where there is any."""
    return lambda row: _number(value(row) if row.case.seconds else None, unit)


def _heard(value: Callable[[Summary], float | None], unit: float = 1.0) -> Callable[[Row], Cell]:
    return lambda row: _number(None if row.first.heard is None else value(row.first.heard), unit)


def _part_ratio(quantity: str) -> Callable[[Row], Cell]:
    """The ratio of a quantity of the only part."""
    return lambda row: _ratio(f"{next(iter(row.parts))} {quantity}")(row)


_TRANSCRIBING: tuple[Column, ...] = (
    _WHAT[0],
    ("files", _files),
    ("audio min", _audio(lambda row: row.case.seconds, 60)),
    ("load s", _heard(lambda heard: heard.load_seconds)),
    ("seconds", _seconds),
    ("x real time", _audio(lambda row: row.audio_seconds_per_second)),
    ("process MiB", _heard(lambda heard: heard.process_bytes, MEBIBYTE)),
    ("beyond model MiB", lambda row: _number(row.first.peak_bytes, MEBIBYTE)),
    ("other texts", _heard(lambda heard: heard.other_texts)),
    ("WER %", _heard(lambda heard: heard.wer, 0.01)),
    ("WER + %", _heard(lambda heard: heard.more_wer, 0.01)),
    ("speed x", _part_ratio("speed")),
    ("process x", _part_ratio("process")),
    ("beyond model x", _part_ratio("peak")),
)

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
    "transcribe": _TRANSCRIBING,
    "text": (
        _WHAT[0],
        _WHAT[2],
        ("tokens", lambda row: Cell(str(row.case.frames))),
        *_WHAT[4:],
        *(column for column in _BOTH_PASSES[len(_WHAT) :] if column is not _SPEED),
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
    >>> from hyperconformer.bench.cases import Case, Outcome
    >>> from hyperconformer.bench.report import rows_of
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
                said = f"{row.case.system} {row.case.length}: {cell.note}"
                line.append(f"{cell.text} [{notes.setdefault(said, len(notes) + 1)}]")
            else:
                line.append(cell.text)
        lines.append(line)
    told = [column for column in zip(*lines, strict=True) if set(column[1:]) != {"-"}]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in told]
    aligned = ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
    legend = f"times: fastest / median; x: multiples of {against}"
    said_below = (f"[{number}] {said}" for said, number in notes.items())
    return "\n".join([*aligned, legend, *_better_finds(rows), *_long_recordings(rows), *said_below])


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


def _long_recordings(rows: Sequence[Row]) -> list[str]:
    """What the ratios of long recordings refer to."""
    first = next((row for row in rows if "long" in row.parts), None)
    return [] if first is None else [f"x of long recordings: multiples of that of {first.case.length}"]
