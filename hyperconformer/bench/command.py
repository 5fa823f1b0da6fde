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

from hyperconformer.errors import InputError
from hyperconformer.tables import check_file, record_rows

if TYPE_CHECKING:
    from hyperconformer.bench.cases import Case
    from hyperconformer.bench.report import Row

Option = tuple[str, dict[str, Any]]

DEFAULT_REFERENCE = "upstream:hypermixing"


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


_positive.__name__ = "positive whole number"

_COMMON: tuple[Option, ...] = (
    ("--device", {"default": "cpu", "help": "cpu or cuda"}),
    ("--precision", {"default": "fp32", "choices": ("fp32", "bf16", "fp16"), "help": "fp16 needs a GPU"}),
    ("--modes", {"nargs": "+", "default": ["eager"], "help": "eager, compile (torch.compile) or both"}),
    ("--mixers", {"nargs": "+", "help": "default: all of ours, and SpeechBrain's upstream:hypermixing"}),
    ("--against", {"metavar": "NAME", "help": "system that ratios refer to: the first upstream one"}),
    ("--threads", {"type": _positive, "help": "of the CPU; default: all cores"}),
    ("--repeats", {"type": _positive, "default": 10, "help": "timed runs of a process"}),
    (
        "--rounds",
        {"type": _positive, "default": 3, "help": "processes of a case, taking turns with the others"},
    ),
    ("--limit", {"type": float, "default": 600.0, "metavar": "SECONDS", "help": "longest life of a process"}),
    ("--seed", {"type": int, "default": 0, "help": "of weights and input"}),
    ("--d_model", {"type": _positive, "default": 144, "help": "feature size"}),
    ("--heads", {"type": _positive, "default": 8, "help": "heads"}),
    ("--output", {"metavar": "DIR", "help": "write bench.json and two figures"}),
    ("--record", {"metavar": "FILE", "help": "append the rows to its tables, for instance to RESULTS.md"}),
)
# The recipe decides.
_NOT_OF_TRAINING = ("--modes", "--repeats", "--seed", "--d_model", "--heads")
_FORWARD_ONLY: Option = ("--forward_only", {"action": "store_true", "help": "leave the backward pass out"})
_LAYERS: Option = ("--layers", {"type": _positive, "default": 10, "help": "encoder layers"})


def _batch_size(default: int | None) -> Option:
    return "--batch_size", {"type": _positive, "default": default, "help": "utterances"}


def _batch_seconds(default: float) -> Option:
    what = "without --batch_size: as many utterances as make so much audio, at least one"
    return "--batch_seconds", {"type": float, "default": default, "help": what}


def _length(flag: str, default: Sequence[str], what: str) -> Option:
    return flag, {"nargs": "+", "default": list(default), "dest": "lengths", "help": what}


OPTIONS: dict[str, tuple[Option, ...]] = {
    "mixer": (
        _length("--frames", ["375"], "encoder frames of 40 ms, one or more lengths"),
        _batch_size(8),
        _FORWARD_ONLY,
        *_COMMON,
    ),
    "encoder": (
        _length("--lengths", ["5", "15", "60", "600"], "seconds, one or more"),
        _batch_size(None),
        _batch_seconds(120.0),
        _FORWARD_ONLY,
        _LAYERS,
        *_COMMON,
    ),
    "step": (
        _length("--seconds", ["15"], "of an utterance, one or more lengths"),
        _batch_size(None),
        _batch_seconds(600.0),
        _LAYERS,
        ("--decoder_layers", {"type": _positive, "default": 4, "help": "decoder layers"}),
        ("--output_neurons", {"type": _positive, "default": 5000, "help": "tokens"}),
        *_COMMON,
    ),
    "train": (
        ("recipe", {"metavar": "RECIPE.yaml", "help": "as of train.py, with any --key=value of it"}),
        ("--steps", {"type": _positive, "help": "timed steps of a process; default: 12, on a GPU 100"}),
        (
            "--warm_up",
            {"type": _positive, "help": "steps before; default: 3, on a GPU what workers hold too"},
        ),
        (
            "--compile",
            {"action": "store_true", "help": "measure ours compiled too, as train.py --compile does"},
        ),
        *(option for option in _COMMON if option[0] not in _NOT_OF_TRAINING),
    ),
}
SUMMARIES = {
    "mixer": "a token mixer alone",
    "encoder": "front-end and encoder of the 8M system",
    "step": "a whole training step of the 8M system",
    "train": "training of a recipe on real speech",
}
# They say where the numbers go, not how they came about.
NOT_RECORDED = ("--output", "--record")


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
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{mixer,encoder,step,train}")
    for kind, options in OPTIONS.items():
        summary = SUMMARIES[kind]
        # What looks like an option cut short may be a key of the recipe.
        subparser = kinds.add_parser(kind, help=summary, description=summary, allow_abbrev=kind != "train")
        for flag, settings in options:
            subparser.add_argument(flag, **settings)
        if kind == "train":
            # The command line may have more: keys of the recipe and their values.
            subparser.set_defaults(further=[])


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
    if arguments.kind == "train":
        words += [arguments.recipe, *arguments.further]
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


