"""The data of a classifier's run: its corpus, what of it is learnt from, its tokenizer, and its tokens."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hyperconformer.data.labelled import LabelledCorpus, LabelledText
from hyperconformer.data.text_batches import EncodedTexts, encode_texts
from hyperconformer.data.text_corpora import read_corpus, take_share
from hyperconformer.errors import InputError
from hyperconformer.inference.classifier_bundle import check_labels
from hyperconformer.inference.text_classifier import check_room
from hyperconformer.text import Tokenizer, train_tokenizer
from hyperconformer.training import distributed
from hyperconformer.training.experiment import trained_with
from hyperconformer.training.text_settings import ClassificationSettings

logger = logging.getLogger(__name__)

DEBUG_TEXTS = 64
TOKENIZER_TEXTS = 200_000
"""Most of the training texts that a tokenizer is trained on, spread over all."""
_SHOWN_LABELS = 5


@dataclass(frozen=True)
class ClassificationData:
    """The texts of a run, as they are and as tokens.

    Attributes
    ----------
    corpus : LabelledCorpus
        Of the training texts only those that are learnt from.
    train, valid : EncodedTexts
    tests, strangers : dict of str to EncodedTexts
        By name; every stranger has the class 0, which it is not of.
    labels : tuple of str
        Of the classes.
    tokenizer : Tokenizer

    Examples
    --------
    >>> ClassificationData.__annotations__["train"].__name__
    'EncodedTexts'
    """

    corpus: LabelledCorpus
    train: EncodedTexts
    valid: EncodedTexts
    tests: Mapping[str, EncodedTexts]
    strangers: Mapping[str, EncodedTexts]
    labels: tuple[str, ...]
    tokenizer: Tokenizer

    @property
    def judged(self) -> dict[str, tuple[Sequence[LabelledText], EncodedTexts]]:
        """What a test looks at, by name: validation first, then the tests."""
        valid = (self.corpus.valid, self.valid)
        return {"valid": valid, **{name: (self.corpus.tests[name], of) for name, of in self.tests.items()}}

    def __str__(self) -> str:
        """A line a split."""
        splits = {"train": self.train, "valid": self.valid, **self.tests}
        splits |= {f"{name}, of no class": texts for name, texts in self.strangers.items()}
        return "\n".join(f"{name}: {len(of)} texts, {of.lengths.sum()} tokens" for name, of in splits.items())


def prepare_classification(settings: ClassificationSettings, *, debug: bool = False) -> ClassificationData:
    """Read the corpus, take the share to learn from, find or train the tokenizer, and encode all.

    Parameters
    ----------
    settings : ClassificationSettings
    debug : bool
        Take a few texts of everything.

    Returns
    -------
    ClassificationData

    Raises
    ------
    InputError
        If the corpus cannot be read, or is not what the model was made for.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.training.text_settings import classification_settings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = {"task_texts": 40, "output_folder": folder}
    ...     data = prepare_classification(classification_settings("hparams/text.yaml", small))
    >>> print(str(data).splitlines()[0])
    train: 40 texts, ... tokens
    """
    with distributed.main_first():
        # Whoever comes second finds what the first has fetched.
        whole = read_corpus(settings.source)
    labels = whole.labels
    check_classes(settings, whole)
    train = take_share(whole.train, settings.train_share, settings.seed)
    again = bool(trained_with(settings)) and not debug
    with distributed.main_first() as main:
        tokenizer = _tokenizer(settings, train, again=again or not main)
    corpus = replace(whole, train=train)
    return _encoded(settings, _shortened(corpus) if debug else corpus, labels, tokenizer)


def check_classes(settings: ClassificationSettings, corpus: LabelledCorpus) -> None:
    """Refuse a corpus that the model of a recipe was not made for.

    Parameters
    ----------
    settings : ClassificationSettings
    corpus : LabelledCorpus

    Raises
    ------
    InputError
        If it has another number of classes, or pairs instead of single texts; says what to write.

    Examples
    --------
    >>> from hyperconformer.training.text_settings import classification_settings
    >>> corpus = LabelledCorpus([LabelledText("yes", "y"), LabelledText("no", "n")], [], {})
    >>> check_classes(classification_settings("hparams/text.yaml", {}), corpus)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: num_classes is 4, but the training texts have 2 labels (n, y): write \
num_classes: 2
    """
    model, labels = settings.model, corpus.labels
    if len(labels) != model.num_classes:
        more = ", ..." if len(labels) > _SHOWN_LABELS else ""
        raise InputError(
            f"num_classes is {model.num_classes}, but the training texts have {len(labels)} labels "
            f"({', '.join(labels[:_SHOWN_LABELS])}{more}): write num_classes: {len(labels)}"
        )
    if corpus.texts != model.texts:
        come = "come in pairs" if corpus.texts == 2 else "are single"
        raise InputError(
            f"texts is {model.texts}, but the training texts {come}: write texts: {corpus.texts}"
        )
    try:
        check_labels(list(labels), model.num_classes)
    except ValueError as error:
        raise InputError(f"the training texts' labels cannot be used: {error}") from error


def _tokenizer(settings: ClassificationSettings, train: Sequence[LabelledText], *, again: bool) -> Tokenizer:
    path, width = settings.folder / "save" / "tokenizer.model", settings.model.output_neurons
    if again:
        tokenizer = Tokenizer.load(path)
    else:
        some = train[:: 1 + (len(train) - 1) // TOKENIZER_TEXTS]
        sentences = [text for one in some for text in (one.text, one.second) if text]
        tokenizer = train_tokenizer(sentences, path, output_neurons=width, model_type=settings.token_type)
    logger.info("Tokens: %d in the tokenizer, %d output neurons", tokenizer.size, width)
    return tokenizer


def _encoded(
    settings: ClassificationSettings, corpus: LabelledCorpus, labels: tuple[str, ...], tokenizer: Tokenizer
) -> ClassificationData:
    def encoded(name: str, texts: Sequence[LabelledText]) -> EncodedTexts:
        try:
            made = encode_texts(texts, tokenizer, labels, longest=settings.max_text_tokens)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        check_room(settings.model, made)
        return made

    def strange(name: str, texts: Sequence[LabelledText]) -> EncodedTexts:
        return encoded(f"{name}, of no class", [replace(one, label=labels[0]) for one in texts])

    return ClassificationData(
        corpus,
        encoded("train", corpus.train),
        encoded("valid", corpus.valid),
        {name: encoded(name, texts) for name, texts in corpus.tests.items()},
        {name: strange(name, texts) for name, texts in corpus.strangers.items()},
        labels,
        tokenizer,
    )


def _shortened(corpus: LabelledCorpus) -> LabelledCorpus:
    def few(splits: Mapping[str, Sequence[LabelledText]]) -> dict[str, Sequence[LabelledText]]:
        return {name: texts[:DEBUG_TEXTS] for name, texts in splits.items()}

    train, valid = corpus.train[:DEBUG_TEXTS], corpus.valid[:DEBUG_TEXTS]
    return LabelledCorpus(train, valid, few(corpus.tests), few(corpus.strangers))
