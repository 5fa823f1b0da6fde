"""Where a run stands: all that a continued run must know beside weights and optimizer."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any

from hyperconformer.errors import InputError


class Stopped(RuntimeError):
    """The run was asked to stop, and did so with a checkpoint behind it.

    Parameters
    ----------
    message : str
    number : int
        The signal by which it was asked.

    Examples
    --------
    >>> raise Stopped("stopped after step 3")
    Traceback (most recent call last):
        ...
    hyperconformer.training.progress.Stopped: stopped after step 3
    """

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.number = number


class TooManySkipped(InputError):
    """Step after step changed nothing, so the run was ended.

    Examples
    --------
    >>> raise TooManySkipped("60 steps in a row were skipped")
    Traceback (most recent call last):
        ...
    hyperconformer.training.progress.TooManySkipped: 60 steps in a row were skipped
    """


class TooLittleMemory(TooManySkipped):
    """The same for want of memory: on another day, or device, it may go well.

    Examples
    --------
    >>> isinstance(TooLittleMemory("60 steps in a row were skipped"), TooManySkipped)
    True
    """


@dataclass
class Progress:
    """Position and running sums; plain values, so that a checkpoint holds it as JSON.

    Attributes
    ----------
    epoch : int
        The epoch to train next or now, from 1.
    step_in_epoch : int
        Steps of it that are done.
    step : int
        Steps of the whole run, the skipped ones included.
    skipped, out_of_memory, unreadable : int
        Steps of this epoch that changed nothing, those among them for want of memory, and
        utterances whose audio could not be read.
    skipped_in_row : int
        Skipped steps since the last one that learnt.
    utterances : float
        Seen in this epoch.
    sums : dict of str to float
        Of this epoch's losses.
    seconds, waited, audio_seconds : float
        Spent training in this epoch, of these waiting for data, and audio that was learnt from.
    total_seconds : float
        Spent training in all epochs.

    Examples
    --------
    >>> progress = Progress(epoch=3, step_in_epoch=7, sums={"loss": 2.0}, utterances=4)
    >>> Progress.from_dict(progress.to_dict()) == progress
    True
    >>> progress.means(), progress.next_epoch().epoch
    ({'loss': 0.5}, 4)
    """

    epoch: int = 1
    step_in_epoch: int = 0
    step: int = 0
    skipped: int = 0
    out_of_memory: int = 0
    unreadable: int = 0
    skipped_in_row: int = 0
    utterances: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    waited: float = 0.0
    audio_seconds: float = 0.0
    total_seconds: float = 0.0

    def add(self, sums: Mapping[str, float], utterances: float, audio_seconds: float) -> None:
        """Count a step that learnt."""
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.utterances += utterances
        self.audio_seconds += audio_seconds
        self.skipped_in_row = 0

    def skip(self, out_of_memory: bool) -> None:
        """Count a step that changed nothing."""
        self.skipped += 1
        self.out_of_memory += out_of_memory
        self.skipped_in_row += 1

    def spend(self, seconds: float, waited: float) -> None:
        """Count the time of a step, and how much of it went by waiting for data."""
        self.seconds += seconds
        self.total_seconds += seconds
        self.waited += waited

    def means(self) -> dict[str, float]:
        """Mean losses of an utterance in this epoch."""
        return {name: value / max(1.0, self.utterances) for name, value in self.sums.items()}

    def figures(self) -> dict[str, float]:
        """What the log says of an epoch: losses, time, its share of waiting, speed, and what went wrong."""
        faults = {
            name: value
            for name in ("skipped", "out_of_memory", "unreadable")
            if (value := getattr(self, name))
        }
        spent = max(self.seconds, 1e-9)
        return {
            **self.means(),
            "seconds": self.seconds,
            "waiting %": 100 * self.waited / spent,
            **({"audio s/s": self.audio_seconds / spent} if self.audio_seconds else {}),
            **faults,
        }

    def next_epoch(self) -> "Progress":
        """The start of the epoch after this one."""
        return Progress(
            epoch=self.epoch + 1,
            step=self.step,
            skipped_in_row=self.skipped_in_row,
            total_seconds=self.total_seconds,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """Read plain values back."""
        return cls(**values)


class StopRequest:
    """Whether someone asked for an end: a scheduler whose time is up (SIGTERM), or Ctrl-C (SIGINT).

    Attributes
    ----------
    made : bool
    number : int
        The signal.

    Examples
    --------
    >>> with StopRequest().listening() as request:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     request.made
    True
    """

    def __init__(self) -> None:
        self.made, self.number = False, int(signal.SIGTERM)

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Note the signals instead of dying from them, until the block ends."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def note(number: int, frame: FrameType | None) -> None:
            # Whoever asks twice does not want to wait. On Ctrl-C torchrun sends the other signal too.
            if self.made and number == self.number:
                for own, handler in before.items():
                    signal.signal(own, handler)
                signal.raise_signal(number)
            if not self.made:
                self.made, self.number = True, number

        for number in before:
            signal.signal(number, note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
