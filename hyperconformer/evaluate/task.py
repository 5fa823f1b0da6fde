"""What a process is told that decodes, and what it tells of every batch; all of it travels."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hyperconformer.decoding.confidence import Calibration
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.types import Word


@dataclass(frozen=True)
class Asked:
    """A search to be run on every utterance.

    Attributes
    ----------
    decode : str
        Its name.
    options : SearchOptions
    reranked : tuple of SearchOptions
        If there are any, its n-best list is ranked again by each of them, and they are what is answered.

    Examples
    --------
    >>> Asked("rescore", SearchOptions(nbest=10), (SearchOptions(), SearchOptions(lm_weight=0.5))).variants
    [SearchOptions(beam_size=10, ...), SearchOptions(beam_size=10, ..., lm_weight=0.5, ...)]
    """

    decode: str
    options: SearchOptions
    reranked: tuple[SearchOptions, ...] = ()

    @property
    def variants(self) -> list[SearchOptions]:
        """The options of every answer."""
        return list(self.reranked) or [self.options]


@dataclass(frozen=True)
class Task:
    """All that a process needs to decode batches.

    Attributes
    ----------
    model : str
        Model folder.
    asked : tuple of Asked
    lm, ngram, hotwords : str or None
        Folder and files of what helps the searches.
    device, precision : str
    word_timestamps : bool
        Align the words of every best hypothesis.
    calibrations : mapping of str to Calibration
        Of their confidences, by search.

    Examples
    --------
    >>> Task("model", (Asked("greedy", SearchOptions()),)).precision
    'fp32'
    """

    model: str
    asked: tuple[Asked, ...]
    lm: str | None = None
    ngram: str | None = None
    hotwords: str | None = None
    device: str = "cpu"
    precision: str = "fp32"
    word_timestamps: bool = False
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """A hypothesis in words.

    Attributes
    ----------
    text : str
    score : float
    parts : mapping of str to float
        Unweighted terms of the score.

    Examples
    --------
    >>> Said("ONE TWO", -1.5, {"ctc": -1.5}).text
    'ONE TWO'
    """

    text: str
    score: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """What a search says of an utterance.

    Attributes
    ----------
    nbest : tuple of Said
        Best first.
    words : tuple of Word, or None
        Of the best, where they were asked for.

    Examples
    --------
    >>> Answer((Said("ONE", -0.5, {}), Said("WON", -1.5, {}))).text
    'ONE'
    """

    nbest: tuple[Said, ...]
    words: tuple[Word, ...] | None = None

    @property
    def text(self) -> str:
        """The best hypothesis."""
        return self.nbest[0].text


@dataclass(frozen=True)
class Done:
    """A batch, decoded.

    Attributes
    ----------
    seconds : dict of int to float
        Duration of each of its files.
    answers : tuple of dict of int to Answer
        For every variant of every search asked for, in this order: by file; none where no file could be
        read.
    faults : dict of int to str
        Files that could not be read, and why.
    times : dict of str to float
        Seconds by what they went to: ``wait`` (for audio), ``encode``, and the place of each search.
    span : (float, float)
        When the process turned to it and when it was done, by the clock that all processes share.

    Examples
    --------
    >>> Done({1: 2.5}, ({},), {3: "no such file"}).files
    [1, 3]
    """

    seconds: dict[int, float]
    answers: tuple[dict[int, Answer], ...]
    faults: dict[int, str] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    span: tuple[float, float] = (0.0, 0.0)

    @property
    def files(self) -> list[int]:
        """All of the batch, whether they could be read or not."""
        return [*self.seconds, *self.faults]
