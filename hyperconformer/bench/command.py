"""``hyperconformer bench``: its arguments, and what happens from them to the report."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hyperconformer.bench.options import NOT_RECORDED, OPTIONS, SUMMARIES, WITH_RECIPE, items, length
from hyperconformer.errors import InputError
from hyperconformer.tables import check_file, record_rows

if TYPE_CHECKING:
    from hyperconformer.bench.cases import Case
    from hyperconformer.bench.report import Row

DEFAULT_REFERENCE = "upstream:hypermixing"
# What has one length to draw against: real utterances do not.
DRAWN = ("mixer", "encoder", "step", "text", "contest")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``bench`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> parser.parse_args(["mixer", "--frames", "100,200"]).lengths
    ['100,200']
    """
    kinds = parser.add_subparsers(dest="kind", required=True, metavar=f"{{{','.join(OPTIONS)}}}")
    for kind, options in OPTIONS.items():
        summary = SUMMARIES[kind]
        # What looks like an option cut short may be a key of the recipe.
        subparser = kinds.add_parser(
            kind, help=summary, description=summary, allow_abbrev=kind not in WITH_RECIPE
        )
        for flag, settings in options:
            subparser.add_argument(flag, **settings)
        if kind in WITH_RECIPE:
            subparser.set_defaults(further=[])
        if kind == "hear":
            subparser.set_defaults(device="cpu", modes=["eager"])


def spelt(arguments: argparse.Namespace) -> list[str]:
    """Write down the arguments that differ from their defaults.

    Parameters
    ----------
    arguments : argparse.Namespace

    Returns
    -------
    list of str

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> spelt(parser.parse_args(["mixer", "--seed=0", "--frames", "9", "--forward_only", "--record=a.md"]))
    ['bench', 'mixer', '--frames', '9', '--forward_only']
    """
    words = ["bench", arguments.kind]
    if arguments.kind in WITH_RECIPE:
        # A contest's recipes are its budget's.
        words += [*filter(None, [getattr(arguments, "recipe", None)]), *arguments.further]
    for flag, settings in OPTIONS[arguments.kind]:
        if not flag.startswith("--"):
            continue
        value = getattr(arguments, settings.get("dest", flag[2:]))
        if flag in NOT_RECORDED or value == settings.get("default", False) or value is None:
            continue
        words.append(flag)
        if value is not True:
            words += map(str, value if isinstance(value, list) else [value])
    return words


