"""How a long recording is cut, in one place."""

from dataclasses import dataclass, replace

from hyperconformer.errors import InputError, check_range
from hyperconformer.inference.voice_activity import VOICE_ACTIVITY

USUAL_SEGMENT_SECONDS = 20.0
USUAL_OVERLAP_SECONDS = 2.0
SHORTEST_SEGMENT_SECONDS = 2.0
"""Less could not hold a word between two pauses."""


@dataclass(frozen=True)
class LongformOptions:
    """How a long recording is cut.

    Attributes
    ----------
    vad : str
        What tells speech from silence: "energy", "webrtc", or "none": all is speech, and every cut an
        overlap.
    max_segment_seconds : float or None
        What is recognised in one piece, at most; at least 2. About as long as a model's training utterances
        is best. None: 20, or what the model can hear if that is less.
    overlap_seconds : float or None
        What two segments share where speech had to be cut, at most half a segment. None: 2, or half a segment
        if that is less.
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
    max_segment_seconds: float | None = None
    overlap_seconds: float | None = None
    batch_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.vad not in VOICE_ACTIVITY:
            raise InputError(f"vad {self.vad!r} is not one of {', '.join(VOICE_ACTIVITY)}")
        try:
            check_range("max_segment_seconds", self.longest_seconds, SHORTEST_SEGMENT_SECONDS)
            check_range("overlap_seconds", self.shared_seconds, 0.0, self.longest_seconds / 2)
            check_range("batch_seconds", self.batch_seconds, 1e-3)
        except ValueError as error:
            raise InputError(str(error)) from error

    @property
    def longest_seconds(self) -> float:
        """What is recognised in one piece, at most."""
        return USUAL_SEGMENT_SECONDS if self.max_segment_seconds is None else self.max_segment_seconds

    @property
    def shared_seconds(self) -> float:
        """What two segments share where speech had to be cut."""
        if self.overlap_seconds is None:
            return min(USUAL_OVERLAP_SECONDS, self.longest_seconds / 2)
        return self.overlap_seconds

    def within(self, most_seconds: float) -> "LongformOptions":
        """Keep segments to what a model can hear at once.

        Parameters
        ----------
        most_seconds : float

        Returns
        -------
        LongformOptions
            The same, but for a shorter ``max_segment_seconds`` where that is needed and nobody chose one.

        Raises
        ------
        InputError
            If a longer one was chosen, or the model hears less than any segment may have.

        Examples
        --------
        >>> LongformOptions().within(3.0)
        LongformOptions(vad='energy', max_segment_seconds=3.0, overlap_seconds=None, batch_seconds=120.0)
        >>> LongformOptions(max_segment_seconds=30.0).within(3.0)
        Traceback (most recent call last):
            ...
        hyperconformer.errors.InputError: max_segment_seconds 30 is more than the 3 s that this model hears \
at once: give 3 at most
        """
        if self.longest_seconds <= most_seconds:
            return self
        if most_seconds < SHORTEST_SEGMENT_SECONDS:
            raise InputError(
                f"this model hears {most_seconds:g} s at once, too little for segments of "
                f"{SHORTEST_SEGMENT_SECONDS:g} s: train one with more max_frames"
            )
        if self.max_segment_seconds is not None:
            raise InputError(
                f"max_segment_seconds {self.max_segment_seconds:g} is more than the {most_seconds:g} s that "
                f"this model hears at once: give {most_seconds:g} at most"
            )
        return replace(self, max_segment_seconds=most_seconds)


DEFAULT = LongformOptions()
