"""When each word was spoken and how sure that is: tokens aligned to CTC log-probabilities.

*Where a frame is.* Feature f is a window around 10 f ms, and encoder frame t hears features 4 t - 3 to
4 t + 3 (two convolutions of three, each with stride two): its centre is at 40 t ms, and it stands for the
20 ms before and after.

*Where a word is.* CTC utters a token in one or few frames and says blank for the rest, the more so the longer
the token: a word that is one token may show in a single frame. So a word begins 30 ms for every character of
its first token before that token's first frame, and ends 50 ms for every character of its last token after
that token's last one; where two words want the same blanks they share them in that proportion. Both figures
were measured on English, see RESULTS.md. That is a guess, and where every word is a token a poor one before a
pause; given the samples, :mod:`~hyperconformer.decoding.word_edges` moves it to where words are heard to
begin and end.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperconformer.constants import BLANK, SAMPLE_RATE
from hyperconformer.decoding.confidence import MEASURES, UNCALIBRATED, Calibration, Measure
from hyperconformer.decoding.word_edges import Guess, Samples, edges_in_sound, listen
from hyperconformer.text import Tokenizer
from hyperconformer.types import Word

SECONDS_PER_FRAME = 0.04
SECONDS_BEFORE, SECONDS_AFTER = 0.03, 0.05
"""What a word takes of the blanks before and after it, for every character of its first and last token."""


class TokenSpan(NamedTuple):
    """The frames that an alignment gives to a token.

    Attributes
    ----------
    first, stop : int
        From frame ``first`` to the one before ``stop``; blanks belong to no token.

    Examples
    --------
    >>> TokenSpan(2, 5).stop
    5
    """

    first: int
    stop: int


class _Spelling(NamedTuple):
    """A word: its text, the tokens that spell it, and those at its edges with their characters in it."""

    text: str
    tokens: list[int]
    first: tuple[int, int]
    last: tuple[int, int]


def align(log_probs_tv: Tensor, tokens: Sequence[int]) -> list[TokenSpan]:
    """Find the most probable path that spells the tokens.

    Parameters
    ----------
    log_probs_tv : Tensor, shape (T, V)
        CTC log-probabilities of one utterance without its padding, on any device; label 0 is the blank.
    tokens : sequence of int
        Token ids, without blank.

    Returns
    -------
    list of TokenSpan
        One a token, in order; none is empty.

    Raises
    ------
    ValueError
        If a token is the blank or not below V, or if no path spells the tokens: there are more of them (and
        of blanks between equal neighbours) than frames, or one has probability zero.

    References
    ----------
    Graves et al., Connectionist temporal classification, ICML 2006.

    Examples
    --------
    >>> path = torch.tensor([0, 3, 3, 0, 3, 4])
    >>> align(torch.nn.functional.one_hot(path, 5).float().log(), [3, 3, 4])
    [TokenSpan(first=1, stop=3), TokenSpan(first=4, stop=5), TokenSpan(first=5, stop=6)]
    >>> align(torch.zeros(2, 5), [3, 3])
    Traceback (most recent call last):
        ...
    ValueError: 2 tokens cannot be aligned to 2 frames: no path of at least 3 frames has a probability
    """
    spans = _aligned(log_probs_tv, tokens)
    if spans is None:
        least = len(tokens) + sum(here == there for here, there in pairwise(tokens))
        raise ValueError(
            f"{len(tokens)} tokens cannot be aligned to {log_probs_tv.shape[0]} frames: no path of at least "
            f"{least} frames has a probability"
        )
    return spans


def words(
    log_probs_tv: Tensor,
    tokens: Sequence[int],
    tokenizer: Tokenizer,
    *,
    seconds: float | None = None,
    samples: Samples | None = None,
    measure: str = "product",
    calibration: Calibration = UNCALIBRATED,
) -> list[Word]:
    """Give the words of a hypothesis their times and confidences.

    Parameters
    ----------
    log_probs_tv : Tensor, shape (T, V)
        CTC log-probabilities of one utterance without its padding.
    tokens : sequence of int
        Token ids of the hypothesis, whatever search found it.
    tokenizer : Tokenizer
    seconds : float or None
        The latest end; None: that of the samples, or without them the last frame's centre.
    samples : Tensor or array, shape (S,), or None
        Mono audio at 16 kHz without padding, to hear where words start and end; None: that is guessed.
    measure : {"product", "mean", "min", "tsallis"}
        What confidences are made of, see :data:`~hyperconformer.decoding.confidence.MEASURES`.
    calibration : Calibration
        Applied to them, see :func:`~hyperconformer.decoding.confidence.fit_calibration`.

    Returns
    -------
    list of Word
        Those of ``tokenizer.decode(tokens)``; none begins before the one before it has ended. Where CTC
        cannot have said the tokens (see :func:`align`), they share the frames and confidences are 0.

    Raises
    ------
    ValueError
        If the measure is unknown, a token the blank or not below V, or the samples are not one-dimensional.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "t.model")
    ...     tokenizer = train_tokenizer(["AB BA"], path, output_neurons=6, model_type="char")
    >>> log_probs_tv = torch.eye(6)[[0, 5, 0, 3, 0, 4, 0, 0]].log()
    >>> [(word.text, round(word.end, 2)) for word in words(log_probs_tv, tokenizer.encode("AB"), tokenizer)]
    [('AB', 0.27)]
    """
    if measure not in MEASURES:
        raise ValueError(f"measure {measure!r} is not one of {', '.join(MEASURES)}")
    if not (spelt := _spell(tokenizer.pieces(tokens))):
        return []
    frames, spans = log_probs_tv.shape[0], _aligned(log_probs_tv, tokens)
    certain = _confidences(log_probs_tv, tokens, spans, spelt, MEASURES[measure], calibration)
    times = _times(spelt, spans, samples) if spans else _times(spelt, _shared(frames, len(tokens)))
    end = _end(frames, samples) if seconds is None else seconds
    rows = zip(spelt, np.clip(times, 0.0, end).tolist(), certain, strict=True)
    return [Word(word.text, start, stop, confidence) for word, (start, stop), confidence in rows]


def words_of_batch(
    log_probs_btv: Tensor,
    frames: Sequence[int],
    best: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    *,
    samples: Sequence[Tensor] | None = None,
    calibration: Calibration = UNCALIBRATED,
) -> list[tuple[Word, ...]]:
    """Give the words of a padded batch their times and confidences, each utterance as :func:`words` does.

    Parameters
    ----------
    log_probs_btv : Tensor, shape (B, T, V)
        CTC log-probabilities.
    frames : sequence of int
        Valid frames of each utterance.
    best : sequence of sequence of int
        Token ids of each.
    tokenizer : Tokenizer
    samples : sequence of Tensor, each of shape (S,), or None
        The audio of each, without its padding.
    calibration : Calibration

    Returns
    -------
    list of tuple of Word

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "t.model")
    ...     tokenizer = train_tokenizer(["AB BA"], path, output_neurons=6, model_type="char")
    >>> log_probs_tv = torch.eye(6)[[0, 5, 0, 3, 0, 4, 0, 0]].log()
    >>> best = [tokenizer.encode("AB"), []]
    >>> batch = words_of_batch(log_probs_tv.expand(2, -1, -1), [8, 8], best, tokenizer)
    >>> [[word.text for word in own] for own in batch]
    [['AB'], []]
    """
    own: Sequence[Tensor | None] = [None] * len(frames) if samples is None else samples
    return [
        tuple(words(table_tv[:count], tokens, tokenizer, samples=heard, calibration=calibration))
        for table_tv, count, tokens, heard in zip(log_probs_btv, frames, best, own, strict=True)
    ]


def _aligned(log_probs_tv: Tensor, tokens: Sequence[int]) -> list[TokenSpan] | None:
    """As :func:`align`; None where no path spells the tokens."""
    frames, vocabulary = log_probs_tv.shape
    for token in tokens:
        if not BLANK < token < vocabulary:
            raise ValueError(f"token {token} cannot be aligned: tokens are from 1 to {vocabulary - 1}")
    if not tokens:
        return []
    path_t = _best_path(_scores(log_probs_tv, tokens), tokens) if frames else None
    if path_t is None:
        return None
    # Token i is state 2 i + 1, and a path never goes back.
    states = 2 * np.arange(len(tokens)) + 1
    edges = (np.searchsorted(path_t, states, side) for side in ("left", "right"))
    return [TokenSpan(int(first), int(stop)) for first, stop in zip(*edges, strict=True)]


def _scores(log_probs_tv: Tensor, tokens: Sequence[int]) -> npt.NDArray[np.float64]:
    """Log-probabilities of the states of CTC's graph, (T, 2 L + 1): blank, token, blank, token, blank."""
    labels = [BLANK] * (2 * len(tokens) + 1)
    labels[1::2] = tokens
    # Picked where they are, so that a small part of the table leaves the device.
    return log_probs_tv[:, torch.tensor(labels, device=log_probs_tv.device)].cpu().double().numpy()


