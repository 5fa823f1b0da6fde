"""The text of a language model's run: what is held out of it, its tokenizer, and its tokens on the disk."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hyperconformer.data.sentences import read_sentences
from hyperconformer.data.tokens import TokenText, write_tokens
from hyperconformer.errors import InputError
from hyperconformer.text import Tokenizer, train_tokenizer
from hyperconformer.training import distributed
from hyperconformer.training.experiment import trained_with
from hyperconformer.training.lm_settings import LanguageModelSettings

logger = logging.getLogger(__name__)

HELD_OUT = 50
"""Without a text to validate by, one sentence of so many is held out."""

DEBUG_SENTENCES = 64

WAYS = (
    "give --text=[FILE, ...], a sentence a line (.txt, .txt.gz), or the manifests of a recogniser's run "
    "(results/NAME/SEED/manifests/SPLIT.csv); LibriSpeech's text: see recipes/LibriSpeech/LM/README.md"
)


@dataclass(frozen=True)
class Texts:
    """The texts of a run, as tokens.

    Attributes
    ----------
    train, valid : TokenText
    tests : dict of str to TokenText
        By file.
    tokenizer : Tokenizer

    Examples
    --------
    >>> Texts.__annotations__["train"].__name__
    'TokenText'
    """

    train: TokenText
    valid: TokenText
    tests: dict[str, TokenText]
    tokenizer: Tokenizer

    def __str__(self) -> str:
        """A line a text."""
        texts = {"train": self.train, "valid": self.valid, **self.tests}
        return "\n".join(f"{name}: {text.facts}" for name, text in texts.items())


def prepare_texts(settings: LanguageModelSettings, *, debug: bool = False) -> Texts:
    """Find the tokenizer, or train it, and encode all texts; a run that goes on takes its tokenizer.

    Parameters
    ----------
    settings : LanguageModelSettings
    debug : bool
        Take a few sentences of everything.

    Returns
    -------
    Texts

    Raises
    ------
    InputError
        If a text or the tokenizer cannot be used.

    Examples
    --------
    >>> from hyperconformer.training.recipe import build_settings, read_recipe
    >>> recipe = "recipes/LibriSpeech/LM/hparams/small.yaml"
    >>> prepare_texts(build_settings(LanguageModelSettings, read_recipe(recipe, {}), recipe))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: text is not given: ...
    """
    if not settings.text:
        raise InputError(f"text is not given: {WAYS}")
    folder = settings.folder / "save"
    again = bool(trained_with(settings)) and not debug
    with distributed.main_first() as main:
        tokenizer = _tokenizer(settings, folder / "tokenizer.model", again=again or not main)

    def encoded(name: str, sentences: Callable[[], Iterator[str]], longest: int | None = None) -> TokenText:
        with distributed.main_first() as main:
            kept = folder / "text" / name
            if main:
                # Anew every time: a text may have changed, and checkpoints know which one they are of.
                some = islice(sentences(), DEBUG_SENTENCES) if debug else sentences()
                return write_tokens(some, tokenizer, kept, longest=longest)
            return TokenText(kept)

    train = encoded("train", lambda: training_sentences(settings), settings.max_sentence_tokens)
    valid = encoded("valid", lambda: validation_sentences(settings))
    tests = {
        path: encoded(f"test{number}", lambda path=path: read_sentences([path]))  # type: ignore[misc]  # bound now, not at the end
        for number, path in enumerate(settings.test_text)
    }
    return Texts(train, valid, tests, tokenizer)


def training_sentences(settings: LanguageModelSettings) -> Iterator[str]:
    r"""Yield the sentences to learn from.

    Parameters
    ----------
    settings : LanguageModelSettings

    Yields
    ------
    str

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.training.recipe import build_settings, read_recipe
    >>> recipe = "recipes/LibriSpeech/LM/hparams/small.yaml"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = f"{folder}/text.txt"
    ...     _ = Path(text).write_text("".join(f"SENTENCE {n}\n" for n in range(1000)))
    ...     settings = build_settings(LanguageModelSettings, read_recipe(recipe, {"text": [text]}), recipe)
    ...     train, valid = set(training_sentences(settings)), set(validation_sentences(settings))
    >>> len(train | valid), train & valid, 5 < len(valid) < 50
    (1000, set(), True)
    """
    sentences = read_sentences(settings.text)
    return sentences if settings.dev_text else (one for one in sentences if not _held_out(one))


def validation_sentences(settings: LanguageModelSettings) -> Iterator[str]:
    """Yield the sentences to validate by: those of ``dev_text``, or those held out of ``text``.

    Parameters
    ----------
    settings : LanguageModelSettings

    Yields
    ------
    str

    Examples
    --------
    >>> from hyperconformer.training.recipe import build_settings, read_recipe
    >>> recipe = "recipes/LibriSpeech/LM/hparams/small.yaml"
    >>> values = read_recipe(recipe, {"dev_text": ["nowhere.txt"]})
    >>> next(validation_sentences(build_settings(LanguageModelSettings, values, recipe)))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: text 'nowhere.txt' cannot be read (No such file or directory): ...
    """
    if settings.dev_text:
        yield from read_sentences(settings.dev_text)
        return
    some = False
    for sentence in read_sentences(settings.text):
        if _held_out(sentence):
            some = True
            yield sentence
    if not some:
        raise InputError(
            "the text is too short to hold out a part of it: give a text to validate by, --dev_text"
        )


def _held_out(sentence: str) -> bool:
    """Draw by the words themselves, so that a sentence that occurs twice is not on both sides."""
    return int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:4]) % HELD_OUT == 0


def _tokenizer(settings: LanguageModelSettings, path: Path, *, again: bool) -> Tokenizer:
    width = settings.model.output_neurons
    if again:
        tokenizer = Tokenizer.load(path)
    elif settings.tokenizer is not None:
        tokenizer = Tokenizer.load(Path(settings.tokenizer))
        tokenizer.save(path)
    else:
        sentences = _spread(settings, settings.tokenizer_sentences)
        tokenizer = train_tokenizer(sentences, path, output_neurons=width, model_type=settings.token_type)
    if tokenizer.size > width:
        raise InputError(
            f"the tokenizer has {tokenizer.size} pieces, more than output_neurons {width}: raise it"
        )
    logger.info("Tokens: %d in the tokenizer, %d output neurons", tokenizer.size, width)
    return tokenizer


def _spread(settings: LanguageModelSettings, most: int) -> Sequence[str]:
    """Sentences at equal distances: whenever there are too many, every other one goes."""
    kept: list[str] = []
    stride = 1
    for number, sentence in enumerate(training_sentences(settings)):
        if number % stride:
            continue
        kept.append(sentence)
        if len(kept) > most:
            del kept[1::2]
            stride *= 2
    return kept