def _items(values: Sequence[str]) -> list[str]:
    return [item for value in values for item in value.split(",") if item]


def _lengths(arguments: argparse.Namespace) -> list[tuple[float, int]]:
    """Seconds and batch size of every length."""
    lengths = []
    for item in _items(arguments.lengths):
        try:
            seconds = float(item) * (0.04 if arguments.kind == "mixer" else 1.0)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < 1e6:
            raise InputError(f"length {item!r} is no positive number")
        batch_size = arguments.batch_size or max(1, int(arguments.batch_seconds // seconds))
        lengths.append((seconds, batch_size))
    return lengths


def _systems(arguments: argparse.Namespace, ours: Sequence[str], reference: str) -> list[str]:
    """What was asked for; else all of ours, and SpeechBrain's where it is installed."""
    from hyperconformer.bench.cases import check_systems

    upstream_installed = find_spec("speechbrain") is not None
    default = [*ours, *([reference] if upstream_installed else [])]
    systems = _items(arguments.mixers) if arguments.mixers else default
    check_systems(systems, upstream_installed=upstream_installed)
    return list(dict.fromkeys(systems))


def _against(arguments: argparse.Namespace, systems: Sequence[str]) -> str:
    if arguments.against is None:
        upstream = [system for system in systems if system.startswith("upstream:")]
        return [*upstream, *(s for s in systems if s == "attention"), *systems][0]
    if arguments.against not in systems:
        raise InputError(f"--against {arguments.against} is not measured: add it to --mixers")
    return str(arguments.against)


def _templates(arguments: argparse.Namespace) -> "list[Case]":
    """One case a mode, its system and length yet to be filled in."""
    from hyperconformer.bench.cases import PARTS, Case, Sizes

    modes = _items(arguments.modes)
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


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a case runs on, and how long it may."""
    from hyperconformer.device import check_device

    device = check_device(arguments.device)
    if arguments.precision == "fp16" and device == "cpu":
        raise InputError("--precision fp16 needs --device cuda: use bf16 on a CPU")
    return {
        "device": arguments.device,
        "precision": arguments.precision,
        "threads": arguments.threads or len(os.sched_getaffinity(0)),
        "limit_seconds": arguments.limit,
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


PLANS: dict[str, Callable[[argparse.Namespace], AbstractContextManager[Plan]]] = {
    "mixer": _synthetic,
    "encoder": _synthetic,
    "step": _synthetic,
    "train": _training,
}


def _prepare_output(arguments: argparse.Namespace) -> None:
    """Refuse what would go wrong after the measuring, before it."""
    if arguments.output is not None:
        from hyperconformer.bench.figures import require_matplotlib

        if arguments.kind != "train":
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
    """Print the table and the JSON; write what was asked for."""
    from hyperconformer.bench.record import Origin, table_of, to_dict
    from hyperconformer.bench.report import text_table

    origin = Origin.of(spelt(arguments), rows[0].case)
    said = json.dumps(to_dict(arguments.kind, rows, against, origin))
    if arguments.output is not None:
        from hyperconformer.bench.figures import draw

        folder = Path(arguments.output)
        (folder / "bench.json").write_text(said + "\n", encoding="utf-8")
        # Real utterances have no one length to draw against.
        if arguments.kind != "train":
            draw(rows, folder)
    if arguments.record is not None:
        record_rows(Path(arguments.record), *table_of(arguments.kind, rows, against, origin))
    print(text_table(rows, against))
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
    from hyperconformer.bench.checks import CheckFailed
    from hyperconformer.bench.report import rows_of
    from hyperconformer.bench.runner import run_rounds

    _prepare_output(arguments)
    with PLANS[arguments.kind](arguments) as (cases, against):
        try:
            outcomes = run_rounds(cases, arguments.rounds, _say)
        except CheckFailed as error:
            _say(f"error: not measured: {error}")
            return 1
    _report(arguments, rows_of(outcomes, against), against)
    return 0
