"""What a test heard, in a file for programs: a line of JSON an utterance, beside the alignments for people.

The first line names split and search; the others hold ``id``, ``speaker``, ``reference`` and
``hypothesis``, and may hold more. Mistakes are not written down: whoever reads counts them again.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hyperconformer.errors import InputError, one_line
from hyperconformer.scoring import AlignedWord, ErrorCounts, WerReport, score
from hyperconformer.types import Utterance

PATTERN = "wer_*.jsonl"
FIELDS = ("id", "speaker", "reference", "hypothesis")
LONGEST_REASON = 120


class Trial(NamedTuple):
    """A split that was decoded by a search.

    Attributes
    ----------
    split, search : str

    Examples
    --------
    >>> print(Trial("test-clean", "greedy"))
    test-clean, greedy
    """

    split: str
    search: str

    def __str__(self) -> str:
        return f"{self.split}, {self.search}"


def file_stem(trial: Trial, result: str) -> str:
    """Name a test's files: the search that makes the run's result goes without its name.

    Parameters
    ----------
    trial : Trial
    result : str
        Search whose WER is the run's result.

    Returns
    -------
    str

    Examples
    --------
    >>> file_stem(Trial("dev", "joint"), "joint"), file_stem(Trial("dev", "greedy"), "joint")
    ('wer_dev', 'wer_dev_greedy')
    """
    return f"wer_{trial.split}" if trial.search == result else f"wer_{trial.split}_{trial.search}"


def write_results(
    report: WerReport, trial: Trial, path: Path, further: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write the alignments of a test for people, and beside them its words for programs.

    Parameters
    ----------
    report : WerReport
    trial : Trial
    path : Path
        By custom ``wer_<split>.txt``; the other file ends in ``.jsonl``.
    further : mapping of str to mapping, or None
        What else its line says of each utterance, by id.

    Examples
    --------
    >>> import tempfile
    >>> report = score([(Utterance("u1", 1.0, "u1.flac", "anna", "ONE TWO"), "ONE")], "test")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_results(report, Trial("test", "greedy"), Path(folder) / "wer_test.txt")
    ...     print((Path(folder) / "wer_test.jsonl").read_text(), end="")
    {"split": "test", "search": "greedy"}
    {"id": "u1", "speaker": "anna", "reference": "ONE TWO", "hypothesis": "ONE"}
    """
    write_wer(report, path)
    rows = [
        {name: getattr(utterance, name) for name in FIELDS} | dict((further or {}).get(utterance.id, {}))
        for utterance in report.utterances
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in (trial._asdict(), *rows)]
    path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_wer(report: WerReport, path: Path) -> None:
    """Write the rates of a split and the alignment of each of its utterances.

    Parameters
    ----------
    report : WerReport
        What to write.
    path : Path
        Text file, by custom ``wer_<split>.txt``; its folder is made if need be.

    Examples
    --------
    >>> import tempfile
    >>> utterance = Utterance("u1", 1.0, "u1.flac", "anna", "ONE TWO THREE")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "wer_test.txt"
    ...     write_wer(score([(utterance, "WON TWO THREE OH")], "test"), path)
    ...     print(path.read_text())
    %WER 66.67 [ 2 / 3, 1 ins, 0 del, 1 sub ] 95% [66.67, 66.67]
    %SER 100.00 [ 1 / 1 ]
    %CER 38.46
    split test, interval over the utterances of one speaker; = hit, S substitution, I insertion, D deletion
    <BLANKLINE>
    u1 %WER 66.67 [ 2 / 3, 1 ins, 0 del, 1 sub ]
    ref  ONE  TWO  THREE  **
         S    =    =      I
    hyp  WON  TWO  THREE  OH
    <BLANKLINE>
    """
    drawn = f"{report.speakers} speakers" if report.speakers > 1 else "the utterances of one speaker"
    lines = [
        f"{_rate_line(report.counts)} 95% [{100 * report.low:.2f}, {100 * report.high:.2f}]",
        f"%SER {100 * report.sentence_error_rate:.2f} "
        f"[ {report.wrong_utterances} / {len(report.utterances)} ]",
        f"%CER {100 * report.cer:.2f}",
        f"split {report.split}, interval over {drawn}; = hit, S substitution, I insertion, D deletion",
    ]
    for utterance in report.utterances:
        lines += ["", f"{utterance.id} {_rate_line(utterance.counts)}", *_alignment_rows(utterance.alignment)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_trial(path: Path) -> Trial:
    """Read which test a file is of, without its utterances.

    Parameters
    ----------
    path : Path
        What :func:`write_results` wrote, ``.txt`` or ``.jsonl``.

    Returns
    -------
    Trial

    Raises
    ------
    InputError
        If it is not there or not such a file.

    Examples
    --------
    >>> read_trial(Path("wer_test.txt"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'wer_test.jsonl' does not exist: test the run again, with --test_only
    """
    path = path.with_suffix(".jsonl")
    try:
        with path.open(encoding="utf-8") as lines:
            head = json.loads(lines.readline())
            return Trial(str(head["split"]), str(head["search"]))
    except FileNotFoundError as error:
        raise InputError(f"'{path}' does not exist: test the run again, with --test_only") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(path, 1, error) from error


def read_results(path: Path) -> WerReport:
    """Read a test's words, and count its mistakes again.

    Parameters
    ----------
    path : Path
        What :func:`write_results` wrote, ``.txt`` or ``.jsonl``.

    Returns
    -------
    WerReport
        Equal to the one that was written.

    Raises
    ------
    InputError
        If the file is missing or broken; the message names the line.

    Examples
    --------
    >>> import tempfile
    >>> report = score([(Utterance("u1", 1.0, "u1.flac", "anna", "ONE TWO"), "ONE")], "test")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "wer_test.txt"
    ...     write_results(report, Trial("test", "greedy"), path)
    ...     read_results(path) == report
    True
    """
    trial, path = read_trial(path), path.with_suffix(".jsonl")
    pairs, number = [], 1
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if number > 1:
                    pairs.append(_pair(json.loads(line)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(path, number, error) from error
    try:
        return score(pairs, trial.split)
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error


def find_trials(folder: Path) -> dict[Trial, Path]:
    """List what a run's folder holds.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict of Trial to Path
        By name of the file; of each split the run's result comes first.

    Examples
    --------
    >>> find_trials(Path("no/such/run"))
    {}
    """
    files = [(read_trial(path), path) for path in sorted(folder.glob(PATTERN))]
    # The result is the one whose file does not name its search.
    files.sort(key=lambda found: (found[0].split, found[1].stem != f"wer_{found[0].split}"))
    trials: dict[Trial, Path] = {}
    for trial, path in files:
        trials.setdefault(trial, path)
    return trials


def remove_trials(folder: Path, split: str) -> None:
    """Remove the files of a split's last test, for the searches of the next one may be others.

    Parameters
    ----------
    folder : Path
    split : str

    Examples
    --------
    >>> remove_trials(Path("no/such/run"), "test-clean")
    """
    for path in list(folder.glob(PATTERN)):
        # A broken file must not cost the results that are about to be written.
        with suppress(InputError):
            if read_trial(path).split == split:
                path.unlink()
                path.with_suffix(".txt").unlink(missing_ok=True)


def _pair(row: dict[str, str]) -> tuple[Utterance, str]:
    name, speaker, reference, hypothesis = words = [row[field] for field in FIELDS]
    if not all(isinstance(word, str) for word in words):
        raise TypeError(f"{', '.join(FIELDS)} must be strings")
    return Utterance(name, 0.0, "", speaker, reference), hypothesis


def _broken(path: Path, line: int, error: Exception) -> InputError:
    reason = one_line(error, LONGEST_REASON)
    return InputError(
        f"'{path}', line {line}, cannot be used ({reason}): test the run again, with --test_only"
    )


def _rate_line(counts: ErrorCounts) -> str:
    """Give the WER of counts in percent, with what it is made of."""
    return (
        f"%WER {100 * counts.wer:.2f} [ {counts.edits} / {counts.reference_words}, {counts.insertions} ins, "
        f"{counts.deletions} del, {counts.substitutions} sub ]"
    )


def _alignment_rows(alignment: Iterable[AlignedWord]) -> list[str]:
    """Lay an alignment out in three rows of padded columns; stars stand where there is no word."""
    rows = ["ref", "   ", "hyp"]
    for mark, reference, hypothesis in alignment:
        width = max(len(reference), len(hypothesis))
        cells = (reference or "*" * width, mark, hypothesis or "*" * width)
        rows = [f"{row}  {cell:<{width}}" for row, cell in zip(rows, cells, strict=True)]
    return [row.rstrip() for row in rows]
