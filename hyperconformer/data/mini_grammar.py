"""The sentences of the embedded corpus: short plain English, drawn from a small grammar.

Every word is drawn about as often as its neighbours, so that a small corpus repeats all of them.
No two words of the grammar sound alike, whatever the accent.
"""

import random
import re
from collections.abc import Iterator
from string import Formatter

_SLOTS = {
    slot: tuple(words.split())
    for slot, words in {
        "name": "emma peter maria david susan robert helen oliver",
        "person": "teacher farmer doctor sailor baker captain singer student pilot carpenter",
        "family": "brother sister mother uncle cousin",
        "quality": "young clever quiet friendly famous gentle",
        "feeling": "happy tired hungry nervous thirsty",
        "did": "found carried painted bought dropped repaired",
        "colour": "green yellow purple brown",
        "look": "heavy little wooden silver dirty beautiful",
        "thing": "basket letter bicycle picture candle bottle hammer umbrella guitar mirror pencil jacket",
        "furniture": "table cupboard sofa fireplace window",
        "place": "garden kitchen forest market station school hospital village library",
        "sight": "river bridge mountain castle",
        "animal": "rabbit donkey tiger elephant puppy squirrel",
        "gait": "jumped walked danced waited rested hurried",
        "near": "near behind around outside",
        "spot": "near behind under beside",
        "number": "three five six seven nine ten twelve twenty",
        "goods": "plates spoons tickets buttons",
        "food": "potatoes cookies pancakes carrots sandwiches",
        "flock": "horses sheep cows birds",
        "meal": "breakfast lunch dinner",
        "when": "after before",
        "day": "monday tuesday wednesday thursday friday saturday",
        "warmth": "cold warm",
        "sky": "windy stormy foggy cloudy",
        "season": "summer winter autumn spring",
        "fetch": "bring send take return",
        "want": "wants needs",
    }.items()
}
_PATTERNS = (
    "the {quality} {person} {did} the {colour} {thing}.",
    "{name} {did} the {look} {thing} on {day}.",
    "{name} and the {quality} {person} {gait} {near} the {place}.",
    "please {fetch} the {look} {thing} to the {person}.",
    "please {fetch} {number} {food} to the {place}.",
    "please put the {colour} {thing} {spot} the {furniture}.",
    "the {animal} {gait} {near} the {sight} this morning.",
    "the {quality} {animal} {gait} {spot} the {furniture}.",
    "{name} {want} {number} {colour} {goods} from the {place}.",
    "where is the {look} {thing} from the {place}?",
    "who {did} the {thing} {when} {meal} yesterday?",
    "why is the {look} {animal} {feeling} this morning?",
    "why was my {family} {feeling} in the {place}?",
    "it was {warmth} and {sky} {near} the {sight} on {day}.",
    "we had {number} {food} with my {family} {when} {meal}.",
    "we counted {number} {flock} {near} the {place} on {day}.",
    "the {flock} are {feeling} because it was {warmth} yesterday.",
    "my {family} will visit the {sight} with {name} on {day}.",
    "my {family} travels to the {place} every {season}.",
    "every {season} the {person} {want} {number} {food}.",
    "the {person} was {feeling} because it was {sky}.",
    "the {thing} and the {goods} are {spot} the {furniture}.",
)


class _Bag:
    """Draws every item once, in a random order, before any comes again."""

    def __init__(self, items: tuple[str, ...], chance: random.Random) -> None:
        self._items = items
        self._chance = chance
        self._left: list[str] = []

    def draw(self) -> str:
        if not self._left:
            self._left = list(self._items)
            self._chance.shuffle(self._left)
        return self._left.pop()


def draw_sentences(seed: int) -> Iterator[str]:
    """Distinct sentences without end, the same ones for the same seed.

    Parameters
    ----------
    seed : int
        Seed of the draw.

    Yields
    ------
    str
        A sentence in lower case with its final mark, ready to be spoken.

    Examples
    --------
    >>> sentences = draw_sentences(seed=0)
    >>> next(sentences)
    'why is the wooden elephant hungry this morning?'
    """
    chance = random.Random(f"sentences {seed}")
    patterns = _Bag(_PATTERNS, chance)
    bags = {slot: _Bag(words, chance) for slot, words in _SLOTS.items()}
    seen: set[str] = set()
    while True:
        pattern = patterns.draw()
        slots = [slot for _, slot, _, _ in Formatter().parse(pattern) if slot]
        sentence = pattern.format(**{slot: bags[slot].draw() for slot in slots})
        if sentence not in seen:
            seen.add(sentence)
            yield sentence


def transcript(sentence: str) -> str:
    """The words of a sentence as LibriSpeech writes them.

    Parameters
    ----------
    sentence : str
        A sentence in lower case, with a final mark.

    Returns
    -------
    str
        Words in upper case, separated by single spaces.

    Examples
    --------
    >>> transcript("where is the puppy?")
    'WHERE IS THE PUPPY'
    """
    return sentence.rstrip(".?").upper()


def vocabulary() -> frozenset[str]:
    """All words of the grammar.

    Returns
    -------
    frozenset of str
        Words in upper case.

    Examples
    --------
    >>> "UMBRELLA" in vocabulary()
    True
    """
    fixed = " ".join(text for pattern in _PATTERNS for text, *_ in Formatter().parse(pattern))
    drawn = " ".join(word for slot in _SLOTS.values() for word in slot)
    return frozenset(re.findall("[A-Z]+", f"{fixed} {drawn}".upper()))
