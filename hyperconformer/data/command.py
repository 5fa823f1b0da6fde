"""``hyperconformer prepare``: its arguments, and the reports it prints."""

import argparse
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperconformer.errors import InputError

if TYPE_CHECKING:
    from hyperconformer.data.custom import Prepared

Option = tuple[str, dict[str, Any]]

_OUTPUT = "folder for the manifests, <split>.csv"
_QUIET: Option = ("--noprogressbar", {"action": "store_true", "help": "show no bars"})
FORM_NAMES = ("folder", "csv", "jsonl", "lhotse", "hugging_face")
"""The keys of custom.FORMS, which would be slow to import here."""

OPTIONS: dict[str, tuple[Option, ...]] = {
    "librispeech": (
        ("--data_folder", {"required": True, "metavar": "DIR", "help": "folder that holds the splits"}),
        ("--splits", {"nargs": "+", "metavar": "SPLIT", "help": "default: all that are there"}),
        ("--download", {"action": "store_true", "help": "fetch those of the splits that are not there"}),
        ("--mirror", {"metavar": "URL", "help": "default: https://www.openslr.org/resources"}),
        ("--keep_archives", {"action": "store_true", "help": "do not delete what was unpacked"}),
        ("--output", {"metavar": "DIR", "help": f"{_OUTPUT}; default: manifests in the data folder"}),
        ("--decode", {"action": "store_true", "help": "decode all audio, not only its headers"}),
        _QUIET,
    ),
    "custom": (
        ("source", {"metavar": "SOURCE", "help": "folder, .csv, .tsv, .jsonl, cuts, .arrow, .parquet"}),
        ("--output", {"required": True, "metavar": "DIR", "help": _OUTPUT}),
        ("--split", {"default": "train", "metavar": "NAME", "help": "name of the manifest (train)"}),
        ("--form", {"choices": FORM_NAMES, "help": "of the source; default: found out"}),
        ("--transcript", {"metavar": "FILE", "help": "of a folder: a line has a file's name and its words"}),
        ("--audio_root", {"metavar": "DIR", "help": "where relative paths begin; default: at the source"}),
        (
            "--columns",
            {"nargs": "+", "default": [], "metavar": "WHAT=NAME",
             "help": "names of columns: audio, text, id, speaker, start, seconds"},
        ),
        (
            "--speaker_from",
            {"choices": ("folder", "name"), "default": "folder",
             "help": "without a speaker column: the first folder, or a file's name up to its first hyphen"},
        ),
        ("--upper", {"action": "store_const", "const": "upper", "dest": "case", "help": "upper case"}),
        ("--lower", {"action": "store_const", "const": "lower", "dest": "case", "help": "lower case"}),
        ("--strip_punctuation", {"action": "store_true", "help": "keep letters, digits, inner apostrophes"}),
        ("--min_seconds", {"type": float, "default": 0.0, "metavar": "S", "help": "drop shorter ones"}),
        ("--max_seconds", {"type": float, "default": math.inf, "metavar": "S", "help": "drop longer ones"}),
        ("--drop_bad", {"action": "store_true", "help": "leave out what cannot be read or has no words"}),
        ("--headers_only", {"action": "store_true", "help": "do not decode whole files to check them"}),
        _QUIET,
    ),
}  # fmt: skip
SUMMARIES = {
    "librispeech": "LibriSpeech, mini-LibriSpeech or any folder laid out like them",
    "custom": "your own recordings: a folder, a CSV or JSONL table, lhotse cuts, a Hugging Face data set",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``prepare`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> parser.parse_args(["custom", "a.csv", "--output", "out", "--upper"]).case
    'upper'
    """
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{librispeech,custom}")
    for kind, options in OPTIONS.items():
        subparser = kinds.add_parser(kind, help=SUMMARIES[kind], description=SUMMARIES[kind])
        for flag, settings in options:
            subparser.add_argument(flag, **settings)


def run(arguments: argparse.Namespace) -> int:
    """Prepare and report.

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
        If an argument is of no use, or the data is missing or faulty.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> run(parser.parse_args(["librispeech", "--data_folder", "/nowhere"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder '/nowhere' does not exist or is no folder: ...
    """
    preparations: dict[str, Callable[[argparse.Namespace], None]] = {
        "librispeech": _librispeech,
        "custom": _custom,
    }
    preparations[arguments.kind](arguments)
    return 0


def _librispeech(arguments: argparse.Namespace) -> None:
    """Fetch what is missing if that is wanted, check everything, write the manifests."""
    from hyperconformer.data.archives import ARCHIVES, MIRROR, fetch_split
    from hyperconformer.data.librispeech import prepare_librispeech, splits_in
    from hyperconformer.data.manifest import read_manifest
    from hyperconformer.data.summary import describe

    folder, progress = Path(arguments.data_folder), not arguments.noprogressbar
    if arguments.download:
        if not arguments.splits:
            raise InputError(f"--download needs --splits: name some of {', '.join(ARCHIVES)}")
        for split in arguments.splits:
            fetch_split(
                folder,
                split,
                mirror=arguments.mirror or MIRROR,
                keep_archive=arguments.keep_archives,
                progress=progress,
            )
    splits = arguments.splits or splits_in(folder)
    if not splits:
        raise InputError(
            f"{str(folder)!r} holds no split, no <split>/<speaker>/<chapter>/*.trans.txt: name another "
            f"folder, or fetch some of {', '.join(ARCHIVES)} by --download --splits ..."
        )
    output = Path(arguments.output) if arguments.output else folder / "manifests"
    manifests = prepare_librispeech(folder, splits, output, decode=arguments.decode, progress=progress)
    for split, manifest in manifests.items():
        utterances = read_manifest(manifest)
        print(f"{describe(split, utterances)}\n  -> {manifest}")
        if split in ARCHIVES and len(utterances) != ARCHIVES[split].utterances:
            print(f"  not the whole split, which has {ARCHIVES[split].utterances} utterances")


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    from hyperconformer.data.sources import COLUMNS

    columns = dict(pair.partition("=")[::2] for pair in pairs)
    for key, name in columns.items():
        if key not in COLUMNS or not name:
            raise InputError(f"--columns {key}={name}: write WHAT=NAME, WHAT one of {', '.join(COLUMNS)}")
    return columns


def _custom(arguments: argparse.Namespace) -> None:
    """Check a source and write its manifest."""
    from hyperconformer.data.custom import Choices, prepare_custom
    from hyperconformer.data.sources import Source

    source = Source(
        Path(arguments.source),
        audio_root=Path(arguments.audio_root) if arguments.audio_root else None,
        transcript=Path(arguments.transcript) if arguments.transcript else None,
        columns=_columns(arguments.columns),
        form=arguments.form,
    )
    choices = Choices(
        case=arguments.case or "keep",
        strip_punctuation=arguments.strip_punctuation,
        min_seconds=arguments.min_seconds,
        max_seconds=arguments.max_seconds,
        drop_bad=arguments.drop_bad,
        decode=not arguments.headers_only,
        speaker_from=arguments.speaker_from,
    )
    prepared = prepare_custom(
        source,
        Path(arguments.output),
        arguments.split,
        choices,
        progress=not arguments.noprogressbar,
    )
    print(_report(arguments.split, prepared))


def _report(split: str, prepared: "Prepared") -> str:
    """What is in the manifest, and what is not."""
    from hyperconformer.data.summary import describe

    lines = [describe(split, prepared.utterances)]
    reasons = Counter(one.reason for one in prepared.dropped)
    for reason, count in sorted(reasons.items()):
        first = next(one for one in prepared.dropped if one.reason == reason)
        lines.append(f"  left out: {count} with {reason}, e.g. {first.where}: {first.detail}")
    if prepared.dropped:
        lines.append(f"  all of them in {prepared.manifest.with_name(f'{split}-dropped.txt')}")
    lines += [f"  note: {note}" for note in prepared.notes]
    return "\n".join([*lines, f"  -> {prepared.manifest}"])
