"""``hyperconformer check`` and ``hyperconformer push``: their arguments."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

MODEL_HELP = "model folder, or hf://OWNER/NAME@REVISION on the Hugging Face hub"


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``check`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_check_arguments(parser)
    >>> parser.parse_args(["model", "--json"]).json
    True
    """
    parser.add_argument("model", metavar="DIR", help=MODEL_HELP)
    parser.add_argument("--json", action="store_true", help="for programs")


def run_check(arguments: argparse.Namespace) -> int:
    """Say what a model folder is and that all of it can be used.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_check_arguments` declares them.

    Returns
    -------
    int
        0.

    Raises
    ------
    InputError
        With the one reason why it cannot.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_check_arguments(parser)
    >>> run_check(parser.parse_args(["no/such/model"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    from hyperconformer.inference.bundle_summary import summarise  # torch is slow to import
    from hyperconformer.inference.hub import resolve_model

    found = summarise(resolve_model(arguments.model))
    if arguments.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print("\n".join([*found.lines(), "ok"]))
    return 0


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``push`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_push_arguments(parser)
    >>> parser.parse_args(["model", "hf://owner/name"]).to
    'hf://owner/name'
    """
    parser.add_argument("model", metavar="DIR", help="model folder that training wrote")
    parser.add_argument("to", metavar="hf://OWNER/NAME", help="repository; made if need be")
    parser.add_argument("--private", action="store_true", help="of a new repository: only you see it")


def run_push(arguments: argparse.Namespace) -> int:
    """Check a model folder, and copy its files to the Hugging Face hub.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_push_arguments` declares them.

    Returns
    -------
    int
        0.

    Raises
    ------
    InputError
        If the folder cannot be used, or the hub not be reached or written.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_push_arguments(parser)
    >>> run_push(parser.parse_args(["model", "owner/name"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'owner/name' names no repository: write hf://OWNER/NAME
    """
    from hyperconformer.inference.hub import parse_name, push

    name = parse_name(arguments.to)
    if name.revision is not None:
        raise name.refused("a push makes a revision of its own: leave out what follows @")
    from hyperconformer.inference.bundle_summary import summarise  # torch is slow to import

    folder = Path(arguments.model)
    found = summarise(folder)
    print(push(folder, list(found.files), name, private=arguments.private))
    return 0
