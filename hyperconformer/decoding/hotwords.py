"""Hotwords: phrases that a search is told to expect, each of their characters worth a bonus.

The phrases stand in a tree of characters, so it does not matter into which tokens a search cuts them. What
counts is the text that :meth:`~hyperconformer.text.Tokenizer.decode` gives, read from left to right: where a
word begins, the longest phrase that stands there in whole words is matched, and reading goes on behind it
(leftmost, longest, without overlap). Every letter of a match is worth the bonus, the spaces between its words
are worth nothing. A search cannot wait for a phrase's end, so a letter is paid as soon as it fits and taken
back once its phrase can no longer be completed; a phrase that begins inside the failed one is then paid
instead.

References
----------
Aho and Corasick, Efficient string matching, 1975. Zhao et al., Shallow-fusion end-to-end contextual biasing,
Interspeech 2019.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperconformer.errors import InputError
from hyperconformer.text import Tokenizer

SPACE = " "
# States: inside a word that no phrase has; where a word begins; behind them, a node of the tree each.
OUTSIDE, START = 0, 1

Letters = npt.NDArray[np.float32]

MOST_ROWS = 2048
"""Rows of bonuses that are kept; 20 kB each with 5,000 tokens."""


class Hotwords:
    """The bonuses of a search, token by token.

    States are numbers: equal states have equal futures, so hypotheses in one state share their bonuses.

    Parameters
    ----------
    phrases : iterable of str
        Words separated by white space. One that the tokenizer cannot write is tried in upper, then in lower
        case (and composed, NFC); those that are the same then count once.
    tokenizer : Tokenizer
        Of the model that is searched.
    bonus : float
        Nats a letter. Below zero, the phrases are avoided.
    output_neurons : int or None
        Width V of the network, if it is wider than its tokenizer; the ids above spell nothing.

    Attributes
    ----------
    phrases : tuple of str
        As they are matched.

    Raises
    ------
    InputError
        If a phrase is empty or has a character that the tokenizer cannot write.
    ValueError
        If the bonus is not finite, or V smaller than the tokenizer.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tokenizer.model"
    ...     tokenizer = train_tokenizer(["NEW YORK"], path, output_neurons=11, model_type="char")
    >>> hotwords = Hotwords(["New York"], tokenizer, bonus=0.5)
    >>> state, paid = hotwords.start(), []
    >>> for token in tokenizer.encode("NEW YORK"):
    ...     paid.append(hotwords.bonuses(state)[token].item())
    ...     state = hotwords.advance(state, token)
    >>> sum(paid), hotwords.finish(state), hotwords.score(tokenizer.encode("NEW NEW"))
    (3.5, 0.0, 0.0)
    """

    def __init__(
        self,
        phrases: Iterable[str],
        tokenizer: Tokenizer,
        bonus: float,
        *,
        output_neurons: int | None = None,
    ) -> None:
        width = tokenizer.size if output_neurons is None else output_neurons
        if not math.isfinite(bonus):
            raise ValueError(f"the bonus of hotwords must be finite, got {bonus}")
        if width < tokenizer.size:
            raise ValueError(f"output_neurons must be at least the tokenizer's {tokenizer.size}, got {width}")
        self.bonus = bonus
        self._texts = [_spaced(text) for text in tokenizer.pieces(range(width))]
        known = set().union(*self._texts)
        self.phrases = tuple(dict.fromkeys(_as_written(phrase, known) for phrase in phrases))
        self._tree = _PhraseTree(self.phrases)
        self._order = sorted(range(width), key=self._texts.__getitem__)
        self._branches = _grow([self._texts[token] for token in self._order])
        self._rows: dict[int, Tensor] = {}
        self._blocks: dict[int, Letters] = {}

    def start(self) -> int:
        """The state before a sentence's first token."""
        return START

    def bonuses(self, state: int) -> Tensor:
        """What each next token changes.

        Parameters
        ----------
        state : int

        Returns
        -------
        Tensor, shape (V,), float32
            Nats: the bonus of the letters that fit, less that of letters which now belong to no phrase.
            Tokens that spell nothing change nothing; a sentence's end is asked of :meth:`finish`. It is kept
            for the next one who asks: do not write to it.
        """
        row = self._rows.get(state)
        if row is None:
            if len(self._rows) >= MOST_ROWS:
                self._rows.clear()
            row = self._rows[state] = self._row(state)
        return row

    def advance(self, state: int, token: int) -> int:
        """Read a token.

        Parameters
        ----------
        state, token : int

        Returns
        -------
        int
            The state behind it.
        """
        for character in self._texts[token]:
            state, _ = self._tree.step(state, character)
        return state

    def finish(self, state: int) -> float:
        """What the sentence's end changes.

        Parameters
        ----------
        state : int

        Returns
        -------
        float
            Nats: zero where a phrase is complete, else what was paid for its beginning is taken back.
        """
        return self.bonus * (self._tree.finish(state) - self._tree.letters[state])

    def score(self, tokens: Sequence[int]) -> float:
        """All bonuses of a sentence.

        Parameters
        ----------
        tokens : sequence of int

        Returns
        -------
        float
            Nats: the bonus times the letters of all matches.
        """
        state, total = START, 0
        for token in tokens:
            for character in self._texts[token]:
                state, kept = self._tree.step(state, character)
                total += kept
        return self.bonus * (total + self._tree.finish(state))

    def _row(self, state: int) -> Tensor:
        """Bonuses in the order of tokens."""
        letters = np.empty(len(self._texts), dtype=np.float32)
        letters[self._order] = self._after(self._branches, state) - self._tree.letters[state]
        return torch.from_numpy(self.bonus * letters)

    def _after(self, branch: "_Branch", state: int) -> Letters:
        """Letters that are paid behind each token of a branch whose first characters led to a state.

        It walks through both trees at once, and only where a phrase could still go on.
        """
        tree = self._tree
        found = np.empty(branch.high - branch.low, dtype=np.float32)
        walks = [(branch, state, 0)]
        while walks:
            here, at, kept = walks.pop()
            low, inner, high = here.low - branch.low, here.inner - branch.low, here.high - branch.low
            found[low:inner] = kept + tree.letters[at]
            if inner == high:
                continue
            # Of all that is not walked below, no letter fits and the word has no end.
            found[inner:high] = kept + tree.lost[at]
            for character in tree.live(at, here.children) | here.spaced:
                child, (after, more) = here.children[character], tree.step(at, character)
                if character == SPACE and here is self._branches:
                    # Words of many kinds end alike, and half of all tokens begin a word.
                    block = self._begun(child, after)
                    found[child.low - branch.low : child.high - branch.low] = block + (kept + more)
                else:
                    walks.append((child, after, kept + more))
        return found

    def _begun(self, branch: "_Branch", state: int) -> Letters:
        """What is paid behind all tokens that begin with a space."""
        block = self._blocks.get(state)
        if block is None:
            if len(self._blocks) >= MOST_ROWS:
                self._blocks.clear()
            block = self._blocks[state] = self._after(branch, state)
        return block


