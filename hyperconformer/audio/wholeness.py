"""Whether compressed files end where they say; asked before they are decoded, as decoders may not notice."""

import re
from collections.abc import Callable

from hyperconformer.audio.sources import AudioFile

_LARGEST_PAGE = 27 + 255 + 255 * 255
"""Bytes of an Ogg page: its head, the lengths of its segments, and these."""

_TAG = re.compile(rb"Xing|Info")
_TAG_REACH = 64
"""An MP3 frame's head and side information end within this many bytes, then comes the encoder's tag."""

_FRAMES_TO_SPARE = 4
"""Frames of an MP3 file last 26 ms or so, and tags are not always exact."""

_HEAD = 16


def is_cut_short(file: AudioFile) -> bool:
    """Tell from a file's first and last bytes whether its end is missing.

    Parameters
    ----------
    file : AudioFile

    Returns
    -------
    bool
        Of ogg, opus and tagged mp3 files; False of all others.

    Examples
    --------
    >>> import io, soundfile
    >>> from hyperconformer.audio.sources import open_source
    >>> import numpy as np
    >>> whole = io.BytesIO()
    >>> soundfile.write(whole, np.zeros(160_000), 16_000, format="OGG", subtype="VORBIS")
    >>> is_cut_short(open_source(whole)), is_cut_short(open_source(whole.getvalue()[:-100]))
    (False, True)
    """
    head = file.read(0, _HEAD)
    return any(head.startswith(start) and check(file, head) for start, check in _CHECKS.items())


def _ogg(file: AudioFile, head: bytes) -> bool:
    """The last page must be whole. Streams need not mark their end, so what ends with a page is believed."""
    tail = file.read(-_LARGEST_PAGE, _LARGEST_PAGE)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _mp3(file: AudioFile, head: bytes) -> bool:
    """The tag that encoders write into the first frame counts frames, and bytes from that frame on."""
    start = 0
    if head.startswith(b"ID3") and len(head) >= 10:
        # Four times seven bits; the head of these tags is not counted.
        start = 10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:10]))
    frame = file.read(start, _TAG_REACH)
    if len(frame) < _TAG_REACH:
        return True
    tag = _TAG.search(frame)
    if frame[:1] != b"\xff" or tag is None:
        return False
    numbers = [int.from_bytes(frame[at : at + 4], "big") for at in range(tag.end(), tag.end() + 12, 4)]
    if numbers[0] & 3 != 3 or not numbers[1]:
        return False
    frames, promised_bytes = numbers[1:]
    missing_bytes = promised_bytes - (file.size - start)
    return missing_bytes > _FRAMES_TO_SPARE * promised_bytes / frames


_CHECKS: dict[bytes, Callable[[AudioFile, bytes], bool]] = {b"OggS": _ogg, b"ID3": _mp3, b"\xff": _mp3}
