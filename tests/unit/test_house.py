"""The house rules that can be counted: sizes, documentation, comments and what the scripts import."""

import ast
import configparser
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = sorted((ROOT / "hyperconformer").rglob("*.py"))
SCRIPTS = sorted([*ROOT.glob("train.py"), *(ROOT / "recipes").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MAX_FILE, MAX_FUNCTION, USUAL_FUNCTION, USUAL_SHARE, MAX_TRAIN = 400, 60, 40, 0.9, 90
MAX_BASE_YAML, MAX_VARIANT_DECISIONS = 90, 25
SCRIPT_IMPORTS = {"hyperconformer", "speechbrain", "torch", "hyperpyyaml"} | sys.stdlib_module_names

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
BANNER = re.compile(r"[-=#*~_]{4,}")
BARE_IGNORE = re.compile(r"type:\s*ignore(?!\[[\w, -]+\]\s*#\s*\w)")

Checker = Callable[[str], list[str]]


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, docstring included."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def size_faults(source: str) -> list[str]:
    """Files and functions that want to be two rooms."""
    lines = len(source.splitlines())
    faults = [f"{lines} lines, more than {MAX_FILE}"] if lines > MAX_FILE else []
    long = [f for f in functions(source) if length(f) > MAX_FUNCTION]
    return faults + [
        f"line {f.lineno}: {f.name} has {length(f)} lines, more than {MAX_FUNCTION}" for f in long
    ]


def example_faults(source: str) -> list[str]:
    """Public functions and classes of a module without a doctest; ``main`` is exempt."""
    faults = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") or node.name == "main":
            continue
        docstring = ast.get_docstring(node) or ""
        if "Examples\n" not in docstring or ">>>" not in docstring:
            faults.append(f"line {node.lineno}: {node.name} has no Examples with a doctest")
    return faults


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every comment."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text


def comment_faults(source: str) -> list[str]:
    """Unfinished work, banners, and ``type: ignore`` without both a code and a reason."""
    faults = [f"line {n}: unfinished work" for n, s in docstrings(source) if UNFINISHED.search(s)]
    for line, comment in comments(source):
        for rule, pattern in (
            ("unfinished work", UNFINISHED),
            ("banner", BANNER),
            ("no reason", BARE_IGNORE),
        ):
            if pattern.search(comment):
                faults.append(f"line {line}: {rule}: {comment}")
    return faults


def import_faults(source: str) -> list[str]:
    """Imports that a script should not make: it tells the story, the package does the work."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = ["." if node.level else str(node.module)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        faults += [f"line {node.lineno}: {n}" for n in names if n.split(".")[0] not in SCRIPT_IMPORTS]
    return faults


def decisions(yaml: str) -> int:
    """Lines of a YAML file that say something: not blank, not a comment."""
    return sum(1 for line in yaml.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def report(checker: Checker, paths: list[Path]) -> list[str]:
    """All faults of a set of files, each with its path."""
    return [
        f"{path.relative_to(ROOT)}: {fault}" for path in paths for fault in checker(path.read_text("utf-8"))
    ]


@pytest.mark.parametrize(
    ("checker", "paths"),
    [
        (size_faults, PACKAGE + SCRIPTS),
        (example_faults, PACKAGE),
        (comment_faults, PACKAGE + SCRIPTS + TESTS),
        (import_faults, SCRIPTS),
    ],
    ids=["sizes", "examples", "comments", "imports of scripts"],
)
def test_house_rule(checker: Checker, paths: list[Path]) -> None:
    assert paths
    faults = report(checker, paths)
    assert not faults, "\n".join(faults)


def test_nine_functions_in_ten_are_short() -> None:
    lengths = [length(f) for path in PACKAGE + SCRIPTS for f in functions(path.read_text("utf-8"))]
    assert sum(n <= USUAL_FUNCTION for n in lengths) >= USUAL_SHARE * len(lengths)


def test_train_py_tells_the_story_on_one_screen_and_a_half() -> None:
    assert len((ROOT / "train.py").read_text("utf-8").splitlines()) <= MAX_TRAIN


def test_configs_hold_decisions_only() -> None:
    texts = sorted((ROOT / "recipes/TextClassification/hparams").glob("*.yaml"))
    bases = [*(ROOT / "hparams/base").glob("*.yaml"), *(p for p in texts if p.stem == "base")]
    variants_of = [*(ROOT / "hparams").glob("*.yaml"), *(p for p in texts if p.stem != "base")]
    base = {p.name: len(p.read_text("utf-8").splitlines()) for p in bases}
    variants = {p.name: decisions(p.read_text("utf-8")) for p in variants_of}
    assert variants, "no YAML in hparams/"
    assert not {name: n for name, n in base.items() if n > MAX_BASE_YAML}
    assert not {name: n for name, n in variants.items() if n > MAX_VARIANT_DECISIONS}


def test_every_folder_of_tests_is_run() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    listed = setup["tool:pytest"]["testpaths"].split()
    assert {path.parent.relative_to(ROOT).as_posix() for path in TESTS if path.match("test_*.py")} <= set(
        listed
    )


def test_the_command_line_answers_before_torch_is_imported() -> None:
    probe = "import sys, hyperconformer.cli; print({'torch', 'speechbrain'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stdout + done.stderr


BAD = [
    (size_faults, "\n" * (MAX_FILE + 1), 1),
    (size_faults, "def f():\n" + "    x = 1\n" * MAX_FUNCTION, 1),
    (size_faults, "class C:\n    async def f(self):\n" + "        x = 1\n" * MAX_FUNCTION, 1),
    (example_faults, 'def f():\n    """Say it."""\n\nclass C:\n    pass\n', 2),
    (example_faults, 'def f():\n    """Say it.\n\n    Examples\n    --------\n    Use it.\n    """\n', 1),
    (comment_faults, "x = 1  # TODO: later\n", 1),
    (comment_faults, 'def f():\n    """Work.\n\n    FIXME: it does not.\n    """\n', 1),
    (comment_faults, "# ---------- helpers ----------\n", 1),
    (comment_faults, "x = f()  # type: ignore\n", 1),
    (comment_faults, "x = f()  # type: ignore[attr-defined]\n", 1),
    (import_faults, "import numpy as np\nfrom . import helper\nfrom scipy.stats import norm\n", 3),
]

GOOD = [
    (size_faults, "def f():\n" + "    x = 1\n" * (MAX_FUNCTION - 1)),
    (example_faults, 'def f():\n    """Say it.\n\n    Examples\n    --------\n    >>> f()\n    """\n'),
    (example_faults, "def main():\n    pass\n\ndef _f():\n    pass\n"),
    (
        comment_faults,
        "x = f()  # type: ignore[attr-defined]  # the stub lags behind\n# why: (B, T, D) -- once\n",
    ),
    (import_faults, "import os.path\nfrom speechbrain.core import Brain\nimport hyperconformer.cli\n"),
]


@pytest.mark.parametrize(("checker", "source", "faults"), BAD)
def test_the_checks_can_fail(checker: Checker, source: str, faults: int) -> None:
    assert len(checker(source)) == faults


@pytest.mark.parametrize(("checker", "source"), GOOD)
def test_the_checks_can_pass(checker: Checker, source: str) -> None:
    assert checker(source) == []


def test_decisions_are_counted_without_blanks_and_comments() -> None:
    assert decisions("# why\n\nseed: 1234\n  # aside\nname: mini  # here\n") == 2
