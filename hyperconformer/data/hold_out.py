"""Utterances set apart for validation, where a corpus has none."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from hyperconformer.errors import InputError
from hyperconformer.types import Utterance


def hold_out(utterances: Sequence[Utterance], share: float = 0.1) -> tuple[list[Utterance], list[Utterance]]:
    """Split off the same share of every speaker's utterances for validation.

    Which ones depends on ids and speakers alone, not on their order. No speaker loses all utterances. The
    lots are drawn by hash, so that every run and every machine holds out the same ones.

    Parameters
    ----------
    utterances : sequence of Utterance
        Utterances with unique ids.
    share : float
        Share to hold out of each speaker, between 0 and 1 (both excluded).

    Returns
    -------
    train : list of Utterance
        What is left, in the given order.
    valid : list of Utterance
        What is held out, in the given order; at least one utterance.

    Raises
    ------
    InputError
        If `share` is out of range or no speaker has two utterances.

    Examples
    --------
    >>> rows = [Utterance(f"7-1-{i:04}", 1.0, "a.flac", "7", "YES") for i in range(10)]
    >>> train, valid = hold_out(rows, share=0.2)
    >>> len(train), [utterance.id for utterance in valid]
    (8, ['7-1-0001', '7-1-0004'])
    """
    if not 0 < share < 1:
        raise InputError(f"held-out share {share} is out of range: choose one between 0 and 1, such as 0.1")
    by_speaker: defaultdict[str, list[str]] = defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.speaker].append(utterance.id)
    divisible = {speaker: sorted(ids, key=_draw) for speaker, ids in by_speaker.items() if len(ids) > 1}
    if not divisible:
        raise InputError(
            f"cannot hold out from {len(utterances)} utterances of {len(by_speaker)} speakers: "
            "one speaker needs at least two"
        )
    held_out: set[str] = set()
    for speaker, ids in divisible.items():
        # Rounded up or down by lot, because rounding to the nearest would leave out every small speaker.
        count = int(share * len(ids) + _draw(speaker))
        held_out.update(ids[: min(count, len(ids) - 1)])
    if not held_out:
        held_out.add(min((ids[0] for ids in divisible.values()), key=_draw))
    train = [utterance for utterance in utterances if utterance.id not in held_out]
    valid = [utterance for utterance in utterances if utterance.id in held_out]
    return train, valid


def _draw(text: str) -> float:
    """Draw a number in [0, 1) that belongs to a text; Python's own hash() changes from run to run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