def _best_path(scores_ts: npt.NDArray[np.float64], tokens: Sequence[int]) -> npt.NDArray[np.int64] | None:
    """The state of each frame, by Viterbi's algorithm; None where every path has probability zero."""
    frames, states = scores_ts.shape
    # A blank may be left out between tokens that differ.
    skip_s = np.full(states, -np.inf)
    skip_s[3::2] = np.where(np.diff(tokens) != 0, 0.0, -np.inf)
    best_s, one_s, two_s = (np.full(states, -np.inf) for _ in range(3))
    best_s[:2] = scores_ts[0, :2]
    steps_ts = np.zeros((frames, states), dtype=np.int8)
    for frame in range(1, frames):
        one_s[1:] = best_s[:-1]
        two_s[2:] = best_s[:-2] + skip_s[2:]
        on_s = one_s > best_s
        np.maximum(best_s, one_s, out=best_s)
        over_s = two_s > best_s
        np.maximum(best_s, two_s, out=best_s)
        steps_ts[frame] = np.where(over_s, 2, on_s)
        best_s += scores_ts[frame]
    state = states - 1 if best_s[-1] > best_s[-2] else states - 2
    # Written so that NaN is no path either.
    if not best_s[state] > -np.inf:
        return None
    path_t = np.empty(frames, dtype=np.int64)
    for frame in range(frames - 1, -1, -1):
        path_t[frame] = state
        state -= int(steps_ts[frame, state])
    return path_t


