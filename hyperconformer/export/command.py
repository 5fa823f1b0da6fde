"""``hyperconformer export`` and ``hyperconformer import-speechbrain``: their arguments."""

import argparse
from collections.abc import Callable
from pathlib import Path

from hyperconformer.errors import InputError
from hyperconformer.export.speechbrain_search import TOLD, search_options
from hyperconformer.inference.search_flags import add_search_options, given_options


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``import-speechbrain`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_import_arguments(parser)
    >>> parser.parse_args(["results", "--output", "model"]).folder
    'results'
    """
    parser.add_argument(
        "folder", metavar="DIR", help="output folder of a SpeechBrain recipe, or one checkpoint"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="model folder to write")
    parser.add_argument("--nhead", type=int, metavar="N", help="heads, where the recipe's YAML is missing")
    parser.add_argument("--n_fft", type=int, metavar="N", help="points of the Fourier transform, likewise")


def run_import(arguments: argparse.Namespace) -> int:
    """Turn a SpeechBrain checkpoint into a model folder, and say which checkpoint it was.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_import_arguments` declares them.

    Returns
    -------
    int
        0.

    Raises
    ------
    InputError
        If the checkpoint cannot be used.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_import_arguments(parser)
    >>> run_import(parser.parse_args(["no/such/results", "--output", "model"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: ...
    """
    from hyperconformer.inference.speechbrain_folder import import_model  # torch is slow to import
    from hyperconformer.inference.speechbrain_sources import find_sources

    sources = find_sources(Path(arguments.folder))
    options = {"nhead": arguments.nhead, "n_fft": arguments.n_fft}
    print(f"{sources.describe()} -> {import_model(sources, Path(arguments.output), **options)}")
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``export`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> parser.parse_args(["speechbrain", "--model", "model", "--output", "there"]).format
    'speechbrain'
    """
    parser.add_argument("format", choices=list(FORMATS), help="what to write")
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder that training wrote")
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder to write")
    said = "of speechbrain: those that the model was tested with in its training, else those in brackets"
    add_search_options(parser, TOLD, searches=(), said=said)
    parser.add_argument("--int8", action="store_true", help="of onnx: store weights in eight bits")


def run(arguments: argparse.Namespace) -> int:
    """Write a model folder in another program's format.

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
        If the model cannot be used, or not be written in that format, or the format has no searches.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> run(parser.parse_args(["speechbrain", "--model", "no/such/model", "--output", "there"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    given = given_options(vars(arguments))
    if given and arguments.format != "speechbrain":
        raise InputError(f"--{next(iter(given))} is for speechbrain, not {arguments.format}: leave it out")
    if arguments.int8 and arguments.format != "onnx":
        raise InputError(f"--int8 is an option of export onnx, not of {arguments.format}")
    print(f"{arguments.model} -> {FORMATS[arguments.format](arguments)}")
    return 0


def _speechbrain(arguments: argparse.Namespace) -> Path:
    from hyperconformer.export.speechbrain import export_folder

    options = search_options(Path(arguments.model), given_options(vars(arguments)))
    return export_folder(arguments.model, arguments.output, options)


def _onnx(arguments: argparse.Namespace) -> Path:
    from hyperconformer.export.onnx_folder import export_onnx

    return export_onnx(arguments.model, arguments.output, int8=arguments.int8)


FORMATS: dict[str, Callable[[argparse.Namespace], Path]] = {"speechbrain": _speechbrain, "onnx": _onnx}
