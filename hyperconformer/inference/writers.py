"""Transcripts as files: plain text, subtitles, tables and JSON, laid out as Whisper's are."""

import html
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import get_ident
from typing import Any, Protocol

from hyperconformer.errors import InputError
from hyperconformer.inference.cues import cues, milliseconds, plain
from hyperconformer.types import Hypothesis, Segment, Transcript, Word

Spell = Callable[[Sequence[int]], str]
"""Tokens to text, as :meth:`hyperconformer.text.Tokenizer.decode`."""

_MOMENT_DIGITS, _SCORE_DIGITS = 3, 4


class Writer(Protocol):
    r"""A transcript, and what spells its further hypotheses, to the content of a file.

    Examples
    --------
    >>> writer: Writer = txt
    >>> writer(Transcript(1.5, (Segment(0.0, 1.5, "ONE"),)))
    'ONE\n'
    """

    def __call__(self, transcript: Transcript, spell: Spell | None = None) -> str:
        """Write."""
        ...


def txt(transcript: Transcript, spell: Spell | None = None) -> str:
    r"""Write a line a segment.

    Parameters
    ----------
    transcript : Transcript
    spell : callable or None
        Not needed.

    Returns
    -------
    str

    Examples
    --------
    >>> txt(Transcript(3.0, (Segment(0.0, 1.5, "ONE TWO"), Segment(2.0, 3.0, ""))))
    'ONE TWO\n'
    """
    lines = [plain(segment.text) for segment in transcript.segments]
    return "".join(f"{line}\n" for line in lines if line)


def tsv(transcript: Transcript, spell: Spell | None = None) -> str:
    r"""Write a table: start and end in milliseconds, and the text of each segment.

    Parameters
    ----------
    transcript : Transcript
    spell : callable or None
        Not needed.

    Returns
    -------
    str

    Examples
    --------
    >>> tsv(Transcript(3.0, (Segment(0.0, 1.5, "ONE TWO"),)))
    'start\tend\ttext\n0\t1500\tONE TWO\n'
    """
    rows = ["start\tend\ttext"]
    for segment in transcript.segments:
        if text := plain(segment.text):
            rows.append(f"{milliseconds(segment.start)}\t{milliseconds(segment.end)}\t{text}")
    return "".join(f"{row}\n" for row in rows)


