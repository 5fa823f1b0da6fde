"""How a long recording is cut, in one place."""

from dataclasses import dataclass

from hyperconformer.errors import InputError, check_range
from hyperconformer.inference.voice_activity import VOICE_ACTIVITY


@dataclass(frozen=True)
class LongformOptions:
    """How a long recording is cut.

    Attributes
    ----------
    vad : str
        What tells speech from silence: "energy", "webrtc", or "none": all is speech, and every cut an
        overlap.
    max_segment_seconds : float
        What is recognised in one piece, at most; at least 2. About as long as a model's training utterances
        is best.
    overlap_seconds : float
        What two segments share where speech had to be cut, at most half a segment.
    batch_seconds : float
        Audio that is recognised at once, padding included; a longer segment stands alone.

    Raises
    ------
    InputError
        If a name is unknown or a number out of range.

    Examples
    --------
    >>> LongformOptions(overlap_seconds=12.0)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: overlap_seconds must lie between 0.0 and 10.0, got 12.0
    """

    vad: str = "energy"
    max_segment_seconds: float = 20.0
    overlap_seconds: float = 2.0
    batch_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.vad not in VOICE_ACTIVITY:
            raise InputError(f"vad {self.vad!r} is not one of {', '.join(VOICE_ACTIVITY)}")
        try:
            check_range("max_segment_seconds", self.max_segment_seconds, 2.0)
            check_range("overlap_seconds", self.overlap_seconds, 0.0, self.max_segment_seconds / 2)
            check_range("batch_seconds", self.batch_seconds, 1e-3)
        except ValueError as error:
            raise InputError(str(error)) from error


DEFAULT = LongformOptions()
