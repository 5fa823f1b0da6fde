"""What else a prefix search may ask for its opinion: words of an n-gram model, hotwords, or a language model.

A :class:`Fusion` is made once and used for many batches; for every batch it starts a :class:`Scorer`, which
follows the prefixes that the search keeps. A prefix is a node: an integer that the search gives to each
different token sequence, the roots of a batch's B utterances being 0 to B - 1.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hyperconformer.decoding.token_scorers import TokenScorer
from hyperconformer.errors import InputError
from hyperconformer.ngram.model import NGram
from hyperconformer.ngram.signs import END_WORD, SIGNS
from hyperconformer.text import Tokenizer

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Words in their contexts that are remembered from utterance to utterance.
_REMEMBERED = 2**18


class Scorer(Protocol):
    """Scores of the prefixes of one batch; every score has P parts, in nats and not weighted.

    Examples
    --------
    >>> sorted(name for name in vars(Scorer) if name[0] != "_")
    ['finish', 'grow', 'most', 'prepare', 'scores']
    """

    def prepare(self, live: Sequence[Integers], asked: Sequence[Integers]) -> None:
        """Hear of each utterance's live prefixes, and of those among them that will be asked for next."""
        ...

    def most(self, nodes_k: Integers) -> Floats:
        """(P,): no token adds more than this to any of the prefixes."""
        ...

    def scores(self, utterance: int, nodes_k: Integers, tokens_c: Integers) -> Floats:
        """(P, K, C): what each token adds to each prefix of an utterance."""
        ...

    def grow(self, parents: Sequence[int], tokens: Sequence[int], nodes: Sequence[int]) -> None:
        """Hear of prefixes that are now kept: each is a parent and a token."""
        ...

    def finish(self, utterance: int, nodes_k: Integers) -> Floats:
        """(P, K): what the end adds to each prefix of an utterance."""
        ...


class Fusion(Protocol):
    """Something that scores prefixes beside CTC.

    Examples
    --------
    >>> NGramFusion.parts
    ('ngram', 'words')
    """

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of its P parts."""
        ...

    def start(self, utterances: int) -> Scorer:
        """Begin a batch."""
        ...


class NGramFusion:
    """Words of a prefix, and what an n-gram model says of them.

    A word counts once it is complete: when the next token begins another one, or at the end. Words are those
    of :meth:`Tokenizer.decode`, so a piece that is a space alone ends a word as well, and a first piece
    without a space in front begins one. A word that the model does not know has the probability of its
    unknown word, ``<unk>``, whatever its letters.

    Parameters
    ----------
    ngram : NGram or None
        None counts words and scores none.
    tokenizer : Tokenizer
        Of the network whose tokens are searched.

    Raises
    ------
    InputError
        If the tokenizer can spell none of the model's words, as when one is in upper case and the other not.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tokenizer = train_tokenizer(["AB A"], Path(folder) / "m", output_neurons=6, model_type="char")
    >>> a, b, space = tokenizer.encode("AB A")[1], tokenizer.encode("AB")[2], tokenizer.encode("A")[0]
    >>> scorer = NGramFusion(None, tokenizer).start(1)
    >>> scorer.grow([0], [a], [1])
    >>> scorer.scores(0, np.array([1]), np.array([a, b, space]))[1].tolist()  # a space completes the word A
    [[0.0, 0.0, 1.0]]
    """

    parts = ("ngram", "words")

    def __init__(self, ngram: NGram | None, tokenizer: Tokenizer) -> None:
        # Ids beyond the tokenizer's stand for no text; so does this last one.
        self.texts = [*tokenizer.pieces(range(tokenizer.size)), ""]
        if ngram is not None:
            _check_alphabet(ngram, self.texts)
        self.ngram = ngram
        self.read = lru_cache(_REMEMBERED)(self._read)
        # A usual piece has a space in front or none; what others complete depends on more than that.
        self.begins = np.array([text[:1].isspace() for text in self.texts])
        self.odd = np.array([any(map(str.isspace, text.lstrip())) for text in self.texts])
        self.most_words = max(len(text.split()) + 1 for text in self.texts)

    def _read(self, state: int, partial: str, text: str) -> tuple[float, int, int, str]:
        """Read text behind a partial word.

        That gives the log-probability and the number of the words it completes, and then the model's state
        and the new partial word.
        """
        if not any(map(str.isspace, text)):
            return 0.0, 0, state, partial + text
        *complete, partial = (
            [*(partial + text).split(), ""] if text[-1].isspace() else (partial + text).split()
        )
        total = 0.0
        for word in complete:
            log, state = self.step(state, word)
            total += log
        return total, len(complete), state, partial

    def step(self, state: int, word: str) -> tuple[float, int]:
        """Log-probability of a word behind a state, and the state behind the word."""
        return (0.0, 0) if self.ngram is None else self.ngram.step(state, self.ngram.index(word))

    def end(self, state: int) -> float:
        """Log-probability of the end behind a state."""
        return 0.0 if self.ngram is None else self.ngram.step(state, END_WORD)[0]

    def start(self, utterances: int) -> "NGramScorer":
        """Begin a batch.

        Parameters
        ----------
        utterances : int
            How many.

        Returns
        -------
        NGramScorer
        """
        return NGramScorer(self, utterances)


def _check_alphabet(ngram: NGram, texts: Sequence[str]) -> None:
    """Refuse a model of words that can never be heard."""
    words = ngram.words[len(SIGNS) :]
    alphabet = set().union(*texts)
    if words and not any(alphabet.issuperset(word) for word in words):
        raise InputError(
            f"the tokenizer can spell none of the n-gram model's words, for instance {words[0]!r}: build the "
            f"model from text in the spelling of the training transcripts (upper or lower case)"
        )


class NGramScorer:
    """The words of one batch's prefixes; :meth:`NGramFusion.start` makes it.

    Parameters
    ----------
    fusion : NGramFusion
    utterances : int

    Examples
    --------
    >>> NGramScorer.__init__.__annotations__["utterances"]
    <class 'int'>
    """

    def __init__(self, fusion: NGramFusion, utterances: int) -> None:
        self.fusion = fusion
        begin = 0 if fusion.ngram is None else fusion.ngram.start()
        # Of each node the model's state and the word that is not complete.
        self.known: dict[int, tuple[int, str]] = dict.fromkeys(range(utterances), (begin, ""))

    def prepare(self, live: Sequence[Integers], asked: Sequence[Integers]) -> None:
        """Nothing to do."""

    def most(self, nodes_k: Integers) -> Floats:
        """Log-probabilities are not above zero."""
        return np.array([0.0, self.fusion.most_words])

    def scores(self, utterance: int, nodes_k: Integers, tokens_c: Integers) -> Floats:
        """What each token's beginning completes."""
        fusion = self.fusion
        ids_c = np.minimum(tokens_c, len(fusion.texts) - 1)
        complete_pk = self._complete(nodes_k.tolist())
        added_pkc = np.where(fusion.begins[ids_c], complete_pk[:, :, None], 0.0)
        for column in np.flatnonzero(fusion.odd[ids_c]):
            text = fusion.texts[ids_c[column]]
            for row, node in enumerate(nodes_k.tolist()):
                added_pkc[:, row, column] = fusion.read(*self.known[node], text)[:2]
        return added_pkc

    def _complete(self, nodes: Sequence[int]) -> Floats:
        read, known = self.fusion.read, self.known
        return np.array([read(*known[node], " ")[:2] for node in nodes]).T

    def grow(self, parents: Sequence[int], tokens: Sequence[int], nodes: Sequence[int]) -> None:
        """Read on."""
        texts = self.fusion.texts
        for parent, token, node in zip(parents, tokens, nodes, strict=True):
            text = texts[min(token, len(texts) - 1)]
            self.known[node] = self.fusion.read(*self.known[parent], text)[2:]

    def finish(self, utterance: int, nodes_k: Integers) -> Floats:
        """The last word, and the end of the sentence."""
        added_pk = self._complete(nodes_k.tolist())
        for row, node in enumerate(nodes_k.tolist()):
            state = self.fusion.read(*self.known[node], " ")[2]
            added_pk[0, row] += self.fusion.end(state)
        return added_pk


