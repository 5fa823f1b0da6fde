"""Phrases in a tree of characters that reads a text once and never steps back.

References
----------
Aho and Corasick, Efficient string matching, 1975.
"""

from collections.abc import Mapping, Sequence

SPACE = " "
# States: inside a word that no phrase has; where a word begins; behind them, a node of the tree each.
OUTSIDE, START = 0, 1


class PhraseTree:
    """What has been read of which phrase: an automaton that steps by characters.

    Each step also tells how many letters became part of a match for good.

    Parameters
    ----------
    phrases : sequence of str
        Words separated by single spaces.

    Attributes
    ----------
    children : list of dict of str to int
        Of each state.
    letters : list of int
        Of each state: those of the phrase at hand that were read, spaces not counted.
    lost : list of int
        Of each state: letters that are matched if nothing more of any phrase fits.

    Examples
    --------
    >>> tree, state = PhraseTree(["A", "A BC"]), START
    >>> for character in "A B ":
    ...     state, kept = tree.step(state, character)
    ...     print(tree.letters[state], kept)
    1 0
    1 0
    2 0
    0 1
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self.children: list[dict[str, int]] = [{SPACE: START}, {}]
        self.letters = [0, 0]  # of the phrase at hand
        self.complete = [False, False]
        for phrase in phrases:
            self._add(phrase)
        size = len(self.letters)
        # Where no child fits: the state behind what is left once the longest match, or else the first word,
        # is taken off, and the letters of that match.
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
