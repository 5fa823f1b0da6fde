"""Lhotse's cuts, from their JSON alone: each supervision of a cut is an utterance.

References
----------
https://lhotse.readthedocs.io/en/latest/cuts.html
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperconformer.data.clips import TOLERANCE_SECONDS, Clip
from hyperconformer.data.sources import Entry, Source, seconds_of
from hyperconformer.data.tables import json_lines
from hyperconformer.errors import InputError


def read_lhotse(source: Source) -> Iterator[Entry]:
    r"""Read a manifest of cuts (``.jsonl`` or ``.jsonl.gz``) whose recordings are files.

    A supervision's start counts from its cut's, and a cut's from its recording's. One that
    reaches out of its cut is at fault: not all of its words are heard.

    Parameters
    ----------
    source : Source

    Yields
    ------
    Entry

    Raises
    ------
    InputError
        If a line is no cut of a single recording, its recording is no file or was changed on the way
        (``transforms``); the message names the line.

    Examples
    --------
    >>> import json, tempfile
    >>> cut = {
    ...     "id": "c", "start": 10.0, "duration": 4.0, "channel": 0,
    ...     "supervisions": [{"id": "s", "start": 1.0, "duration": 2.0, "text": "yes", "speaker": "7"}],
    ...     "recording": {"sources": [{"type": "file", "channels": [0], "source": "/a.wav"}]},
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "cuts.jsonl").write_text(json.dumps(cut))
    ...     [entry] = read_lhotse(Source(Path(folder, "cuts.jsonl")))
    >>> entry.id, entry.clip.start, entry.clip.seconds
    ('s', 11.0, 2.0)
    """
    for where, cut in json_lines(source.path):
        supervisions = cut.get("supervisions")
        if not isinstance(supervisions, list) or not isinstance(cut.get("recording"), dict):
            raise InputError(
                f"{where}: no cut with supervisions and a recording: save a CutSet with both, of MonoCuts "
                "(mixed cuts by save_audios first)"
            )
        if not supervisions:
            source.notes.append(f"{where}: a cut without supervisions holds no utterance")
        for supervision in supervisions:
            if not isinstance(supervision, dict):
                raise InputError(f"{where}: {supervision!r} is no supervision: save the cuts again")
            yield _entry(cut, supervision, where, source)


def _entry(cut: Mapping[str, Any], supervision: Mapping[str, Any], where: str, source: Source) -> Entry:
    cut_start, cut_seconds = _seconds(cut, "start", where), _seconds(cut, "duration", where)
    # A supervision may begin before its cut, and its start is negative then.
    begins = _seconds(supervision, "start", where, least=-math.inf)
    ends = begins + _seconds(supervision, "duration", where)
    fault = ""
    if begins < -TOLERANCE_SECONDS or ends > cut_seconds + TOLERANCE_SECONDS:
        fault = (
            f"the supervision from {begins:.2f} to {ends:.2f} s reaches out of its cut of "
            f"{cut_seconds:.2f} s: cut it so that all words are in it, or trim to supervisions"
        )
    begins, ends = max(begins, 0.0), min(ends, cut_seconds)
    if ends <= begins:
        fault = fault or "a supervision of no duration: correct or remove it"
    path, channel = _file(cut, supervision, where, source)
    # Sums of decimal fractions: 10.1 + 0.2 is to be 10.3.
    clip = Clip(path, round(cut_start + begins, 6), round(ends - begins, 6), channel)
    identity, speaker = supervision.get("id") or cut.get("id"), supervision.get("speaker")
    text = supervision.get("text") or ""
    return Entry(where, clip, str(text), str(identity or ""), str(speaker or ""), fault)


def _seconds(fields: Mapping[str, Any], key: str, where: str, least: float = 0.0) -> float:
    seconds = seconds_of(fields.get(key), f"{where}: {key}", least)
    if seconds is None:
        raise InputError(f"{where}: {key} is missing: save the cuts again")
    return seconds


def _file(
    cut: Mapping[str, Any], supervision: Mapping[str, Any], where: str, source: Source
) -> tuple[Path, int | None]:
    """Find the audio file of a supervision, and which of the file's channels is meant."""
    recording = cut["recording"]
    if recording.get("transforms"):
        raise InputError(f"{where}: its recording has transforms, which only lhotse can do: use save_audios")
    channel = _channel(cut, supervision, where)
    for one in recording.get("sources") or ():
        if not isinstance(one, dict) or not isinstance(channels := one.get("channels") or [0], list):
            break
        if channel is not None and channel not in channels:
            continue
        if one.get("type") != "file" or not isinstance(one.get("source"), str):
            raise InputError(f"{where}: its recording is no file ({one.get('type')}): use save_audios")
        return source.root / one["source"], None if channel is None else channels.index(channel)
    raise InputError(f"{where}: its recording has no file for channel {channel}: correct it")


def _channel(cut: Mapping[str, Any], supervision: Mapping[str, Any], where: str) -> int | None:
    """Channel of a supervision, or of its cut; None where all of the cut's are meant."""
    for fields in (supervision, cut):
        channel = fields.get("channel")
        channel = channel[0] if isinstance(channel, list) and len(channel) == 1 else channel
        if isinstance(channel, int):
            return channel
    if channel is None or isinstance(channel, list):
        return None
    raise InputError(f"{where}: channel {channel!r} is no number: correct it")
