"""``hyperconformer evaluate``: its arguments."""

import argparse
from typing import Any

from hyperconformer.evaluate.settings import DECODES, OPTION_HELP, OPTIONS, Settings, parse_option


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


_positive.__name__ = "positive whole number"

FLAGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--data_folder", {"required": True, "metavar": "DIR",
                       "help": "LibriSpeech's layout, or manifests <split>.csv"}),
    ("--splits", {"required": True, "nargs": "+", "metavar": "SPLIT", "help": "what to decode"}),
    ("--decode", {"nargs": "+", "default": ["greedy"], "choices": DECODES,
                  "help": "searches, one or more; audio is heard once (greedy)"}),
    ("--lm", {"metavar": "DIR", "help": "folder of a Transformer language model over the same tokens"}),
    ("--ngram", {"metavar": "FILE", "help": "n-gram model: .arpa, .arpa.gz or .safetensors"}),
    ("--hotwords", {"metavar": "FILE", "help": "phrases to expect, one a line"}),
    ("--sweep", {"action": "append", "default": [], "metavar": "NAME=V,V,...",
                 "help": "try values of a search option, with those of every other --sweep"}),
    ("--word_timestamps", {"action": "store_true", "help": "write when each word is spoken"}),
    ("--fit_calibration", {"action": "store_true",
                           "help": "learn from these splits what confidences are worth: calibration.json"}),
    ("--calibration", {"metavar": "FILE", "help": "calibration.json, applied to confidences"}),
    ("--device", {"default": "cpu", "help": "cpu (default) or cuda"}),
    ("--precision", {"default": "fp32", "choices": ("fp32", "bf16", "fp16"),
                     "help": "of the encoder (fp32); fp16 needs a GPU"}),
    ("--batch_seconds", {"type": float, "default": 60.0, "metavar": "S", "help": "audio of a batch (60)"}),
    ("--jobs", {"type": _positive, "default": 1, "metavar": "N", "help": "processes (1)"}),
    ("--limit", {"type": _positive, "metavar": "N", "help": "the first N utterances of each split"}),
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
    parser.add_argument("model", metavar="MODEL", help="model folder that training wrote")
    for flag, settings in FLAGS:
        parser.add_argument(flag, **settings)
    group = parser.add_argument_group(
        "search options", "rescore and joint begin with those that the model was tested with in its training"
    )
    for name, option in OPTIONS.items():
        if isinstance(option.default, bool):
            action = argparse.BooleanOptionalAction
            group.add_argument(f"--{name}", action=action, help=OPTION_HELP[name])
            continue

        def value(text: str, name: str = name) -> Any:
            return parse_option(name, text)

        value.__name__ = "number"
        default = "" if option.default is None else f" ({option.default:g})"
        group.add_argument(f"--{name}", type=value, metavar="X", help=f"{OPTION_HELP[name]}{default}")


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
    settings = Settings.of(arguments)
    if settings.sweep:
        from hyperconformer.evaluate.sweep import sweep  # torch is slow to import

        return sweep(settings)
    from hyperconformer.evaluate.run import evaluate

    return evaluate(settings)