class HotwordFusion:
    """Bonuses of phrases as a part of the score.

    Parameters
    ----------
    hotwords : TokenScorer
        For instance :class:`hyperconformer.decoding.hotwords.Hotwords`.

    Examples
    --------
    >>> HotwordFusion.parts
    ('hotwords',)
    """

    parts = ("hotwords",)

    def __init__(self, hotwords: TokenScorer) -> None:
        self.hotwords = hotwords

    def start(self, utterances: int) -> "HotwordScorer":
        """Begin a batch.

        Parameters
        ----------
        utterances : int
            How many.

        Returns
        -------
        HotwordScorer
        """
        return HotwordScorer(self.hotwords, utterances)


class HotwordScorer:
    """Bonuses of one batch's prefixes.

    Parameters
    ----------
    hotwords : TokenScorer
    utterances : int

    Examples
    --------
    >>> HotwordScorer.__init__.__annotations__["utterances"]
    <class 'int'>
    """

    def __init__(self, hotwords: TokenScorer, utterances: int) -> None:
        self.hotwords = hotwords
        self.states = dict.fromkeys(range(utterances), hotwords.start())
        self._tables: dict[int, tuple[npt.NDArray[np.floating], float]] = {}

    def _table(self, state: int) -> tuple[npt.NDArray[np.floating], float]:
        if state not in self._tables:
            bonuses_v = self.hotwords.bonuses(state).cpu().numpy()
            self._tables[state] = bonuses_v, float(bonuses_v.max())
        return self._tables[state]

    def prepare(self, live: Sequence[Integers], asked: Sequence[Integers]) -> None:
        """Nothing to do."""

    def most(self, nodes_k: Integers) -> Floats:
        """The highest bonus of any state at hand."""
        return np.array([max(self._table(self.states[node])[1] for node in nodes_k.tolist())])

    def scores(self, utterance: int, nodes_k: Integers, tokens_c: Integers) -> Floats:
        """The bonuses of each prefix's state."""
        rows = [self._table(self.states[node])[0][tokens_c] for node in nodes_k.tolist()]
        return np.array(rows, dtype=np.float64)[None]

    def grow(self, parents: Sequence[int], tokens: Sequence[int], nodes: Sequence[int]) -> None:
        """Follow the tokens."""
        for parent, token, node in zip(parents, tokens, nodes, strict=True):
            self.states[node] = self.hotwords.advance(self.states[parent], token)

    def finish(self, utterance: int, nodes_k: Integers) -> Floats:
        """Complete or take back."""
        return np.array([[self.hotwords.finish(self.states[node]) for node in nodes_k.tolist()]])
