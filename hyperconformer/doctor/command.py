"""``hyperconformer doctor``: look at everything, and say what is wrong."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hyperconformer.doctor import codecs, inputs, libraries, machine
from hyperconformer.doctor.findings import Finding, fault

Check = Callable[[], Iterator[Finding]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``doctor`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> parser.parse_args([]).output_folder
    'results'
    """
    parser.add_argument("--model", metavar="DIR", help="also try a model folder")
    parser.add_argument(
        "--data_folder", metavar="DIR", help="also check a corpus: LibriSpeech's layout, or manifests"
    )
    parser.add_argument("--output_folder", default="results", metavar="DIR", help="where results go")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for everything that was looked at.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_arguments` declares them.

    Returns
    -------
    int
        1 if there is a fault, else 0.

    Examples
    --------
    >>> from unittest import mock
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> broken = {"torch": {"error": "ImportError: libcudart.so"}}
    >>> with mock.patch.object(libraries, "import_large", return_value=broken):
    ...     run(parser.parse_args(["--output_folder", "/proc/results"]))
    ok       python         ...
    FAULT    torch          cannot be imported (ImportError: libcudart.so)
    ...
    FAULT    disk           '/proc' cannot be written (...)
                            -> choose another --output_folder
    ...
    1
    """
    levels = []
    for finding in examine(arguments):
        print(finding, flush=True)
        levels.append(finding.level)
    faults, warnings = levels.count("FAULT"), levels.count("warning")
    print(f"faults: {faults}, warnings: {warnings}" if faults or warnings else "all is well")
    return 1 if faults else 0


def examine(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Make every check; one that breaks is itself a fault, and the others go on.

    Parameters
    ----------
    arguments : argparse.Namespace

    Yields
    ------
    Finding

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> next(examine(parser.parse_args([]))).subject
    'python'
    """
    for subject, check in (("versions", libraries.own), ("libraries", libraries.requirements)):
        yield from _guarded(subject, check)
    large = libraries.import_large()
    torch = {} if "error" in large["torch"] else large["torch"]
    for subject, check in _checks(arguments, large, torch):
        yield from _guarded(subject, check)


def _checks(
    arguments: argparse.Namespace, large: dict[str, dict[str, Any]], torch: dict[str, Any]
) -> Iterator[tuple[str, Check]]:
    yield "libraries", lambda: libraries.imported(large)
    yield "processor", lambda: machine.cores(torch)
    yield "GPU", lambda: machine.gpus(torch)
    yield "memory", machine.memory
    yield "disk", lambda: machine.disk(Path(arguments.output_folder))
    yield "codecs", codecs.check
    if arguments.model is not None:
        yield "model", lambda: inputs.model(Path(arguments.model)) if torch else _no_torch()
    if arguments.data_folder is not None:
        yield "data", lambda: inputs.data(Path(arguments.data_folder))


def _no_torch() -> Iterator[Finding]:
    yield fault("model", "not tried: PyTorch cannot be imported", "mend PyTorch first")


def _guarded(subject: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:
        said = f"could not be looked at ({type(error).__name__}: {' '.join(str(error).split())})"
        yield fault(subject, said, "please report this line as a bug")
