"""The process of one training: the run as JSON on standard input, what it found as the last line."""

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from hyperconformer.bench.trainings.runs import Found
from hyperconformer.errors import InputError
from hyperconformer.training.progress import Stopped, TooLittleMemory, TooManySkipped

F = TypeVar("F", bound=Found)
Train = Callable[[Mapping[str, Any]], Found]


def answer(train: Train) -> None:
    """Answer one run.

    Parameters
    ----------
    train : callable
        Takes the run's ``key``, ``recipe``, ``overrides``, ``run_options`` and ``further``.

    Raises
    ------
    SystemExit
        With one line, where the training cannot be done or was asked to stop.

    Examples
    --------
    >>> import io
    >>> sys.stdin = io.StringIO('{"key": "k"}')
    >>> answer(lambda asked: Found(asked["key"], "ok", train_seconds=2.0))
    {"key": "k", "status": "ok", ... "train_seconds": 2.0}
    """
    asked = json.loads(sys.stdin.read())
    try:
        # Training talks; the answer must stay alone.
        with contextlib.redirect_stdout(sys.stderr):
            found = train(asked)
    except InputError as error:
        sys.exit(f"error: {error}")
    except Stopped as stopped:
        sys.exit(str(stopped))
    print(json.dumps(asdict(found)), flush=True)


def or_diverged(train: Callable[[], F], kind: type[F], key: str) -> F:
    """Train; that it diverged is an answer like others.

    Parameters
    ----------
    train : callable
    kind : type
        Of what is found.
    key : str
        Of the run.

    Returns
    -------
    Found

    Raises
    ------
    TooLittleMemory
        Which says nothing about the system: it may be tried again.

    Examples
    --------
    >>> def train():
    ...     raise TooManySkipped("10 steps in a row were skipped")
    >>> or_diverged(train, Found, "k").status
    'diverged'
    """
    try:
        return train()
    except TooLittleMemory:
        raise
    except TooManySkipped as error:
        return kind(key, "diverged", str(error))
