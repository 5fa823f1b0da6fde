"""``hyperconformer compare A B``: whether B is better than A, or it may be chance."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hyperconformer.errors import InputError

if TYPE_CHECKING:
    from hyperconformer.significance import Comparison
    from hyperconformer.wer_files import Trial

LEVEL = 0.05
VERDICTS = {
    "better": "B is better.",
    "worse": "B is worse.",
    "open": "No difference is shown (both tests would have to give p below 0.05).",
}


class Run(NamedTuple):
    """One run of a system.

    Attributes
    ----------
    path : Path
        Its folder, or the one file of it that was named.
    trials : dict of Trial to Path
        What it was tested on; of each split the run's result comes first.

    Examples
    --------
    >>> Run(Path("results/mini/7775"), {}).searches("test-mini")
    []
    """

    path: Path
    trials: "dict[Trial, Path]"

    def searches(self, split: str) -> list[str]:
        """Searches that decoded a split."""
        return [trial.search for trial in self.trials if trial.split == split]


class Pairing(NamedTuple):
    """What is compared with what.

    Attributes
    ----------
    split, search_a, search_b : str
    files_a, files_b : list of Path
        A file for every run.

    Examples
    --------
    >>> Pairing("test-mini", "joint", "greedy", [], []).search_b
    'greedy'
    """

    split: str
    search_a: str
    search_b: str
    files_a: list[Path]
    files_b: list[Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``compare`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> parser.parse_args(["results/a", "results/b", "--split", "test-clean"]).split
    ['test-clean']
    """
    what = "a run's folder, a folder of runs (seeds), a wer_*.txt file, or several joined by commas"
    parser.add_argument("a", metavar="A", help=what)
    parser.add_argument("b", metavar="B", help="the same")
    parser.add_argument("--split", nargs="+", metavar="NAME", help="default: every split that all runs have")
    parser.add_argument("--search", metavar="NAME", help="default: the one that made the run's result")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")


def find_runs(argument: str) -> list[Run]:
    """Find the runs of a system.

    Parameters
    ----------
    argument : str
        As the command line takes it.

    Returns
    -------
    list of Run

    Raises
    ------
    InputError
        If there is no such file or folder, or it holds no results.

    Examples
    --------
    >>> find_runs("no/such/run")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'no/such/run' does not exist: name a run's folder, for instance \
results/mini/7775
    """
    from hyperconformer.wer_files import find_trials, read_trial

    runs = []
    for item in [argument] if Path(argument).exists() else argument.split(","):
        path = Path(item)
        if not path.exists():
            raise InputError(f"'{item}' does not exist: name a run's folder, for instance results/mini/7775")
        if path.is_file():
            runs.append(Run(path, {read_trial(path): path}))
            continue
        # Debugging runs stand beside the seeds, and are none.
        inner = (one for one in sorted(path.iterdir()) if one.is_dir() and not one.name.endswith("_debug"))
        folders = [Run(folder, find_trials(folder)) for folder in (path, *inner)]
        found = folders[:1] if folders[0].trials else [run for run in folders if run.trials]
        if not found:
            raise InputError(
                f"'{item}' holds no results (wer_*.jsonl), nor do the folders in it: test the run again, "
                "with --test_only"
            )
        runs += found
    _refuse_twice([run.path for run in runs])
    return runs