class _PhraseTree:
    """What has been read of which phrase: an automaton that steps by characters.

    Each step also tells how many letters became part of a match for good. Lists are by state.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self.children: list[dict[str, int]] = [{SPACE: START}, {}]
        self.letters = [0, 0]  # of the phrase at hand
        self.complete = [False, False]
        for phrase in phrases:
            self._add(phrase)
        size = len(self.letters)
        # Where no child fits: the state behind what is left once the longest match, or else the first word,
        # is taken off; the letters of that match; and of all matches if nothing more fits at all.
        self.fallback, self.kept, self.lost = [OUTSIDE] * size, [0] * size, [0] * size
        self._link()

    def _add(self, phrase: str) -> None:
        node = START
        for character in phrase:
            child = self.children[node].get(character)
            if child is None:
                child = self.children[node][character] = len(self.children)
                self.children.append({})
                self.letters.append(self.letters[node] + (character != SPACE))
                self.complete.append(False)
            node = child
        self.complete[node] = True

    def _link(self) -> None:
        """Give each node its fallback, shorter ones first: theirs are needed."""
        layer, starts = [START], [START]
        while layer:
            deeper = []
            for node in layer:
                for character, child in self.children[node].items():
                    if character == SPACE and self.complete[node]:
                        self.fallback[child], self.kept[child] = START, self.letters[node]
                    elif node != START:
                        self.fallback[child], more = self.step(self.fallback[node], character)
                        self.kept[child] = self.kept[node] + more
                    self.lost[child] = self.kept[child] + self.lost[self.fallback[child]]
                    deeper.append(child)
                    if character == SPACE:
                        starts.append(child)
            layer = deeper
        for node in starts:  # several spaces are one
            self.children[node][SPACE] = node

    def step(self, state: int, character: str) -> tuple[int, int]:
        """The state behind a character, and letters that are now matched for good."""
        kept = 0
        while (child := self.children[state].get(character)) is None:
            if character == SPACE and self.complete[state]:
                return START, kept + self.letters[state]
            if state == OUTSIDE:
                return OUTSIDE, kept
            kept += self.kept[state]
            state = self.fallback[state]
        return child, kept

    def finish(self, state: int) -> int:
        """Letters that are matched for good when the sentence ends here."""
        state, kept = self.step(state, SPACE)
        return kept + self.lost[state]

    def live(self, state: int, characters: Mapping[str, object]) -> set[str]:
        """Those of some characters that a phrase could go on with."""
        found: set[str] = set()
        while state != OUTSIDE:
            found |= characters.keys() & self.children[state].keys()
            state = self.fallback[state]
        return found


class _Branch:
    """Tokens that begin alike: numbers low to high of all, sorted by text; up to inner they end here."""

    def __init__(self, low: int) -> None:
        self.low, self.inner, self.high = low, low, low
        self.children: dict[str, _Branch] = {}
        self.spaced: set[str] = set()  # children with a space in or below them


def _grow(texts: Sequence[str]) -> _Branch:
    """The tree of sorted texts."""
    root = _Branch(0)
    for number, text in enumerate(texts):
        branch, last_space = root, text.rfind(SPACE)
        branch.high = number + 1
        for depth, character in enumerate(text):
            if depth <= last_space:
                branch.spaced.add(character)
            branch = branch.children.setdefault(character, _Branch(number))
            branch.high = number + 1
        branch.inner = number + 1
    return root


def _spaced(text: str) -> str:
    """Every kind of white space parts words when a text is decoded."""
    return "".join(SPACE if character.isspace() else character for character in text)


def _as_written(phrase: str, known: set[str]) -> str:
    """Bring a phrase into the characters that a tokenizer knows."""
    words = SPACE.join(phrase.split())
    if not words:
        raise InputError("a hotword is empty: take it out of the list")
    forms = [words, *(unicodedata.normalize("NFC", case(words)) for case in (str, str.upper, str.lower))]
    strange = [set(form) - known - {SPACE} for form in forms]
    for form, characters in zip(forms, strange, strict=True):
        if not characters:
            return form
    fewest = min(strange, key=len)
    named = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in sorted(fewest))
    raise InputError(
        f"hotword {words!r} has {named}, which the model cannot write: "
        "spell it as the training transcripts would, or take it out"
    )


def read_hotwords(path: Path, tokenizer: Tokenizer | None = None) -> list[str]:
    r"""Read a list of phrases.

    Parameters
    ----------
    path : Path
        Text in UTF-8, a phrase a line; empty lines are passed over.
    tokenizer : Tokenizer or None
        To refuse phrases that it cannot write here, where the line is known.

    Returns
    -------
    list of str
        The phrases, as they stand there but for white space.

    Raises
    ------
    InputError
        If the file cannot be read, has no phrase or one that cannot be used. The message names the file and
        the line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "hotwords.txt"
    ...     _ = path.write_text("QUILTER\n\nNEW  YORK\n")
    ...     read_hotwords(path)
    ['QUILTER', 'NEW YORK']
    >>> read_hotwords(Path("nowhere.txt"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: hotwords 'nowhere.txt' cannot be read (No such file or directory): ...
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"hotwords '{path}' cannot be read ({error.strerror}): correct the path") from error
    known = set().union(*map(_spaced, tokenizer.pieces(range(tokenizer.size)))) if tokenizer else None
    phrases = []
    for number, raw in enumerate(lines, start=1):
        try:
            phrase = SPACE.join(raw.decode("utf-8-sig" if number == 1 else "utf-8").split())
            if phrase and known is not None:
                _as_written(phrase, known)
        except UnicodeDecodeError as error:
            raise InputError(
                f"hotwords '{path}', line {number}: not UTF-8: save the file as UTF-8"
            ) from error
        except InputError as error:
            raise InputError(f"hotwords '{path}', line {number}: {error}") from error
        phrases += [phrase] if phrase else []
    if not phrases:
        raise InputError(f"hotwords '{path}' has no phrase: write one a line")
    return phrases