def _shared(frames: int, tokens: int) -> list[TokenSpan]:
    return [TokenSpan(i * frames // tokens, (i + 1) * frames // tokens) for i in range(tokens)]


def _spell(pieces: Sequence[str]) -> list[_Spelling]:
    """Put words together; a space that is a token of its own counts for the word that it begins."""
    spelt: list[_Spelling] = []
    ahead: list[int] = []
    inside = False
    for token, piece in enumerate(pieces):
        for part in re.findall(r"\s|\S+", piece):
            letters = len(part)
            if part.isspace():
                inside, ahead = False, [token]
            elif inside:
                text, own, first, (last, before) = spelt[-1]
                own = own if own[-1] == token else [*own, token]
                edge = (token, letters + before if last == token else letters)
                spelt[-1] = _Spelling(text + part, own, first, edge)
            else:
                own = ahead if ahead == [token] else [*ahead, token]
                spelt.append(_Spelling(part, own, (token, letters), (token, letters)))
                inside, ahead = True, []
    return spelt


def _guesses(spelt: Sequence[_Spelling], spans: Sequence[TokenSpan]) -> list[Guess]:
    """Where CTC alone puts each word."""
    firsts = np.array([spans[word.first[0]].first for word in spelt])
    stops = np.array([spans[word.last[0]].stop for word in spelt])
    gaps = SECONDS_PER_FRAME * np.append(firsts[1:] - stops[:-1], np.inf)
    after = SECONDS_AFTER * np.array([word.last[1] for word in spelt])
    before = SECONDS_BEFORE * np.array([word.first[1] for word in spelt])
    shares = np.minimum(1.0, gaps / (after + np.append(before[1:], 0.0)))
    # Frame t reaches from 40 t - 20 to 40 t + 20 ms.
    starts = SECONDS_PER_FRAME * (firsts - 0.5) - before * np.insert(shares[:-1], 0, 1.0)
    ends = SECONDS_PER_FRAME * (stops - 0.5) + after * shares
    # Two words that share their blanks would otherwise overlap by what is rounded.
    starts[1:] = np.maximum(starts[1:], ends[:-1])
    peaks = SECONDS_PER_FRAME * np.stack((firsts, stops - 1))
    return [Guess(*row) for row in np.stack((starts, ends, before, after, *peaks)).T.tolist()]


def _times(
    spelt: Sequence[_Spelling], spans: Sequence[TokenSpan], samples: Samples | None = None
) -> list[tuple[float, float]]:
    """Start and end of each word, in seconds."""
    guesses = _guesses(spelt, spans)
    if samples is None:
        return [(guess.start, guess.end) for guess in guesses]
    return edges_in_sound(listen(samples), guesses)


def _end(frames: int, samples: Samples | None) -> float:
    return SECONDS_PER_FRAME * max(0, frames - 1) if samples is None else len(samples) / SAMPLE_RATE


def _confidences(
    log_probs_tv: Tensor,
    tokens: Sequence[int],
    spans: Sequence[TokenSpan] | None,
    spelt: Sequence[_Spelling],
    measure: Measure,
    calibration: Calibration,
) -> list[float]:
    """How sure each word is; not at all where CTC cannot have said the tokens."""
    if spans is None:
        return [0.0] * len(spelt)
    certain_l = measure.of_tokens(log_probs_tv, tokens, spans)
    return [calibration(measure.joined(certain_l[word.tokens])) for word in spelt]