def _refuse_twice(paths: Sequence[Path]) -> None:
    """Refuse a run that is named twice: it would pass for two."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError(f"'{path}' is named twice for one system: name every run once")
        seen.add(path.resolve())


def pair(
    a: Sequence[Run], b: Sequence[Run], splits: Sequence[str] | None, search: str | None
) -> list[Pairing]:
    """Decide what is compared with what.

    Parameters
    ----------
    a, b : sequence of Run
    splits : sequence of str or None
        None takes every split that all runs have.
    search : str or None
        None takes the search that made each run's result; but where one system is given by files, their
        search counts for the other as well.

    Returns
    -------
    list of Pairing

    Raises
    ------
    InputError
        If a run lacks a split or a search, no split is common, or the runs of a system differ in search.

    Examples
    --------
    >>> pair([Run(Path("a"), {})], [Run(Path("b"), {})], None, None)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'a' and 'b' have no split in common: test them on the same data
    """
    runs = [*a, *b]
    tested = [list(dict.fromkeys(trial.split for trial in run.trials)) for run in runs]
    common = [split for split in tested[0] if all(split in others for others in tested)]
    for split in splits or []:
        for run, has in zip(runs, tested, strict=True):
            if split not in has:
                raise InputError(f"'{run.path}' has no split '{split}': choose from {', '.join(has)}")
    if not common:
        raise InputError(
            f"'{a[0].path}' and '{b[0].path}' have no split in common: test them on the same data"
        )
    pairings = []
    for split in splits or common:
        named_a, named_b = (_named_search(side, split) for side in (a, b))
        search_a, files_a = _files(a, split, search or named_a or named_b)
        search_b, files_b = _files(b, split, search or named_b or named_a)
        pairings.append(Pairing(split, search_a, search_b, files_a, files_b))
    return pairings


def _named_search(side: Sequence[Run], split: str) -> str | None:
    """The search that a system's files name, if it is given by files."""
    named = {search for run in side if run.path.is_file() for search in run.searches(split)}
    return named.pop() if len(named) == 1 else None


def _files(side: Sequence[Run], split: str, search: str | None) -> tuple[str, list[Path]]:
    """The results of a split, a file for every run, and the search that they are of."""
    chosen = {run.path: search or run.searches(split)[0] for run in side}
    if len(set(chosen.values())) > 1:
        (one, first), (other, second) = list({search: path for path, search in chosen.items()}.items())[:2]
        raise InputError(f"the result of '{first}' is of {one}, that of '{second}' of {other}: give --search")
    for run in side:
        if chosen[run.path] not in run.searches(split):
            has = ", ".join(run.searches(split))
            raise InputError(f"'{run.path}' has no {chosen[run.path]} results of '{split}': it has {has}")
    files = [path for run in side for trial, path in run.trials.items() if trial == (split, chosen[run.path])]
    return chosen[side[0].path], files


def verdict(found: "Comparison") -> str:
    """Sum a comparison up: only where both tests agree is there a difference.

    Parameters
    ----------
    found : Comparison

    Returns
    -------
    {"better", "worse", "open"}
        Of B.

    Examples
    --------
    >>> from hyperconformer.significance import Comparison
    >>> verdict(Comparison(9, 40, 6, True, (0.2,), (0.1,), -0.2, -0.1, 1.0, 0.001, 0.03, 0.03, 9, 0))
    'better'
    """
    if max(found.p_bootstrap, found.p_permutation) >= LEVEL:
        return "open"
    return "better" if found.difference < 0 else "worse"


