"""Versions of this package, of what it needs and of what it can do without; whether the large ones import."""

import json
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

from hyperconformer import __version__
from hyperconformer.doctor.findings import Finding, fault, ok, warning
from hyperconformer.provenance import commit

PACKAGE = "hyperconformer"
# They hold compiled code and are what goes wrong; each is imported in a process of its own.
LARGE = ("torch", "torchaudio", "speechbrain")
SECONDS = 300
REINSTALL = "pip install -c constraints.txt -e . (in a fresh virtual environment if that changes nothing)"
FOR_TESTS = "test"


def own() -> Iterator[Finding]:
    """Name Python and this package.

    Yields
    ------
    Finding

    Examples
    --------
    >>> [finding.subject for finding in own()]
    ['python', 'hyperconformer']
    """
    where = f"{platform.python_version()}, {sys.executable}"
    if (3, 11) <= sys.version_info < (3, 13):
        yield ok("python", where)
    else:
        yield warning("python", where, "this package is tested on Python 3.11 and 3.12")
    yield ok(PACKAGE, f"{__version__}, commit {commit() or 'unknown (not a checkout)'}")


def requirements() -> Iterator[Finding]:
    """Compare what is installed with what this package asks for.

    Yields
    ------
    Finding
        One for each requirement that is not met, one for all others, one for each extra.

    Examples
    --------
    >>> any(finding.subject == "libraries" for finding in requirements())
    True
    """
    try:
        from packaging.requirements import Requirement

        wanted = [Requirement(line) for line in metadata.requires(PACKAGE) or []]
    except (ImportError, metadata.PackageNotFoundError) as error:
        yield warning("libraries", f"what is needed is not known ({error})", REINSTALL)
        return
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    good = []
    for each in needed:
        version = _version(each.name)
        if version is None:
            yield fault(each.name, "not installed", REINSTALL)
        elif not each.specifier.contains(version, prereleases=True):
            yield warning(each.name, f"{version}, not {each.specifier}", f"pip install '{each}'")
        else:
            good.append(f"{each.name} {version}")
    yield ok("libraries", ", ".join(good))
    extras = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    for extra in sorted(set(extras) - {FOR_TESTS}):
        names = [
            each.name
            for each in wanted
            if each not in needed and each.marker is not None and each.marker.evaluate({"extra": extra})
        ]
        yield _extra(extra, names)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extra(extra: str, names: list[str]) -> Finding:
    """An extra is no fault where it is missing."""
    missing = [name for name in names if _version(name) is None]
    if missing:
        said = f"without {', '.join(missing)}; if it is wanted: pip install '{PACKAGE}[{extra}]'"
        return ok(f"extra {extra}", said)
    return ok(f"extra {extra}", ", ".join(f"{name} {_version(name)}" for name in names))


def import_large(names: Sequence[str] = LARGE) -> dict[str, dict[str, Any]]:
    """Import the large libraries, all at once, each in a process of its own.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    dict of str to dict
        What :func:`hyperconformer.doctor.probe.examine` found; ``error`` where it does not import.

    Examples
    --------
    >>> import_large(["json", "no_such"])
    {'json': {'version': '2.0.9'}, 'no_such': {'error': "ModuleNotFoundError: No module named 'no_such'"}}
    """
    command = [sys.executable, "-m", "hyperconformer.doctor.probe"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = {name: subprocess.Popen([*command, name], **pipes) for name in names}
    return {name: _answer(process) for name, process in processes.items()}


def _answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    try:
        said, complaints = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"error": f"no answer in {SECONDS} seconds"}
    try:
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found
    except (IndexError, ValueError):
        if process.returncode < 0:
            return {"error": f"its process dies of {signal.Signals(-process.returncode).name}"}
        last = (complaints.strip() or "nothing was said").splitlines()[-1]
        return {"error": f"its process ends with status {process.returncode}: {last}"}


def imported(found: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    """Say which large libraries import.

    Parameters
    ----------
    found : dict
        From :func:`import_large`.

    Yields
    ------
    Finding

    Examples
    --------
    >>> found = next(imported({"torch": {"error": "ImportError: no libcudart"}}))
    >>> found.level, found.said
    ('FAULT', 'cannot be imported (ImportError: no libcudart)')
    """
    for name, facts in found.items():
        if "error" in facts:
            yield fault(name, f"cannot be imported ({facts['error']})", REINSTALL)
        else:
            built = f", built for CUDA {facts['cuda']}" if facts.get("cuda") else ""
            yield ok(name, f"{facts['version']} imports{built}")
