"""``hyperconformer classify``: its arguments, and what it prints."""

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TextIO, cast

from hyperconformer.errors import InputError
from hyperconformer.inference.command import MODEL_HELP
from hyperconformer.inference.search_flags import positive

if TYPE_CHECKING:
    from hyperconformer.inference.text_classifier import Classification, Given

READ_AT_ONCE = 2**16
"""Bytes of standard input, the texts of which are classified together."""
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

    What stands in standard input has its answers as soon as it is there. A line of it without words has an
    empty line for its answer, and no JSON.

    Parameters
    ----------
    arguments : argparse.Namespace
        As :func:`add_classify_arguments` declares them.

    Returns
    -------
    int
        0, or 1 if a line had no words.

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
    blank = 0
    for some in given_texts(arguments.texts, sys.stdin, classifier.as_given):
        answers = iter(classifier.classify([text for text in some if text is not None]))
        for text in some:
            if text is None:
                blank += 1
            if not arguments.jsonl:
                print("" if text is None else plain_line(next(answers), arguments.top))
            elif text is not None:
                print(json_line(text, next(answers), arguments.top))
        sys.stdout.flush()
    return 1 if blank else 0


def given_texts(
    arguments: Sequence[str], stream: TextIO, check: "Callable[[Given, str], object]"
) -> "Iterator[list[Given | None]]":
    r"""Yield the texts that were asked for, as many at a time as there are.

    Parameters
    ----------
    arguments : sequence of str
        Texts, and ``-`` for all lines of standard input.
    stream : text file
        This, of which the bytes are read: its own decoding would let pass what is no UTF-8. It is waited for
        only where all that it gave so far has been yielded.
    check : callable
        Of a text, and what an error calls it; may raise InputError.

    Yields
    ------
    list of str, (str, str) or None
        A pair where there is a tab; None for a line without words, of which a warning tells.

    Raises
    ------
    InputError
        If a text has more than one tab, is no UTF-8, or is refused, and all before it have been yielded.

    Examples
    --------
    >>> stream = io.TextIOWrapper(io.BytesIO(b"no\na man sleeps\tsomeone is awake\n"))
    >>> list(given_texts(["yes", "-"], stream, lambda text, where: None))
    [['yes'], ['no', ('a man sleeps', 'someone is awake')]]
    """
    for some in _asked(arguments, stream):
        fit: list[Given | None] = []
        for where, text in some:
            try:
                fit.append(_parted(text, where, check))
            except InputError:
                yield fit
                raise
        yield fit


def _asked(arguments: Sequence[str], stream: TextIO) -> "Iterator[list[tuple[str, str | bytes]]]":
    """Texts with their names: arguments, and the lines that one reading of the stream completes."""
    for is_stream, some in groupby(arguments, key=STANDARD_INPUT.__eq__):
        if not is_stream:
            yield [(f"text {text[:60]!r}", text) for text in some]
            continue
        reader = cast(io.BufferedReader, stream.buffer)
        count, rest, said = 0, b"", b"-"
        while said:
            # Not ``read``, which would wait until there is so much.
            said = reader.read1(READ_AT_ONCE)
            *lines, rest = (rest + said).split(b"\n")
            if not said and rest:
                lines, rest = [rest], b""
            if lines:
                yield [(f"line {count + n} of standard input", line) for n, line in enumerate(lines, start=1)]
            count += len(lines)


def _parted(text: str | bytes, where: str, check: "Callable[[Given, str], object]") -> "Given | None":
    try:
        # An argument that is no UTF-8 holds halves of characters, which cannot be encoded.
        words = (text if isinstance(text, bytes) else text.encode()).decode().rstrip("\r")
    except UnicodeError as error:
        raise InputError(f"{where} is not UTF-8: convert it first") from error
    parts = words.split("\t")
    if isinstance(text, bytes) and not all(part.split() for part in parts):
        print(f"warning: {where} has no words: skipped", file=sys.stderr)
        return None
    if len(parts) > 2:
        raise InputError(f"{where} has {len(parts) - 1} tabs: one, between the texts of a pair, is the most")
    given = (parts[0], parts[1]) if len(parts) == 2 else words
    check(given, where)
    return given


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
