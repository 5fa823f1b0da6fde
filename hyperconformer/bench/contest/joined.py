"""Utterances of a test joined to longer recordings, the same ones for every system."""

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

import jiwer
import numpy as np
import numpy.typing as npt

from hyperconformer.audio import read_audio
from hyperconformer.data.augment import keyed_rng
from hyperconformer.types import Utterance

ENOUGH = 16
"""Of the longest recordings: a small test is joined in several orders, until there are so many."""


def orders_of(utterances: Sequence[Utterance], longest: float) -> int:
    """In how many orders utterances are to be joined, for enough recordings of the greatest length.

    Parameters
    ----------
    utterances : sequence of Utterance
    longest : float
        Seconds of the longest recordings.

    Returns
    -------
    int

    Examples
    --------
    >>> spoken = [Utterance(f"a{n}", 4.0, "", "a", "ONE") for n in range(150)]
    >>> orders_of(spoken, 120.0), orders_of(spoken, 30.0)
    (4, 1)
    """
    return max(1, math.ceil(ENOUGH * longest / max(1.0, sum(one.seconds for one in utterances))))


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


def share_out(recording: Sequence[Utterance], heard: str) -> list[tuple[Utterance, str]]:
    """Cut what was heard of joined utterances where they meet, by the alignment with the fewest edits.

    The parts have as many wrong words together as the whole has. Words put in where two utterances meet are
    the former's.

    Parameters
    ----------
    recording : sequence of Utterance
    heard : str

    Returns
    -------
    list of (Utterance, str)
        In the order of the recording.

    Examples
    --------
    >>> recording = [Utterance("a", 1.0, "a.wav", "1", "ONE TWO"), Utterance("b", 2.0, "b.wav", "1", "NINE")]
    >>> [words for _, words in share_out(recording, "ONE TOO TWO EIGHT NINE")]
    ['ONE TOO TWO EIGHT', 'NINE']
    """
    [chunks] = jiwer.process_words(" ".join(one.words for one in recording), heard).alignments
    # Where in what was heard each said word has its place.
    places = [
        chunk.hyp_start_idx + (0 if chunk.type == "delete" else said - chunk.ref_start_idx)
        for chunk in chunks
        for said in range(chunk.ref_start_idx, chunk.ref_end_idx)
    ]
    words, starts = heard.split(), np.cumsum([0, *(len(one.words.split()) for one in recording)])
    cuts = [0, *(places[start] for start in starts[1:-1]), len(words)]
    return [
        (one, " ".join(words[start:end])) for one, (start, end) in zip(recording, pairwise(cuts), strict=True)
    ]
