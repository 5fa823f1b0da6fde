"""``hyperconformer classify``: its arguments, and what it prints."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from hyperconformer.errors import InputError
from hyperconformer.inference.command import MODEL_HELP
from hyperconformer.inference.search_flags import positive

if TYPE_CHECKING:
    from hyperconformer.inference.text_classifier import Classification, Given

TOGETHER = 1024
"""Texts that are classified at once."""
STANDARD_INPUT = "-"


def add_classify_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``classify`` takes.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_classify_arguments(parser)
    >>> parser.parse_args(["how warm is it", "--model", "model"]).texts
    ['how warm is it']
    """
    parser.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        default=[STANDARD_INPUT],
        help="what to classify, a pair with a tab between its texts; - for standard input, a text a line",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help=MODEL_HELP)
    parser.add_argument(
        "--top",
        type=positive,
        default=1,
        metavar="N",
        help="classes to print of each text, the likeliest first",
    )
    parser.add_argument("--jsonl", action="store_true", help="print a line of JSON for every text")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=positive, metavar="N", help="of the CPU (all cores)")


def run_classify(arguments: argparse.Namespace) -> int:
    """Print the class of every text, in their order: a line of label and probability, or of JSON.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_classify_arguments` declares them.

    Returns
    -------
    int
        0.

    Raises
    ------
    InputError
        If the model or a text cannot be used.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_classify_arguments(parser)
    >>> run_classify(parser.parse_args(["yes", "--model", "no/such/model"]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    import torch  # slow to import

    from hyperconformer.inference.hub import resolve_model
    from hyperconformer.inference.text_classifier import TextClassifier

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    classifier = TextClassifier.load(resolve_model(arguments.model), arguments.device)
    texts = given_texts(arguments.texts, sys.stdin)
    while some := list(islice(texts, TOGETHER)):
        for text, found in zip(some, classifier.classify(some), strict=True):
            print(
                json_line(text, found, arguments.top) if arguments.jsonl else plain_line(found, arguments.top)
            )
    return 0


def given_texts(arguments: Sequence[str], lines: Iterable[str]) -> "Iterator[Given]":
    r"""Yield the texts that were asked for.

    Parameters
    ----------
    arguments : sequence of str
        Texts, and ``-`` for all lines of standard input.
    lines : iterable of str
        These.

    Yields
    ------
    str or (str, str)
        A pair where there is a tab.

    Raises
    ------
    InputError
        If a line holds no words, more than one tab, or no UTF-8.

    Examples
    --------
    >>> list(given_texts(["yes", "-"], ["no\n", "a man sleeps\tsomeone is awake\n"]))
    ['yes', 'no', ('a man sleeps', 'someone is awake')]
    """
    for argument in arguments:
        if argument != STANDARD_INPUT:
            yield _parted(argument, f"text {argument[:60]!r}")
            continue
        number = 0
        try:
            for number, line in enumerate(lines, start=1):
                yield _parted(line.rstrip("\r\n"), f"line {number} of standard input")
        except UnicodeDecodeError as error:
            raise InputError(f"standard input is not UTF-8 behind line {number}: convert it first") from error


def _parted(text: str, where: str) -> "Given":
    parts = text.split("\t")
    if len(parts) > 2:
        raise InputError(f"{where} has {len(parts) - 1} tabs: one, between the texts of a pair, is the most")
    if not all(part.split() for part in parts):
        raise InputError(f"{where} has no words: leave it out")
    return (parts[0], parts[1]) if len(parts) == 2 else text


def plain_line(found: "Classification", top: int) -> str:
    r"""Say a text's likeliest classes: label and probability of each, tabs between all.

    Parameters
    ----------
    found : Classification
    top : int
        How many.

    Returns
    -------
    str

    Examples
    --------
    >>> from hyperconformer.inference.text_classifier import Classification
    >>> plain_line(Classification("yes", 0.9, (("yes", 0.9), ("no", 0.1))), top=2)
    'yes\t0.9000\tno\t0.1000'
    """
    return "\t".join(f"{label}\t{probability:.4f}" for label, probability in found.ranking[:top])


def json_line(text: "Given", found: "Classification", top: int) -> str:
    """Say the same for programs.

    Parameters
    ----------
    text : str or (str, str)
    found : Classification
    top : int
        Classes in the ranking.

    Returns
    -------
    str

    Examples
    --------
    >>> from hyperconformer.inference.text_classifier import Classification
    >>> json_line("indeed", Classification("yes", 0.9, (("yes", 0.9), ("no", 0.1))), top=1)
    '{"text": "indeed", "label": "yes", "probability": 0.9, "ranking": [["yes", 0.9]]}'
    """
    texts = {"text": text} if isinstance(text, str) else dict(zip(("text", "second"), text, strict=True))
    said = {"label": found.label, "probability": found.probability, "ranking": found.ranking[:top]}
    return json.dumps(texts | said, ensure_ascii=False)
