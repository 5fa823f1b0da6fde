"""A test's results as a run leaves them behind: a file for every search, and a closing table."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hyperconformer.scoring import report_row, score
from hyperconformer.types import Utterance
from hyperconformer.wer_files import Trial, file_stem, remove_trials, write_results

Pairs = Sequence[tuple[Utterance, str]]
Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Column(NamedTuple):
    """A further column of a closing table.

    Attributes
    ----------
    title : str
    cell : callable
        A row of metrics to what stands there.

    Examples
    --------
    >>> Column("hours", lambda row: f"{row['seconds'] / 3600:.1f}").cell({"seconds": 7200})
    '2.0'
    """

    title: str
    cell: Callable[[Mapping[str, Any]], str]


def report_split(split: str, decoded: Mapping[str, Pairs], folder: Path) -> dict[str, dict[str, Any]]:
    """Score what each search decoded; write its alignments, and its words for programs.

    The last search writes ``wer_<split>.txt`` and ``.jsonl``, the others ``wer_<split>_<search>.*``. What an
    earlier test of the split left goes, so that the folder holds results of the same weights.

    Parameters
    ----------
    split : str
    decoded : mapping of str to list of (Utterance, str)
        By search.
    folder : Path
        The run's output folder.

    Returns
    -------
    dict of str to dict
        By search: WER in percent with its 95 % interval, and the counts.

    Examples
    --------
    >>> report_split("test", {}, Path("."))
    {}
    """
    reports = {search: score(pairs, split) for search, pairs in decoded.items()}
    remove_trials(folder, split)
    for search, report in reports.items():
        trial = Trial(split, search)
        write_results(report, trial, folder / f"{file_stem(trial, list(decoded)[-1])}.txt")
    return {search: report_row(report) for search, report in reports.items()}


def closing_table(metrics: Metrics, further: Sequence[Column] = ()) -> str:
    """Render every split's and search's WER with what it is made of.

    Parameters
    ----------
    metrics : mapping
        By split, then by search.
    further : sequence of Column
        What stands behind it.

    Returns
    -------
    str

    Examples
    --------
    >>> row = {"wer": 3.0, "low": 2.0, "high": 4.0, "words": 100, "utterances": 9}
    >>> row |= {"substitutions": 2, "deletions": 1, "insertions": 0}
    >>> print(closing_table({"test-mini": {"greedy": row}}))
    split           search     WER %   95 % interval      S      D      I    words
    test-mini       greedy      3.00     2.00 - 4.00      2      1      0      100
    """
    titles = (
        f"{'split':<16}{'search':<8}{'WER %':>8}{'95 % interval':>16}{'S':>7}{'D':>7}{'I':>7}{'words':>9}"
    )
    lines = [titles + "".join(f"{column.title:>12}" for column in further)]
    for split, rows in metrics.items():
        for search, row in rows.items():
            interval = f"{row['low']:.2f} - {row['high']:.2f}"
            kinds = "".join(f"{row[kind]:>7}" for kind in ("substitutions", "deletions", "insertions"))
            # The space between columns stays where a name is longer than its column.
            names = f"{split:<15} {search:<7} "
            more = "".join(f"{column.cell(row):>12}" for column in further)
            lines.append(f"{names}{row['wer']:>8.2f}{interval:>16}{kinds}{row['words']:>9}{more}")
    return "\n".join(lines)


def result_cells(
    system: str, split: str, search: str, dials: Mapping[str, Any], result: Mapping[str, Any]
) -> list[str]:
    """Fill the cells that every row of results begins with.

    Parameters
    ----------
    system, split, search : str
    dials : mapping
        What the search was told.
    result : mapping
        From :func:`hyperconformer.scoring.report_row`.

    Returns
    -------
    list of str
        System, split, search with its dials, WER, its interval, S / D / I, words.

    Examples
    --------
    >>> result = {"wer": 2.5, "low": 2.0, "high": 3.0, "words": 40, "substitutions": 1, "deletions": 0}
    >>> " | ".join(result_cells("mini", "test", "joint", {"beam_size": 66}, result | {"insertions": 0}))
    'mini | test | joint (beam_size 66) | 2.50 | 2.00 - 3.00 | 1 / 0 / 0 | 40'
    """
    told = ", ".join(f"{name} {value}" for name, value in dials.items())
    return [
        system,
        split,
        f"{search} ({told})" if told else search,
        f"{result['wer']:.2f}",
        f"{result['low']:.2f} - {result['high']:.2f}",
        " / ".join(str(result[kind]) for kind in ("substitutions", "deletions", "insertions")),
        str(result["words"]),
    ]
