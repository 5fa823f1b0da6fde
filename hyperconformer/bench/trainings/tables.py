"""Tables of what trainings found."""

from typing import NamedTuple

from hyperconformer.bench.trainings.intervals import Interval


class Table(NamedTuple):
    """Rows under a heading.

    Attributes
    ----------
    heading : str
    header : list of str
    rows : list of list of str
    notes : list of str
        What stands below.

    Examples
    --------
    >>> print(Table("Tasks", ["system", "%"], [["identity", "50.0"]], ["so it is"]).text())
    Tasks
    system    %
    identity  50.0
    so it is
    """

    heading: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]

    def text(self) -> str:
        """Aligned for a person."""
        columns = list(zip(self.header, *self.rows, strict=True))
        padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
        lines = ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
        return "\n".join([self.heading, *lines, *self.notes])

    def dicts(self) -> list[dict[str, str]]:
        """Rows for JSON."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]


def percent(fraction: float | None) -> str:
    """Write a fraction as percent.

    Parameters
    ----------
    fraction : float or None

    Returns
    -------
    str

    Examples
    --------
    >>> percent(0.98765), percent(None)
    ('98.77', '-')
    """
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def percent_range(interval: Interval | None, sign: str = "") -> list[str]:
    """Write an interval of fractions as percent: its value, and its ends.

    Parameters
    ----------
    interval : Interval or None
    sign : {"", "+"}
        ``+`` for differences.

    Returns
    -------
    list of str

    Examples
    --------
    >>> percent_range(Interval(0.5, -0.25, 1.0), "+"), percent_range(None)
    (['+50.00', '-25.00 to +100.00'], ['-', '-'])
    """
    if interval is None:
        return ["-", "-"]
    value, low, high = (f"{100 * number:{sign}.2f}" for number in interval)
    return [value, f"{low} to {high}"]
