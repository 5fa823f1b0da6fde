"""``hyperconformer evaluate``: its arguments."""

import argparse
from collections.abc import Sequence
from typing import Any

from hyperconformer.evaluate.settings import Settings
from hyperconformer.inference.command import MODEL_HELP
from hyperconformer.inference.hub import resolve_model
from hyperconformer.inference.search_flags import DECODES, HELPER_FLAGS, add_search_options, positive


def _search(text: str) -> str:
    if text not in DECODES:
        raise argparse.ArgumentTypeError(
            f"there is no search {text!r}: name one or more of {', '.join(DECODES)}, with spaces between them"
        )
    return text


class _Positional(argparse.Action):
    """What transcribe takes by a flag, and evaluate without one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parser.error(f"MODEL stands without {option_string}: {parser.prog} {values} --data_folder ...")


FLAGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--data_folder", {"required": True, "metavar": "DIR",
                       "help": "LibriSpeech's layout, or manifests <split>.csv"}),
    ("--splits", {"required": True, "nargs": "+", "metavar": "SPLIT", "help": "what to decode"}),
    ("--decode", {"nargs": "+", "default": ["greedy"], "type": _search, "metavar": "SEARCH",
                  "help": f"one or more of {', '.join(DECODES)}; audio is heard once (greedy)"}),
    *HELPER_FLAGS,
    ("--sweep", {"action": "append", "default": [], "metavar": "NAME=V,V,...",
                 "help": "try values of a search option, with those of every other --sweep; prints a table "
                         "and goes without --output_dir, --record, --nbest and --word_timestamps"}),
    ("--word_timestamps", {"action": "store_true",
                           "help": "write when each word is spoken; needs --output_dir"}),
    ("--fit_calibration", {"action": "store_true",
                           "help": "learn from these splits what confidences are worth: calibration.json"}),
    ("--calibration", {"metavar": "FILE", "help": "calibration.json, applied to confidences"}),
    ("--device", {"default": "cpu", "help": "cpu (default) or cuda"}),
    ("--precision", {"default": "fp32", "choices": ("fp32", "bf16", "fp16"),
                     "help": "of the encoder (fp32); fp16 needs a GPU"}),
    ("--batch_seconds", {"type": float, "default": 60.0, "metavar": "S", "help": "audio of a batch (60)"}),
    ("--jobs", {"type": positive, "default": 1, "metavar": "N", "help": "processes (1)"}),
    ("--limit", {"type": positive, "metavar": "N", "help": "the first N utterances of each split"}),
    ("--output_dir", {"metavar": "DIR", "help": "for alignments, hypotheses and evaluate.json"}),
    ("--record", {"metavar": "FILE", "help": "append a row to its table, for instance to RESULTS.md"}),
    ("--noprogressbar", {"action": "store_true", "help": "show no bars"}),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``evaluate`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> found = parser.parse_args(["model", "--data_folder", "data", "--splits", "dev", "--beam_size", "66"])
    >>> found.beam_size, found.decode
    (66, ['greedy'])
    """
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--model", action=_Positional, help=argparse.SUPPRESS, dest="_model")
    for flag, settings in FLAGS:
        parser.add_argument(flag, **settings)
    add_search_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Decode, and say how well and how fast.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_arguments` declares them.

    Returns
    -------
    int
        1 if some audio could not be decoded, else 0.

    Raises
    ------
    InputError
        If the model, the data or an argument cannot be used.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> run(parser.parse_args(["model", "--data_folder", "d", "--splits", "dev", "dev"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --splits names dev twice: name it once
    """
    arguments.source, arguments.model = arguments.model, str(resolve_model(arguments.model))
    settings = Settings.of(arguments)
    if settings.sweep:
        from hyperconformer.evaluate.sweep import sweep  # torch is slow to import

        return sweep(settings)
    from hyperconformer.evaluate.run import evaluate

    return evaluate(settings)
