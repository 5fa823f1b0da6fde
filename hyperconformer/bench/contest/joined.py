"""Utterances of a test joined to longer recordings, the same ones for every system."""

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from hyperconformer.audio import read_audio
from hyperconformer.data.augment import keyed_rng
from hyperconformer.types import Utterance

ENOUGH = 16
"""Recordings of the greatest length: a small test is joined in several orders, until there are so many."""


def orders_of(utterances: Sequence[Utterance], longest: float, enough: int) -> int:
    """In how many orders utterances are to be joined, for enough recordings of the greatest length.

    Parameters
    ----------
    utterances : sequence of Utterance
    longest : float
        Seconds of the longest recordings.
    enough : int
        So many of them.

    Returns
    -------
    int

    Examples
    --------
    >>> spoken = [Utterance(f"a{n}", 4.0, "", "a", "ONE") for n in range(150)]
    >>> orders_of(spoken, 120.0, 16), orders_of(spoken, 30.0, 16)
    (4, 1)
    """
    return max(1, math.ceil(enough * longest / max(1.0, sum(one.seconds for one in utterances))))


def join(utterances: Sequence[Utterance], seconds: float, order: int = 0) -> list[list[Utterance]]:
    """Draw an order, speaker by speaker, and cut it into recordings that are as long as may be.

    Every utterance is in one recording, so the words are the same for every length. A recording goes on with
    another speaker only where one has no utterances left.

    Parameters
    ----------
    utterances : sequence of Utterance
        In any order.
    seconds : float
        A recording's greatest length; an utterance that is longer is one by itself.
    order : int
        Which of the orders that can be drawn; the same for every length.

    Returns
    -------
    list of list of Utterance

    Examples
    --------
    >>> spoken = [Utterance(f"{s}{n}", 4.0, "", s, "ONE") for s in "ab" for n in range(3)]
    >>> [[one.id[0] for one in recording] for recording in join(spoken, 9.0)] in (
    ...     [["a", "a"], ["a", "b"], ["b", "b"]], [["b", "b"], ["b", "a"], ["a", "a"]])
    True
    """
    rng = keyed_rng(order, "joined")
    ordered = sorted(utterances, key=lambda one: (one.speaker, one.id))
    speakers = [list(own) for _, own in groupby(ordered, key=lambda one: one.speaker)]
    recordings: list[list[Utterance]] = []
    room = 0.0
    for speaker in rng.permutation(len(speakers)):
        for number in rng.permutation(len(speakers[speaker])):
            one = speakers[speaker][number]
            if not recordings or one.seconds > room:
                recordings.append([])
                room = seconds
            recordings[-1].append(one)
            room -= one.seconds
    return recordings


def read_joined(recording: Sequence[Utterance]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Read the audio of utterances, end to end.

    Parameters
    ----------
    recording : sequence of Utterance

    Returns
    -------
    samples : array, shape (samples,), float32
    ends : array, shape (utterances,)
        Where each utterance ends, in samples.

    Examples
    --------
    >>> import soundfile
    >>> path = str(getfixture("tmp_path") / "a.wav")
    >>> soundfile.write(path, np.zeros(800), 16_000)
    >>> samples, ends = read_joined([Utterance("a", 0.05, path, "1", "A")] * 2)
    >>> len(samples), ends.tolist()
    (1600, [800, 1600])
    """
    parts = [read_audio(one.path) for one in recording]
    return np.concatenate(parts), np.cumsum([len(part) for part in parts])
