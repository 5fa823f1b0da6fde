"""When the words of the embedded corpus are spoken, by espeak-ng's own account: the truth for word times."""

from itertools import pairwise

from hyperconformer.data.mini import Reader, espeak_wheel
from hyperconformer.data.mini_grammar import transcript
from hyperconformer.data.mini_voice import read_aloud
from hyperconformer.types import Word


def word_times(reader: Reader, seed: int = 0) -> list[tuple[Word, ...]]:
    """Let a speaker of the corpus read once more, and note when each word starts and ends.

    The speech is that of :func:`~hyperconformer.data.mini.prepare_mini` with the same seed, so the times
    are those of its files.

    Parameters
    ----------
    reader : Reader
        A speaker of :func:`~hyperconformer.data.mini.plan_mini`.
    seed : int
        The corpus's seed.

    Returns
    -------
    list of tuple of Word
        Of each sentence its words, with confidence 1. From the start of a word's first phoneme to the end of
        its last one; silence belongs to no word. Two that espeak-ng joins, like FROM THE, are one here.

    Raises
    ------
    InputError
        If espeak-ng or the voice is missing.
    EspeakError
        If espeak-ng does not speak.

    Examples
    --------
    >>> from hyperconformer.data.mini_voice import Voice
    >>> reader = Reader("dev-mini", 2001, Voice("en-US", "f5"), ("my uncle was happy.",))
    >>> for word in word_times(reader)[0]:
    ...     print(f"{word.text:5} {word.start:.2f} to {word.end:.2f}")
    MY    0.00 to 0.12
    UNCLE 0.12 to 0.49
    WAS   0.49 to 0.70
    HAPPY 0.70 to 1.17
    """
    sample_rate_hz, spoken = read_aloud(
        reader.voice, reader.sentences, *espeak_wheel([reader.voice]), seed=seed
    )
    times = []
    for sentence, (_, words) in zip(reader.sentences, spoken, strict=True):
        edges = [*(character for character, _, _ in words), len(sentence)]
        texts = [transcript(sentence[here:there].strip()) for here, there in pairwise(edges)]
        times.append(
            tuple(
                Word(text, start / sample_rate_hz, end / sample_rate_hz, 1.0)
                for text, (_, start, end) in zip(texts, words, strict=True)
            )
        )
    return times
