"""Splits that are lists: ``lists/<split>.txt`` beside the folders of a corpus, an utterance a line.

A line is ``<split>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>``; so a corpus is divided anew without
a copy.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath

from hyperconformer.errors import InputError
from hyperconformer.types import Utterance

LISTS = "lists"

Scan = Callable[[str, Collection[str]], list[Utterance]]


def lists_in(roots: Sequence[Path]) -> dict[str, Path]:
    r"""Find the lists of a corpus.

    Parameters
    ----------
    roots : sequence of Path
        Folders that may hold its splits, and a folder ``lists``.

    Returns
    -------
    dict of str to Path
        By their names; of two with one name the first.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "lists").mkdir()
    >>> _ = (folder / "lists" / "slice.txt").write_text("dev-clean/7/1/7-1-0000\n")
    >>> list(lists_in([folder]))
    ['slice']
    """
    found: dict[str, Path] = {}
    for root in roots:
        for path in sorted((root / LISTS).glob("*.txt")):
            found.setdefault(path.stem, path)
    return found


def read_list(path: Path) -> dict[str, set[str]]:
    r"""Read which utterances of which splits a list names.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to set of str
        Ids by split.

    Raises
    ------
    InputError
        If it cannot be read, is empty, or a line is none of these.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "slice.txt"
    >>> _ = path.write_text("dev-clean/7/1/7-1-0000\n\ntest-clean/8/1/8-1-0003\n")
    >>> read_list(path)
    {'dev-clean': {'7-1-0000'}, 'test-clean': {'8-1-0003'}}
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"list {str(path)!r} is not readable UTF-8: write it again") from error
    found: defaultdict[str, set[str]] = defaultdict(set)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = PurePosixPath(line.strip()).parts
        if len(parts) != 4:
            raise InputError(
                f"list {str(path)!r}, line {number}: {line.strip()!r} is not <split>/<speaker>/<chapter>/<id>"
            )
        found[parts[0]].add(parts[3])
    if not found:
        raise InputError(f"list {str(path)!r} is empty: write an utterance a line, or name another split")
    return dict(found)


def scan_list(path: Path, scan: Scan) -> list[Utterance]:
    r"""List the utterances that a list names.

    Parameters
    ----------
    path : Path
    scan : callable
        A split and ids to those of them that are there.

    Returns
    -------
    list of Utterance
        Sorted by id.

    Raises
    ------
    InputError
        If one is not there, or two splits have the same.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "slice.txt"
    >>> _ = path.write_text("dev-clean/7/1/7-1-0000\n")
    >>> scan_list(path, lambda split, ids: [])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: list '...slice.txt' names 1 utterances of 'dev-clean' that are not ...
    """
    listed: dict[str, Utterance] = {}
    for split, ids in read_list(path).items():
        found = {utterance.id: utterance for utterance in scan(split, ids)}
        if missing := ids - found.keys():
            raise InputError(
                f"list {str(path)!r} names {len(missing)} utterances of {split!r} that are not there, for "
                f"instance {min(missing)}: complete that split, or take them out"
            )
        if twice := listed.keys() & found.keys():
            raise InputError(f"list {str(path)!r} names {min(twice)!r} of two splits: take one out")
        listed |= found
    return [listed[identity] for identity in sorted(listed)]
