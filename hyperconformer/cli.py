"""The ``hyperconformer`` command: a table from subcommand to function."""

import argparse
import difflib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from hyperconformer import __version__, compare
from hyperconformer.bench import command as bench
from hyperconformer.data import command as prepare
from hyperconformer.doctor import command as doctor
from hyperconformer.errors import InputError
from hyperconformer.evaluate import command as evaluate
from hyperconformer.export import command as export
from hyperconformer.inference import classify_command as classify
from hyperconformer.inference import command as bundles
from hyperconformer.ngram import command as ngram
from hyperconformer.transcribe import command as transcribe

COMMANDS = {
    "transcribe": (
        transcribe.run,
        transcribe.add_arguments,
        "audio and video files to text, subtitles or JSON",
    ),
    "evaluate": (
        evaluate.run,
        evaluate.add_arguments,
        "WER and speed of searches on test sets, or the weights that suit a dev set",
    ),
    "prepare": (prepare.run, prepare.add_arguments, "recordings and their text to checked manifests"),
    "ngram": (
        ngram.run,
        ngram.add_arguments,
        "an n-gram language model from text, or from another of its forms",
    ),
    "bench": (
        bench.run,
        bench.add_arguments,
        "time and memory of mixers, encoder, training, decoding, transcription; contests on text and speech",
    ),
    "classify": (
        classify.run_classify,
        classify.add_classify_arguments,
        "texts, or pairs of them, to classes",
    ),
    "compare": (compare.run, compare.add_arguments, "whether one system's WER is better than another's"),
    "check": (
        bundles.run_check,
        bundles.add_check_arguments,
        "what a model folder is, and whether all of it can be used",
    ),
    "push": (bundles.run_push, bundles.add_push_arguments, "a model folder to the Hugging Face hub"),
    "doctor": (doctor.run, doctor.add_arguments, "versions, devices, codecs, memory, and what is wrong"),
    "import-speechbrain": (
        export.run_import,
        export.add_import_arguments,
        "a SpeechBrain Conformer or HyperConformer to a model folder",
    ),
    "export": (
        export.run,
        export.add_arguments,
        "a model folder to ONNX, or to a folder for SpeechBrain",
    ),
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as all of the program does, instead of behind its whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")

    def unknown(self, arguments: Sequence[str]) -> NoReturn:
        """Refuse arguments that are none, with a guess at what the first option was meant to be."""
        wrong = next((given.partition("=")[0] for given in arguments if given.startswith("--")), "")
        known = [flag for action in self._actions for flag in action.option_strings]
        close = difflib.get_close_matches(
            wrong.replace("-", "_").replace("__", "--", 1), known, n=1, cutoff=0.7
        )
        guess = f": did you mean {close[0]}?" if close else ""
        self.error(f"unrecognized arguments: {' '.join(arguments)}{guess}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Parameters
    ----------
    argv : sequence of str or None
        Arguments; None takes the process's own.

    Returns
    -------
    int
        Exit status: 0 when all went well, 1 when some files could not be read, 2 for bad input,
        130 when it was interrupted at the keyboard, 141 when nobody reads its output any more.

    Examples
    --------
    >>> main(["transcribe", "a.wav", "--model", "no/such/model"])
    2
    """
    parser = _Parser(prog="hyperconformer", description="Speech recognition with HyperMixing.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers: dict[str, _Parser] = {}
    for name, (_, add_arguments, summary) in COMMANDS.items():
        parsers[name] = subparsers.add_parser(name, help=summary, description=summary)
        add_arguments(parsers[name])
    arguments, further = parser.parse_known_args(argv)
    if "further" in arguments:
        arguments.further = further
    elif further:
        parsers[arguments.command].unknown(further)
    try:
        return COMMANDS[arguments.command][0](arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing more may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