def _clock(moment_ms: int, point: str) -> str:
    """A time as subtitles have it."""
    seconds, thousandths = divmod(moment_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{point}{thousandths:03}"


def srt(transcript: Transcript, spell: Spell | None = None) -> str:
    """Write SubRip subtitles, see :func:`~hyperconformer.inference.cues.cues`.

    Parameters
    ----------
    transcript : Transcript
    spell : callable or None
        Not needed.

    Returns
    -------
    str

    Examples
    --------
    >>> print(srt(Transcript(3.0, (Segment(0.0, 1.5, "ONE TWO"),))))
    1
    00:00:00,000 --> 00:00:01,500
    ONE TWO
    <BLANKLINE>
    """
    blocks = []
    for number, cue in enumerate(cues(transcript), start=1):
        # There is no way to quote an arrow, and readers look for it anywhere.
        text = "\n".join(cue.lines).replace("-->", "-- >")
        blocks.append(f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n")
    return "\n".join(blocks)


def vtt(transcript: Transcript, spell: Spell | None = None) -> str:
    """Write WebVTT subtitles, see :func:`~hyperconformer.inference.cues.cues`.

    Parameters
    ----------
    transcript : Transcript
    spell : callable or None
        Not needed.

    Returns
    -------
    str

    Examples
    --------
    >>> print(vtt(Transcript(3.0, (Segment(0.0, 1.5, "ONE & TWO"),))))
    WEBVTT
    <BLANKLINE>
    00:00:00.000 --> 00:00:01.500
    ONE &amp; TWO
    <BLANKLINE>
    """
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        text = html.escape("\n".join(cue.lines), quote=False)
        blocks.append(f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{text}\n")
    return "\n".join(blocks)


def as_json(transcript: Transcript, spell: Spell | None = None) -> dict[str, Any]:
    """Say all that is known of the text in plain values.

    Parameters
    ----------
    transcript : Transcript
    spell : callable or None
        Spells the hypotheses, of which there may be several; without it they are tokens alone.

    Returns
    -------
    dict
        ``text``, ``seconds`` and ``segments``, each with ``start``, ``end``, ``text``, ``words`` where they
        have times (``word``, ``start``, ``end``, ``probability``) and, if there are several, ``hypotheses``
        (``text``, ``tokens``, ``score``, ``parts``). A score that is not finite is None.

    Examples
    --------
    >>> found = as_json(Transcript(3.0, (Segment(0.0, 1.5, "ONE TWO"),)))
    >>> found["text"], found["segments"]
    ('ONE TWO', [{'id': 0, 'start': 0.0, 'end': 1.5, 'text': 'ONE TWO'}])
    """
    return {
        "text": transcript.text,
        "seconds": _number(transcript.seconds, _MOMENT_DIGITS),
        "segments": [_segment(n, segment, spell) for n, segment in enumerate(transcript.segments)],
    }


def to_json(transcript: Transcript, spell: Spell | None = None) -> str:
    r"""Write :func:`as_json` in one line.

    Parameters
    ----------
    transcript : Transcript
    spell : callable or None

    Returns
    -------
    str

    Examples
    --------
    >>> to_json(Transcript(3.0, ()))
    '{"text": "", "seconds": 3.0, "segments": []}\n'
    """
    return json.dumps(as_json(transcript, spell), ensure_ascii=False, allow_nan=False) + "\n"


def _number(value: float, digits: int) -> float | None:
    """JSON knows finite numbers only."""
    return round(float(value), digits) if math.isfinite(value) else None


def _span(spoken: Segment | Word) -> dict[str, float | None]:
    return {name: _number(getattr(spoken, name), _MOMENT_DIGITS) for name in ("start", "end")}


def _segment(number: int, segment: Segment, spell: Spell | None) -> dict[str, Any]:
    found: dict[str, Any] = {"id": number, **_span(segment), "text": segment.text}
    if segment.words:
        found["words"] = [
            {"word": word.text, **_span(word), "probability": _number(word.confidence, _SCORE_DIGITS)}
            for word in segment.words
        ]
    if len(segment.hypotheses) > 1:
        found["hypotheses"] = [_hypothesis(each, spell) for each in segment.hypotheses]
    return found


def _hypothesis(hypothesis: Hypothesis, spell: Spell | None) -> dict[str, Any]:
    text = {} if spell is None else {"text": spell(hypothesis.tokens)}
    return {
        **text,
        "tokens": list(hypothesis.tokens),
        "score": _number(hypothesis.score, _SCORE_DIGITS),
        "parts": {name: _number(value, _SCORE_DIGITS) for name, value in hypothesis.parts.items()},
    }


WRITERS: dict[str, Writer] = {"txt": txt, "srt": srt, "vtt": vtt, "tsv": tsv, "json": to_json}
"""What writes each format, by the ending of its files."""


def write_transcript(
    folder: Path, stem: str, transcript: Transcript, formats: Sequence[str], spell: Spell | None = None
) -> list[Path]:
    """Write a transcript's files, each whole or not at all.

    Parameters
    ----------
    folder : Path
        Made if need be.
    stem : str
        Name of the files without ending; files of that name are replaced.
    transcript : Transcript
    formats : sequence of str
        Of :data:`WRITERS`.
    spell : callable or None
        For JSON, see :func:`as_json`.

    Returns
    -------
    list of Path
        The files, in the order of the formats.

    Raises
    ------
    InputError
        If there is no such format, or a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> said = Transcript(1.5, (Segment(0.0, 1.5, "ONE TWO"),))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_transcript(Path(folder), "speech", said, ["txt", "srt"])]
    ['speech.txt', 'speech.srt']
    """
    for name in formats:
        if name not in WRITERS:
            raise InputError(f"there is no format '{name}': name one or more of {', '.join(WRITERS)}")
    paths = [folder / f"{stem}.{name}" for name in formats]
    for name, path in zip(formats, paths, strict=True):
        _write(path, WRITERS[name](transcript, spell))
    return paths


def _write(path: Path, content: str) -> None:
    # Process and thread keep writers apart; the rename keeps a half-written file out of sight.
    draft = path.with_name(f".{os.getpid()}-{get_ident()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(content.encode("utf-8"))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written ({error.strerror}): make room or give another folder"
        ) from error
