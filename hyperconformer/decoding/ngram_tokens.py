"""An n-gram model of words as an automaton over tokens, for searches that score all next tokens at once."""

import torch
from torch import Tensor

from hyperconformer.decoding.fusion import NGramFusion

MOST_ROWS, MOST_STATES = 512, 2**18
"""Rows of scores, and states, that are kept from utterance to utterance."""


class NGramTokens:
    """One of the two scores of :class:`NGramFusion`, token by token.

    Parameters
    ----------
    fusion : NGramFusion
    part : str
        "ngram", the log-probability of the words that are complete, or "words", their number.
    output_neurons : int
        Width V of the network.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tokenizer = train_tokenizer(["AB A"], Path(folder) / "m", output_neurons=6, model_type="char")
    >>> words = NGramTokens(NGramFusion(None, tokenizer), "words", 6)
    >>> state, count = words.start(), 0.0
    >>> for token in tokenizer.encode("AB A"):
    ...     count += words.bonuses(state)[token].item()
    ...     state = words.advance(state, token)
    >>> count, words.finish(state)
    (1.0, 1.0)
    """

    def __init__(self, fusion: NGramFusion, part: str, output_neurons: int) -> None:
        self.fusion, self.part, self.output_neurons = fusion, fusion.parts.index(part), output_neurons
        begin = 0 if fusion.ngram is None else fusion.ngram.start()
        # Of each state, the model's and the word that is not complete.
        self._known: list[tuple[int, str]] = [(begin, "")]
        self._numbers = {self._known[0]: 0}
        self._rows: dict[int, Tensor] = {}
        beyond = output_neurons - len(fusion.begins)
        self._begins = torch.nn.functional.pad(torch.from_numpy(fusion.begins), (0, beyond))[:output_neurons]
        self._odd = [int(token) for token in fusion.odd.nonzero()[0] if token < output_neurons]

    def start(self) -> int:
        """The state before the first token."""
        if len(self._known) > MOST_STATES:
            self._known = self._known[:1]
            self._numbers = {self._known[0]: 0}
            self._rows.clear()
        return 0

    def bonuses(self, state: int) -> Tensor:
        """What the beginning of each token completes; (V,), float32."""
        if state not in self._rows:
            if len(self._rows) == MOST_ROWS:
                self._rows.clear()
            known = self._known[state]
            row = self._begins.float() * self._complete(known, " ")
            for token in self._odd:
                row[token] = self._complete(known, self.fusion.texts[token])
            self._rows[state] = row
        return self._rows[state]

    def advance(self, state: int, token: int) -> int:
        """Read on."""
        text = self.fusion.texts[min(token, len(self.fusion.texts) - 1)]
        known = self.fusion.read(*self._known[state], text)[2:]
        if known not in self._numbers:
            self._numbers[known] = len(self._known)
            self._known.append(known)
        return self._numbers[known]

    def finish(self, state: int) -> float:
        """The last word, and the end of the sentence."""
        known = self._known[state]
        end = self.fusion.end(self.fusion.read(*known, " ")[2]) if self.part == 0 else 0.0
        return self._complete(known, " ") + end

    def _complete(self, known: tuple[int, str], text: str) -> float:
        log, count, _, _ = self.fusion.read(*known, text)
        return float(count if self.part else log)
