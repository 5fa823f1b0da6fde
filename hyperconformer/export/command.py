"""``hyperconformer export`` and ``hyperconformer import-speechbrain``: their arguments."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

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
    parser.add_argument(
        "--lm_output", metavar="DIR", help="folder to write for the recipe's Transformer (lm.ckpt), for --lm"
    )
    parser.add_argument("--nhead", type=int, metavar="N", help="heads, where the recipe's YAML is missing")
    parser.add_argument("--n_fft", type=int, metavar="N", help="points of the Fourier transform, likewise")


def _check_apart(out: Path, lm_out: Path) -> None:
    """A model's folder is replaced as a whole: no other may lie in it."""
    one, other = out.resolve(), lm_out.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise InputError(
            f"--output '{out}' and --lm_output '{lm_out}' lie in one another: give each a folder of its own"
        )


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
    from hyperconformer.inference.speechbrain_folder import (  # torch is slow to import
        import_language_model,
        import_model,
    )
    from hyperconformer.inference.speechbrain_sources import find_sources

    sources, out, lm_out = find_sources(Path(arguments.folder)), arguments.output, arguments.lm_output
    if lm_out is not None:
        _check_apart(Path(out), Path(lm_out))
    # The language model first: what is wrong with it is said before the larger half of the work.
    lm = None if lm_out is None else import_language_model(sources, Path(lm_out))
    options = {"nhead": arguments.nhead, "n_fft": arguments.n_fft}
    print(f"{sources.describe()} -> {import_model(sources, Path(out), **options)}")
    if lm is not None:
        print(f"{sources.language_model} -> {lm}")
    elif sources.language_model is not None:
        print(f"{sources.language_model} is left out: --lm_output DIR takes it over, for --lm of a search")
    return 0


class Format(NamedTuple):
    """Another program's format.

    Attributes
    ----------
    write : callable
        Takes the arguments, gives the new folder.
    add_options : callable
        Declares the options that it has beside ``--model`` and ``--output``.
    said : str
        What it is.
    use : str
        A command that opens the folder, which stands for ``{}``; or nothing.

    Examples
    --------
    >>> FORMATS["onnx"].use.format("for_onnx")
    'hyperconformer transcribe --model for_onnx speech.wav'
    """

    write: Callable[[argparse.Namespace], Path]
    add_options: Callable[[argparse.ArgumentParser], object]
    said: str
    use: str = ""


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
    formats = parser.add_subparsers(dest="format", required=True, metavar=f"{{{','.join(FORMATS)}}}")
    for name, known in FORMATS.items():
        subparser = formats.add_parser(name, help=known.said, description=known.said)
        subparser.add_argument(
            "--model", required=True, metavar="DIR", help="model folder that training wrote"
        )
        subparser.add_argument("--output", required=True, metavar="DIR", help="new folder to write")
        known.add_options(subparser)


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
        If the model cannot be used, or not be written in that format.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> run(parser.parse_args(["speechbrain", "--model", "no/such/model", "--output", "there"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    known = FORMATS[arguments.format]
    folder = known.write(arguments)
    print(f"{arguments.model} -> {folder}")
    if known.use:
        print(f"try it: {known.use.format(shlex.quote(str(folder)))}", file=sys.stderr)
    return 0


def _speechbrain(arguments: argparse.Namespace) -> Path:
    from hyperconformer.export.speechbrain import export_folder

    options = search_options(Path(arguments.model), given_options(vars(arguments)))
    return export_folder(arguments.model, arguments.output, options)


def _add_speechbrain_options(parser: argparse.ArgumentParser) -> None:
    said = "those that the model was tested with in its training, else those in brackets"
    add_search_options(parser, TOLD, searches=(), said=said)


def _onnx(arguments: argparse.Namespace) -> Path:
    from hyperconformer.export.onnx_folder import export_onnx

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    return export_onnx(arguments.model, arguments.output, int8=arguments.int8, say=say)


def _add_onnx_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--int8", action="store_true", help="store weights in eight bits")


FORMATS = {
    "speechbrain": Format(
        _speechbrain, _add_speechbrain_options, "a folder that SpeechBrain's EncoderDecoderASR opens"
    ),
    "onnx": Format(
        _onnx,
        _add_onnx_options,
        "ONNX files for onnxruntime, compared with PyTorch before they appear",
        use="hyperconformer transcribe --model {} speech.wav",
    ),
}