def render(pairing: Pairing, found: "Comparison") -> str:
    """Lay a comparison out for people.

    Parameters
    ----------
    pairing : Pairing
    found : Comparison

    Returns
    -------
    str

    Examples
    --------
    >>> from hyperconformer.significance import Comparison
    >>> found = Comparison(9, 40, 6, True, (0.2,), (0.1, 0.1), -0.2, -0.1, 1.0, 0.001, 0.03, 0.03, 9, 0)
    >>> print(render(Pairing("test", "joint", "joint", [], []), found))
    test: 9 utterances, 40 words, 6 speakers
         search      WER %   of each run
      A  joint       20.00   20.00
      B  joint       10.00   10.00 10.00
    B - A: -10.00 points (-50.0 %), 95 % interval -20.00 to -10.00 over speakers and runs
    B has the lower WER in 100.0 % of the draws; p 0.001 (bootstrap), 0.03 (permutation; at least 0.03)
    B makes fewer mistakes in 9 utterances, more in 0
    A is one run: another seed may move it
    B is better.
    """
    groups = "speakers" if found.speakers else "utterances of one speaker"
    rows = [
        ("A", pairing.search_a, found.wer_a, found.wers_a),
        ("B", pairing.search_b, found.wer_b, found.wers_b),
    ]
    several = any(len(wers) > 1 for _, _, _, wers in rows)
    relative = f" ({100 * found.difference / found.wer_a:+.1f} %)" if found.wer_a else ""
    alone = [name for name, _, _, wers in rows if len(wers) == 1]
    return "\n".join(
        [
            f"{pairing.split}: {found.utterances} utterances, {found.words} words, {found.groups} {groups}",
            "     search      WER %   of each run",
            *(
                f"  {name}  {search:<10}{100 * wer:>7.2f}   {' '.join(f'{100 * each:.2f}' for each in wers)}"
                for name, search, wer, wers in rows
            ),
            f"B - A: {100 * found.difference:+.2f} points{relative}, 95 % interval {100 * found.low:+.2f} to "
            f"{100 * found.high:+.2f} over {groups}{' and runs' if several else ''}",
            f"B has the lower WER in {100 * found.chance_b_better:.1f} % of the draws; "
            f"p {found.p_bootstrap:.2g} (bootstrap), {found.p_permutation:.2g} (permutation; at least "
            f"{found.p_least:.2g})",
            f"B makes fewer mistakes in {found.better} utterances, more in {found.worse}",
            *(f"{name} is one run: another seed may move it" for name in alone),
            VERDICTS[verdict(found)],
        ]
    )


def to_dict(pairing: Pairing, found: "Comparison") -> dict[str, Any]:
    """Give a comparison as plain values.

    Parameters
    ----------
    pairing : Pairing
    found : Comparison

    Returns
    -------
    dict
        Rates and their differences in percent, as in ``metrics.json``.

    Examples
    --------
    >>> from hyperconformer.significance import Comparison
    >>> found = Comparison(9, 40, 6, True, (0.2,), (0.1,), -0.2, -0.1, 1.0, 0.001, 0.03, 0.03, 9, 0)
    >>> said = to_dict(Pairing("test", "joint", "joint", [], []), found)
    >>> said["difference"], said["wers_b"], said["verdict"]
    (-10.0, [10.0], 'better')
    """
    rates = ("wer_a", "wer_b", "difference", "low", "high")
    return {
        "split": pairing.split,
        "search_a": pairing.search_a,
        "search_b": pairing.search_b,
        "files_a": [str(path) for path in pairing.files_a],
        "files_b": [str(path) for path in pairing.files_b],
        **asdict(found),
        **{name: [round(100 * wer, 4) for wer in getattr(found, name)] for name in ("wers_a", "wers_b")},
        **{name: round(100 * getattr(found, name), 4) for name in rates},
        "verdict": verdict(found),
    }


def run(arguments: argparse.Namespace) -> int:
    """Compare two systems and say what came out.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_arguments` declares them.

    Returns
    -------
    int
        0.

    Raises
    ------
    InputError
        If there is nothing to compare, or the data differ.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> run(parser.parse_args(["no/such/run", "another"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'no/such/run' does not exist: name a run's folder, ...
    """
    pairings = pair(find_runs(arguments.a), find_runs(arguments.b), arguments.split, arguments.search)
    found = [(pairing, _compare(pairing)) for pairing in pairings]
    if arguments.json:
        print(
            json.dumps(
                {"a": arguments.a, "b": arguments.b, "comparisons": [to_dict(*each) for each in found]}
            )
        )
        return 0
    print(f"A: {arguments.a}\nB: {arguments.b}")
    for each in found:
        print(f"\n{render(*each)}")
    return 0


def _compare(pairing: Pairing) -> "Comparison":
    from hyperconformer.significance import compare_runs
    from hyperconformer.wer_files import read_results

    return compare_runs(
        [read_results(path) for path in pairing.files_a], [read_results(path) for path in pairing.files_b]
    )