def _lengths(arguments: argparse.Namespace) -> list[tuple[float, int]]:
    """Seconds and batch size of every length."""
    lengths = []
    for item in items(arguments.lengths):
        seconds = length(item) * (0.04 if arguments.kind == "mixer" else 1.0)
        batch_size = arguments.batch_size or max(1, int(arguments.batch_seconds // seconds))
        lengths.append((seconds, batch_size))
    return lengths


def _systems(arguments: argparse.Namespace, ours: Sequence[str], reference: str) -> list[str]:
    """What was asked for; else all of ours, and SpeechBrain's where it is installed."""
    from hyperconformer.bench.cases import check_systems

    upstream_installed = find_spec("speechbrain") is not None
    default = [*ours, *([reference] if upstream_installed else [])]
    systems = items(arguments.mixers) if arguments.mixers else default
    check_systems(systems, upstream_installed=upstream_installed)
    return list(dict.fromkeys(systems))


def _against(arguments: argparse.Namespace, systems: Sequence[str], option: str = "--mixers") -> str:
    if arguments.against is None:
        upstream = [system for system in systems if system.startswith("upstream:")]
        return [*upstream, *(s for s in systems if s == "attention"), *systems][0]
    if arguments.against not in systems:
        raise InputError(f"--against {arguments.against} is not measured: add it to {option}")
    return str(arguments.against)


def _templates(arguments: argparse.Namespace) -> "list[Case]":
    """One case a mode, its system and length yet to be filled in."""
    from hyperconformer.bench.cases import PARTS, Case, Sizes

    modes = items(arguments.modes)
    for mode in modes:
        if mode not in ("eager", "compile"):
            raise InputError(f"--modes {mode}: choose from eager, compile")
    chosen = {name: getattr(arguments, name) for name in Sizes.__annotations__ if hasattr(arguments, name)}
    return [
        Case(
            arguments.kind,
            "identity",
            PARTS[arguments.kind][0],
            seconds=1.0,
            batch_size=1,
            mode=mode,
            repeats=arguments.repeats,
            seed=arguments.seed,
            sizes=Sizes(**chosen),
            **_machine(arguments),
        )
        for mode in modes
    ]


def _usual_threads() -> int:
    """What the environment says, which may be a list for nested loops; else all cores that we may use."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(said) if said.isdecimal() and int(said) else len(os.sched_getaffinity(0))


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a case runs on, and how long it may."""
    from hyperconformer.device import check_device

    device = check_device(arguments.device)
    precision = getattr(arguments, "precision", "fp32")
    if precision == "fp16" and device == "cpu":
        raise InputError("--precision fp16 needs --device cuda: use bf16 on a CPU")
    return {
        "device": arguments.device,
        "precision": precision,
        "threads": arguments.threads or _usual_threads(),
        # Trainings have no limit.
        "limit_seconds": getattr(arguments, "limit", 0.0),
    }


Plan = tuple["list[Case]", str]


@contextmanager
def _synthetic(arguments: argparse.Namespace) -> Iterator[Plan]:
    """Cases on noise, and the system that they are compared with."""
    from hyperconformer.bench.runner import plan
    from hyperconformer.mixers import MIXERS

    systems, lengths = _systems(arguments, list(MIXERS), DEFAULT_REFERENCE), _lengths(arguments)
    cases = [case for template in _templates(arguments) for case in plan(template, systems, lengths)]
    if getattr(arguments, "forward_only", False):
        cases = [case for case in cases if case.part == "forward"]
    yield cases, _against(arguments, systems)


@contextmanager
def _training(arguments: argparse.Namespace) -> Iterator[Plan]:
    """The same of a recipe; its data lies ready as long as the cases are of use."""
    from dataclasses import replace

    from hyperconformer.bench import recipe
    from hyperconformer.training.command import CommandLine

    machine, file = _machine(arguments), arguments.recipe
    line = CommandLine.parse([file, *arguments.further])
    if line.run_options:
        raise InputError(f"--{next(iter(line.run_options))} is an option of train.py, not of bench train")
    with TemporaryDirectory() as folder:
        settings = recipe.read_settings(file, line.overrides, Path(folder))
        ours = settings.model.mixer
        systems = _systems(arguments, [ours], recipe.counterpart(ours))
        against = _against(arguments, systems)
        recipe.check_comparable(settings, systems)
        counts = {"repeats": arguments.steps, "warm_up": arguments.warm_up}
        template = recipe.template(settings, file, line.overrides, **machine, **counts)
        recipe.prepare(settings, file, progress=sys.stderr.isatty())
        eager = [replace(template, system=system) for system in systems]
        compiled = [replace(case, mode="compile") for case in eager if not case.is_upstream]
        yield [*(compiled if arguments.compile else []), *eager], against


@contextmanager
def _decoding(arguments: argparse.Namespace) -> Iterator[Plan]:
    """The same of a search, every beam, count of steps and language model at every length."""
    from hyperconformer.bench.decode_plan import plan_decoding

    machine = _machine(arguments)
    cases = plan_decoding(arguments, machine, upstream_installed=find_spec("speechbrain") is not None)
    yield cases, _against(arguments, list(dict.fromkeys(case.system for case in cases)), "--searches")


@contextmanager
def _hearing(arguments: argparse.Namespace) -> Iterator[Plan]:
    """The same by PyTorch and by onnxruntime; the files lie ready as long as the cases are of use."""
    from dataclasses import replace

    from hyperconformer.bench.hearing import export_all, systems_of
    from hyperconformer.bench.runner import plan

    systems = systems_of(items(arguments.mixers))
    [template], lengths = _templates(arguments), _lengths(arguments)
    against = _against(arguments, systems)
    with TemporaryDirectory() as folder:
        cases = plan(replace(template, files=folder, clock=arguments.clock), systems, lengths)
        export_all(cases, _say)
        yield cases, against


@contextmanager
def _transcribing(arguments: argparse.Namespace) -> Iterator[Plan]:
    """The same of transcription; long recordings lie ready as long as the cases are of use."""
    from hyperconformer.bench.transcribe_plan import plan_transcribing

    machine = _machine(arguments)
    with TemporaryDirectory() as folder:
        cases = plan_transcribing(arguments, machine, Path(folder), _say)
        yield cases, _against(arguments, list(dict.fromkeys(case.system for case in cases)), "--parts")


PLANS: dict[str, Callable[[argparse.Namespace], AbstractContextManager[Plan]]] = {
    "mixer": _synthetic,
    "encoder": _synthetic,
    "hear": _hearing,
    "step": _synthetic,
    "train": _training,
    "decode": _decoding,
    "transcribe": _transcribing,
}


def _prepare_output(arguments: argparse.Namespace) -> None:
    """Refuse what would go wrong after the measuring, before it."""
    if arguments.output is not None:
        from hyperconformer.bench.figures import require_matplotlib

        if arguments.kind in DRAWN:
            require_matplotlib()
        try:
            Path(arguments.output).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--output {arguments.output} cannot be made: {error.strerror}") from error
    if arguments.record is not None:
        check_file("--record", Path(arguments.record))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _report(arguments: argparse.Namespace, rows: "list[Row]", against: str) -> None:
    """Print the table; write what was asked for, or the JSON to standard output if no folder takes it."""
    from hyperconformer.bench.columns import text_table
    from hyperconformer.bench.record import Origin, table_of, to_dict

    origin = Origin.of(spelt(arguments), rows[0].case)
    said = json.dumps(to_dict(arguments.kind, rows, against, origin))
    if arguments.output is not None:
        from hyperconformer.bench.figures import draw

        folder = Path(arguments.output)
        (folder / "bench.json").write_text(said + "\n", encoding="utf-8")
        if arguments.kind in DRAWN:
            draw(rows, folder)
    if arguments.record is not None:
        record_rows(Path(arguments.record), *table_of(arguments.kind, rows, against, origin))
    print(text_table(rows, against))
    if arguments.output is None:
        print(said, flush=True)


def run(arguments: argparse.Namespace) -> int:
    """Measure and report.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_arguments` declares them.

    Returns
    -------
    int
        0, or 1 if a system is not correct: then nothing is reported.

    Raises
    ------
    InputError
        If an argument is of no use.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> run(parser.parse_args(["mixer", "--mixers", "fourrier"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --mixers fourrier: choose from hypermixing, ...
    """
    _prepare_output(arguments)
    return RUNS.get(arguments.kind, _run_cases)(arguments)


def _run_cases(arguments: argparse.Namespace) -> int:
    from hyperconformer.bench.checks import CheckFailed
    from hyperconformer.bench.report import rows_of
    from hyperconformer.bench.runner import run_rounds

    with PLANS[arguments.kind](arguments) as (cases, against):
        try:
            outcomes = run_rounds(cases, arguments.rounds, _say)
        except CheckFailed as error:
            _say(f"error: not measured: {error}")
            return 1
    _report(arguments, rows_of(outcomes, against), against)
    return 0


def _run_text(arguments: argparse.Namespace) -> int:
    from hyperconformer.bench.text.run import run_text

    return run_text(arguments, spelt(arguments), _machine(arguments), _say)


def _run_contest(arguments: argparse.Namespace) -> int:
    from hyperconformer.bench.contest.run import run_contest

    return run_contest(arguments, spelt(arguments), _machine(arguments), _say)


# These have trainings, beside cases or alone.
RUNS: dict[str, Callable[[argparse.Namespace], int]] = {"text": _run_text, "contest": _run_contest}
