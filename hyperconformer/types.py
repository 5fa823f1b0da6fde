"""What travels between rooms: an utterance, a hypothesis, a word, a segment, a transcript."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Utterance:
    """One recorded sentence and its reference transcript.

    Attributes
    ----------
    id : str
        Unique in its corpus, for instance ``1272-128104-0000``.
    seconds : float
        Duration of the audio.
    path : str
        Audio file.
    speaker : str
        Speaker label; bootstrap intervals are drawn over speakers.
    words : str
        Reference transcript, words separated by single spaces.

    Examples
    --------
    >>> Utterance("1272-128104-0000", 5.9, "1272-128104-0000.flac", "1272", "MISTER QUILTER").speaker
    '1272'
    """

    id: str
    seconds: float
    path: str
    speaker: str
    words: str


@dataclass(frozen=True)
class Hypothesis:
    """One candidate token sequence of a search.

    Attributes
    ----------
    tokens : tuple of int
        Token ids without blank, begin or end symbols.
    score : float
        Total log-score by which the search ranked it (higher is better).
    parts : mapping of str to float
        The terms of the score, for instance ``{"ctc": -1.2, "attention": -0.8}``.

    Examples
    --------
    >>> Hypothesis((5, 9), score=-2.0, parts={"ctc": -1.2, "attention": -0.8}).tokens
    (5, 9)
    """

    tokens: tuple[int, ...]
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Word:
    """A recognised word, when it was spoken and how sure that is.

    Attributes
    ----------
    text : str
        The word.
    start, end : float
        Seconds from the beginning of the audio.
    confidence : float
        From 0 to 1: how probable it is that the word is right.

    Examples
    --------
    >>> Word("ONE", start=0.12, end=0.46, confidence=0.98).text
    'ONE'
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech and what was said in it.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the audio.
    text : str
        Recognised words, separated by single spaces.
    words : tuple of Word
        The same words with their times, where these were asked for; else none.
    hypotheses : tuple of Hypothesis
        What the search returned, best first; ``text`` is that of the first.

    Examples
    --------
    >>> Segment(0.0, 1.5, "ONE TWO").text
    'ONE TWO'
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """The text of one recording.

    Attributes
    ----------
    seconds : float
        Duration of the audio.
    segments : tuple of Segment
        In the order of time; a short recording is one.
    timings : mapping of str to float
        Seconds that the recording took, by what they went to: ``read`` (wait for audio; in a long one,
        look for speech too), ``encode``, ``search`` and ``words``; of a batch, its share by duration.

    Examples
    --------
    >>> said = Transcript(3.0, (Segment(0.0, 1.5, "ONE TWO"), Segment(2.0, 3.0, "THREE")))
    >>> said.text
    'ONE TWO THREE'
    """

    seconds: float
    segments: tuple[Segment, ...]
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All that was said."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)
