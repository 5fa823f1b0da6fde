"""Subtitles of a transcript: what is read at once, and from when to when."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hyperconformer.types import Segment, Transcript, Word

LINE_CHARACTERS = 42
LINES = 2
LONGEST_MS = 7_000
SHORTEST_MS = 1_000
"""Shorter ones stay for as long, where nothing comes in between."""
PAUSE_SECONDS = 1.0
"""What is said after such a pause is always a cue of its own."""

# Nothing prints these; a line break among them would end a cue.
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True)
class Cue:
    """One subtitle.

    Attributes
    ----------
    start_ms, end_ms : int
        Milliseconds from the beginning of the audio.
    lines : tuple of str
        At least one, none of them empty.

    Examples
    --------
    >>> Cue(0, 1500, ("ONE TWO",)).lines
    ('ONE TWO',)
    """

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Piece:
    """Text of a cue and when it would like to be seen."""

    start_ms: int
    end_ms: int
    text: str


def plain(text: str) -> str:
    r"""Put text on one line: white space and control characters become single spaces.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> plain("  ONE\tTWO\n\nTHREE ")
    'ONE TWO THREE'
    """
    return _BLANK.sub(" ", text).strip()


def milliseconds(seconds: float) -> int:
    """Round a time.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    int

    Examples
    --------
    >>> milliseconds(1.2345)
    1234
    """
    return round(seconds * 1000)


def cues(transcript: Transcript) -> list[Cue]:
    """Cut a transcript into subtitles.

    A segment whose words have times is cut at long pauses, and then near the middle, rather at a pause, until
    each piece has at most two lines of 42 characters and 7 seconds; only a single word may have more
    characters. A segment without such words is one cue.

    Parameters
    ----------
    transcript : Transcript

    Returns
    -------
    list of Cue
        Each starts after the one before, ends after it starts and before the next starts, and lies within
        the audio (of at least a millisecond). Where there are more of them than milliseconds, the last one
        has the rest of the text.

    Examples
    --------
    >>> words = (Word("ONE", 0.1, 0.4, 0.9), Word("TWO", 2.0, 2.6, 0.9))
    >>> cues(Transcript(3.0, (Segment(0.0, 3.0, "ONE TWO", words),)))
    [Cue(start_ms=100, end_ms=1100, lines=('ONE',)), Cue(start_ms=2000, end_ms=3000, lines=('TWO',))]
    """
    last_ms = max(1, int(transcript.seconds * 1000))
    pieces = [piece for segment in transcript.segments for piece in _pieces(segment)]
    if len(pieces) > last_ms:
        rest = pieces[last_ms - 1 :]
        text = " ".join(piece.text for piece in rest)
        pieces[last_ms - 1 :] = [_Piece(rest[0].start_ms, rest[-1].end_ms, text)]
    starts = _starts(pieces, last_ms)
    found = []
    for piece, start_ms, next_ms in zip(pieces, starts, [*starts, last_ms][1:], strict=True):
        end_ms = max(piece.end_ms, start_ms + SHORTEST_MS)
        found.append(Cue(start_ms, min(end_ms, next_ms), _lines(piece.text)))
    return found


def _starts(pieces: Sequence[_Piece], last_ms: int) -> list[int]:
    """Beginnings in strict order, each with a millisecond left behind it; there is room for all."""
    starts: list[int] = []
    for number, piece in enumerate(pieces):
        earliest = starts[-1] + 1 if starts else 0
        starts.append(min(max(piece.start_ms, earliest), last_ms - len(pieces) + number))
    return starts


def _pieces(segment: Segment) -> Iterator[_Piece]:
    """A segment's cues, not yet held to any order."""
    words = [word for word in segment.words if plain(word.text)]
    if not words:
        if text := plain(segment.text):
            yield _Piece(milliseconds(segment.start), milliseconds(segment.end), text)
        return
    begin = 0
    for number in range(1, len(words) + 1):
        if number == len(words) or words[number].start - words[number - 1].end > PAUSE_SECONDS:
            yield from _cut(words[begin:number])
            begin = number


def _cut(words: Sequence[Word]) -> Iterator[_Piece]:
    """Halve a run of words until each part can be read at once."""
    text = " ".join(plain(word.text) for word in words)
    start_ms, end_ms = milliseconds(words[0].start), milliseconds(words[-1].end)
    if len(words) == 1:
        yield _Piece(start_ms, min(end_ms, start_ms + LONGEST_MS), text)
    elif end_ms - start_ms <= LONGEST_MS and len(_wrapped(text)) <= LINES:
        yield _Piece(start_ms, end_ms, text)
    else:
        middle = _middle(words)
        yield from _cut(words[:middle])
        yield from _cut(words[middle:])


def _middle(words: Sequence[Word]) -> int:
    """Where to cut: at a long pause, but rather in the middle than off a single word."""

    def worth(number: int) -> float:
        pause = max(0.0, words[number].start - words[number - 1].end)
        return pause - PAUSE_SECONDS * abs(2 * number - len(words)) / len(words)

    return max(range(1, len(words)), key=worth)


def _wrapped(text: str, width: int = LINE_CHARACTERS) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _lines(text: str) -> tuple[str, ...]:
    """Lines of about the same length; what does not fit is left to whoever shows it."""
    count = len(_wrapped(text))
    if count > LINES:
        return (text,)
    narrowest = next(
        width
        for width in range(min(len(text) // count, LINE_CHARACTERS), LINE_CHARACTERS + 1)
        if len(_wrapped(text, width)) <= count
    )
    return tuple(_wrapped(text, narrowest))
