"""Utterances of a test joined to longer recordings, the same ones for every system."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from hyperconformer.audio import read_audio
from hyperconformer.data.augment import keyed_rng
from hyperconformer.types import Utterance


def join(utterances: Sequence[Utterance], seconds: float) -> list[list[Utterance]]:
    """Draw an order, speaker by speaker, and cut it into recordings that are as long as may be.

    Every utterance is in one recording, so the words are the same for every length. A recording goes on with
    another speaker only where one has no utterances left.

    Parameters
    ----------
    utterances : sequence of Utterance
        In any order.
    seconds : float
        A recording's greatest length; an utterance that is longer is one by itself.

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
    rng = keyed_rng(0, "joined")
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


def read_joined(recording: Sequence[Utterance]) -> npt.NDArray[np.float32]:
    """Read the audio of utterances, end to end.

    Parameters
    ----------
    recording : sequence of Utterance

    Returns
    -------
    array, shape (samples,), float32

    Examples
    --------
    >>> import soundfile
    >>> path = str(getfixture("tmp_path") / "a.wav")
    >>> soundfile.write(path, np.zeros(800), 16_000)
    >>> len(read_joined([Utterance("a", 0.05, path, "1", "A")] * 2))
    1600
    """
    return np.concatenate([read_audio(one.path) for one in recording])


def as_one(recording: Sequence[Utterance], number: int) -> Utterance:
    """Describe joined utterances as one.

    Parameters
    ----------
    recording : sequence of Utterance
    number : int
        Of the recording.

    Returns
    -------
    Utterance

    Examples
    --------
    >>> as_one([Utterance("a", 1.0, "a.wav", "1", "A"), Utterance("b", 2.0, "b.wav", "1", "B C")], 3)
    Utterance(id='00003', seconds=3.0, path='', speaker='1', words='A B C')
    """
    seconds, words = sum(one.seconds for one in recording), " ".join(one.words for one in recording)
    return Utterance(f"{number:05}", seconds, "", recording[0].speaker, words)
