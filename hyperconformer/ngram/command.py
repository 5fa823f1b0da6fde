"""``hyperconformer ngram``: from text to an n-gram model, or from one of its forms to another."""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperconformer.errors import InputError

if TYPE_CHECKING:
    from hyperconformer.ngram.model import NGram

HIGHEST_ORDER = 9
DEFAULT_ORDER = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments.

    Parameters
    ----------
    parser : ArgumentParser

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_arguments(parser)
    >>> parser.parse_args(["--text", "a.txt", "--output", "lm.arpa"]).order
    3
    """
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--text",
        nargs="+",
        metavar="FILE",
        help=".txt (a sentence a line), .txt.gz, .trans.txt or .csv manifest",
    )
    source.add_argument("--model", metavar="FILE", help="a model there is: .arpa, .arpa.gz or .safetensors")
    parser.add_argument(
        "--order", type=int, default=DEFAULT_ORDER, metavar="N", help="longest n-grams; default 3"
    )
    parser.add_argument(
        "--vocabulary", type=int, metavar="N", help="keep the N most frequent words; default: all"
    )
    parser.add_argument(
        "--min_count",
        type=int,
        nargs="+",
        default=[1],
        metavar="N",
        help="leave out n-grams seen fewer times: one number an order, the last one also for those above",
    )
    parser.add_argument(
        "--output", nargs="+", default=[], metavar="FILE", help="to write: .arpa, .arpa.gz or .safetensors"
    )
    parser.add_argument("--test", nargs="+", default=[], metavar="FILE", help="text to measure perplexity on")
    parser.add_argument("--scratch", metavar="DIR", help="for 12 bytes a word of text; default: the system's")


def run(arguments: argparse.Namespace) -> int:
    """Build or open a model, write it, and say how well it foresees the test texts.

    Parameters
    ----------
    arguments : Namespace

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    InputError
        If a file or a number cannot be used.

    Examples
    --------
    >>> run(argparse.Namespace(text=["a.txt"], model=None, output=[], test=[]))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: nothing to do: give --output, --test or both
    """
    from hyperconformer.data.sentences import read_sentences
    from hyperconformer.ngram.files import check_name, load_ngram, save_ngram

    if not arguments.output and not arguments.test:
        raise InputError("nothing to do: give --output, --test or both")
    for output in arguments.output:
        check_name(Path(output))
    model = load_ngram(Path(arguments.model)) if arguments.model else _build(arguments)
    for output in arguments.output:
        path = save_ngram(model, Path(output))
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB", flush=True)
    for test in arguments.test:
        print(f"{test}: {model.perplexity(read_sentences([test]))}", flush=True)
    return 0


def _build(arguments: argparse.Namespace) -> "NGram":
    """Count, estimate, and say what was found."""
    from hyperconformer.data.sentences import read_sentences
    from hyperconformer.ngram.counts import count_ngrams, encode_corpus
    from hyperconformer.ngram.kneser_ney import check_min_counts, estimate

    min_counts = _by_order(arguments.min_count, arguments.order)
    check_min_counts(min_counts, arguments.order)
    if arguments.vocabulary is not None and arguments.vocabulary < 1:
        raise InputError(f"--vocabulary {arguments.vocabulary} keeps no word: give at least 1")
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="ngram-", dir=arguments.scratch) as scratch:
            corpus = encode_corpus(read_sentences(arguments.text), Path(scratch), arguments.vocabulary)
            levels = count_ngrams(corpus, arguments.order, Path(scratch))
    except OSError as error:
        raise InputError(
            f"no room for the words of the text ({error.strerror}): point --scratch at a larger disk"
        ) from error
    print(f"text: {len(corpus.ids)} words and ends, {len(corpus.words) - 3} words of the vocabulary")
    model, discounts = estimate(corpus.words, levels, min_counts)
    rows = zip(model.levels(), levels, discounts, strict=True)
    for order, ((low, high), level, amounts) in enumerate(rows, start=1):
        print(f"order {order}: {high - low} of {len(level.keys)} n-grams, discounts {amounts}")
    print(f"estimated in {time.perf_counter() - start:.1f} s", flush=True)
    return model


def _by_order(min_counts: Sequence[int], order: int) -> list[int]:
    """One number an order: words are never left out, and the last number holds for all orders above."""
    if not 1 <= order <= HIGHEST_ORDER:
        raise InputError(f"--order must be from 1 to {HIGHEST_ORDER}, got {order}")
    if len(min_counts) == 1:
        return [1, *[min_counts[0]] * (order - 1)]
    return [*min_counts, *[min_counts[-1]] * (order - len(min_counts))]
