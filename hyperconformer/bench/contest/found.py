"""What the training of a recogniser found, utterance by utterance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from hyperconformer.bench.trainings.runs import Found

VALID = "valid"
# The search that every system is judged by; others may come beside it.
GREEDY = "greedy"


@dataclass(frozen=True)
class Judged:
    """What a system made of a set of recordings; all lists are in the order of their ids.

    Attributes
    ----------
    recordings : str
        A sum over ids and references; equal for equal sets.
    seconds : float
    words, characters : list of int
        Of every reference; the space between words is a character.
    word_edits, character_edits : mapping of str to list of int
        By search.
    loss : list of float
        Nats of every recording; empty where it was not asked.
    note : str
        Why there is nothing.

    Examples
    --------
    >>> Judged("t", 2.0, [3, 1], [9, 3], {"greedy": [1, 0]}, {"greedy": [2, 1]}).wer("greedy")
    0.25
    """

    recordings: str = ""
    seconds: float = 0.0
    words: list[int] = field(default_factory=list)
    characters: list[int] = field(default_factory=list)
    word_edits: Mapping[str, list[int]] = field(default_factory=dict)
    character_edits: Mapping[str, list[int]] = field(default_factory=dict)
    loss: list[float] = field(default_factory=list)
    note: str = ""

    def wer(self, search: str) -> float:
        """Word errors per word."""
        return sum(self.word_edits[search]) / sum(self.words)

    def cer(self, search: str) -> float:
        """Character errors per character."""
        return sum(self.character_edits[search]) / sum(self.characters)

    @property
    def mean_loss(self) -> float:
        """Nats of a recording."""
        return sum(self.loss) / max(1, len(self.loss))


def together(times: Sequence[Judged]) -> Judged:
    """Add up what a system made of the same utterances several times.

    Parameters
    ----------
    times : sequence of Judged
        At least one.

    Returns
    -------
    Judged
        Without losses.

    Examples
    --------
    >>> once = Judged("t", 2.0, [3, 1], [9, 3], {"greedy": [1, 0]}, {"greedy": [2, 1]})
    >>> twice = together([once, once])
    >>> twice.words, twice.word_edits, twice.seconds
    ([6, 2], {'greedy': [2, 0]}, 4.0)
    """

    def added(lists: Iterable[list[int]]) -> list[int]:
        return [sum(row) for row in zip(*lists, strict=True)]

    searches = times[0].word_edits
    return Judged(
        times[0].recordings,
        sum(one.seconds for one in times),
        added(one.words for one in times),
        added(one.characters for one in times),
        {search: added(one.word_edits[search] for one in times) for search in searches},
        {search: added(one.character_edits[search] for one in times) for search in searches},
    )


@dataclass(frozen=True)
class ContestFound(Found):
    """What a training found.

    Attributes
    ----------
    train_hours : float
        Audio of an epoch, as it was recorded.
    steps : int
    epochs : list of float
        Validation loss after every epoch, of the weights of that moment.
    audio_rate : float
        Seconds of audio that training went through in a second.
    peak_mib : float or None
        Most memory: of the process in training, on a GPU what PyTorch had allocated.
    splits : mapping of str to Judged
        By the averaged weights; ``valid`` among them.
    joined : mapping of str to Judged
        The test's utterances as they were heard in longer recordings, by these recordings' greatest seconds.
    encoder_rates : mapping of str to float
        Seconds of audio that the encoder goes through in a second, by the recording's length in seconds;
        known when all trainings of a part are over.

    Examples
    --------
    >>> found = ContestFound("k", "ok", splits={"valid": Judged(loss=[2.0, 4.0])}, train_seconds=9.0)
    >>> print(found)
    valid loss 3, 9 s
    >>> from dataclasses import asdict
    >>> ContestFound.from_dict(asdict(found)) == found
    True
    """

    bench: ClassVar[str] = "bench contest"

    train_hours: float = 0.0
    steps: int = 0
    epochs: list[float] = field(default_factory=list)
    audio_rate: float = 0.0
    peak_mib: float | None = None
    splits: Mapping[str, Judged] = field(default_factory=dict)
    joined: Mapping[str, Judged] = field(default_factory=dict)
    encoder_rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> str:
        """Validation loss and the tests' errors."""
        said = []
        for split, tested in self.splits.items():
            if split == VALID:
                said.append(f"valid loss {tested.mean_loss:.4g}")
            else:
                wers = {search: 100 * tested.wer(search) for search in tested.word_edits}
                said += [f"{split} {search} WER {wer:.2f} %" for search, wer in wers.items()]
        return ", ".join(said)

    @property
    def tests(self) -> list[str]:
        """Its splits but the one to validate by."""
        return [split for split in self.splits if split != VALID]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read plain values back."""
        tested = {
            name: {key: Judged(**one) for key, one in values.get(name, {}).items()}
            for name in ("splits", "joined")
        }
        return super().from_dict({**values, **tested})
