"""``hyperconformer transcribe``: its arguments."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hyperconformer.inference.bundle_files import backend_of, check_files
from hyperconformer.inference.command import MODEL_HELP
from hyperconformer.inference.hub import resolve_model
from hyperconformer.inference.search_flags import DECODES, HELPER_FLAGS, add_search_options, positive
from hyperconformer.inference.writers import WRITERS

BACKENDS = ("torch", "onnxruntime")


FLAGS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--model",), {"required": True, "metavar": "DIR", "help": MODEL_HELP}),
    (("-o", "--output_dir"), {"metavar": "DIR", "help": "folder for the text; without it, it is printed"}),
    (("-f", "--output_format"), {"choices": (*WRITERS, "all"), "metavar": "FORMAT",
                                 "help": f"{', '.join(WRITERS)} or all (txt)"}),
    (("--word_timestamps",), {"action": "store_true",
                              "help": "in JSON, when each word was spoken and how sure it is"}),
    (("--jsonl",), {"action": "store_true", "help": "print a line of JSON for every file"}),
    (("--overwrite",), {"action": "store_true",
                        "help": "transcribe again what stands in --output_dir already"}),
    (("--decode",), {"choices": DECODES, "default": "greedy", "metavar": "SEARCH",
                     "help": f"{', '.join(DECODES)} (greedy, the fastest)"}),
    *(((flag,), settings) for flag, settings in HELPER_FLAGS),
    (("--calibration",), {"metavar": "FILE", "help": "what evaluate --fit_calibration wrote, for confidences "
                          "(that of the model folder, if it has one)"}),
    (("--backend",), {"choices": BACKENDS, "help": "torch or onnxruntime (what the model folder is for)"}),
    (("--device",), {"default": "cpu", "help": "cpu (default) or cuda"}),
    (("--precision",), {"default": "fp32", "choices": ("fp32", "bf16", "fp16"),
                        "help": "of the encoder (fp32); fp16 needs a GPU"}),
    (("--jobs",), {"type": positive, "default": 1, "metavar": "N",
                   "help": "processes that share many files (1); on a CPU one a core is the fastest"}),
    (("--threads",), {"type": positive, "metavar": "N", "help": "of the CPU, all jobs together (all cores)"}),
    (("--noprogressbar",), {"action": "store_true", "help": "show no bar, as where none can be seen"}),
)  # fmt: skip
LONGFORM: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--max_segment_seconds", {"type": float, "metavar": "S",
                               "help": "a longer recording is cut, at pauses if it can be (20)"}),
    ("--vad", {"choices": ("energy", "webrtc", "none"),
               "help": "what tells speech from silence there (energy)"}),
    ("--one_pass", {"action": "store_true",
                    "help": "hear a long recording whole, instead of cutting it"}),
    ("--overlap_seconds", {"type": float, "metavar": "S",
                           "help": "heard twice where there is no pause to cut at (2)"}),
    ("--batch_seconds", {"type": float, "metavar": "S", "help": "audio that is heard at once (120)"}),
)  # fmt: skip


WHISPER = {
    "--language": "a model here knows one language: leave it out",
    "--task": "models here transcribe: leave it out",
    "--fp16": "write --precision fp16 (on a GPU) or --precision bf16",
    "--initial_prompt": "write --hotwords FILE, with phrases to expect, and --decode prefix or joint",
    "--verbose": "write --noprogressbar for less",
    "--condition_on_previous_text": "segments are heard on their own here: leave it out",
    "--vad_filter": "write --vad energy, webrtc or none",
}
"""What people type who know Whisper, and what it is here."""


class _Whisper(argparse.Action):
    """Says what a flag of Whisper's is called here."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parser.error(f"there is no {option_string}: {WHISPER[str(option_string)]}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``transcribe`` takes; names are those of Whisper's command where it has them.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> found = parser.parse_args(["a.wav", "talks", "--model", "model", "-o", "out", "-f", "srt"])
    >>> found.files, found.output_format
    (['a.wav', 'talks'], 'srt')
    """
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="audio or video files, folders of them, or - for standard input",
    )
    for flags, settings in FLAGS:
        parser.add_argument(*flags, **settings)
    group = parser.add_argument_group("long recordings and batches")
    for flag, settings in LONGFORM:
        group.add_argument(flag, **settings)
    add_search_options(parser)
    for flag in WHISPER:
        parser.add_argument(flag, action=_Whisper, nargs="?", help=argparse.SUPPRESS, dest="_whisper")


def run(arguments: argparse.Namespace) -> int:
    """Transcribe; a file that cannot be read is reported and the rest goes on.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_arguments` declares them.

    Returns
    -------
    int
        1 if some audio could not be transcribed, else 0.

    Raises
    ------
    InputError
        If the model or an argument cannot be used.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> run(parser.parse_args(["a.wav", "--model", "no/such/model"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    arguments.model = str(resolve_model(arguments.model))
    if backend_of(arguments.model) == "torch":
        check_files(Path(arguments.model))
    from hyperconformer.transcribe.run import transcribe
    from hyperconformer.transcribe.settings import Settings

    return transcribe(Settings.of(arguments))
