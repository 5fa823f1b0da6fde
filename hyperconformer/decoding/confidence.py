"""How sure a word is: what its tokens' frames say, and what experience makes of that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperconformer.errors import InputError

Floats = npt.NDArray[np.float64]
Spans = Sequence[tuple[int, int]]

_LEAST = 1e-6
"""Confidences closer to 0 or 1 are taken for this far from it, so that their log-odds are finite."""
_ENTROPIC_INDEX = 1 / 3


@dataclass(frozen=True)
class Calibration:
    """A confidence from a confidence: its log-odds times ``scale`` plus ``offset``, made a probability again.

    Attributes
    ----------
    scale : float
        Below 1 where the model is too sure, in both directions; not negative, so that no order changes.
    offset : float
        Below 0 where it is too sure of its words.

    Raises
    ------
    ValueError
        If the scale is negative or a number is not finite.

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999.

    Examples
    --------
    >>> round(Calibration(scale=0.5, offset=-1.0)(0.9), 3)
    0.525
    """

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and np.isfinite(self.offset) and self.scale >= 0):
            raise ValueError(f"calibration {self.scale}, {self.offset}: finite, and a scale of at least 0")

    def __call__(self, confidence: float) -> float:
        """Calibrate one confidence."""
        if self == UNCALIBRATED:
            return float(confidence)
        return float(_probability(self.scale * _log_odds(np.float64(confidence)) + self.offset))


UNCALIBRATED = Calibration()


def fit_calibration(confidences: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Learn what confidences are worth from words that are known to be right or wrong.

    The most probable scale and offset, with a prior of weight one on no change, so that few words, or words
    without a mistake, do not lead to extremes.

    Parameters
    ----------
    confidences : sequence of float
        As :func:`~hyperconformer.decoding.alignment.words` gives them without a calibration.
    right : sequence of bool
        Whether each word is right, see :func:`hyperconformer.calibration.judge`.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        If there are no words.
    ValueError
        If the lengths differ.

    Examples
    --------
    >>> bold = fit_calibration([0.99] * 100 + [0.6] * 100, [True] * 80 + [False] * 20 + [True, False] * 50)
    >>> round(bold(0.99), 2), round(bold(0.6), 2)
    (0.8, 0.5)
    """
    if len(confidences) != len(right):
        raise ValueError(f"{len(confidences)} confidences for {len(right)} words")
    if not len(confidences):
        raise InputError("no words to fit a calibration to: every hypothesis is empty")
    log_odds = _log_odds(np.asarray(confidences, dtype=float))
    inputs_wf = np.stack((log_odds, np.ones_like(log_odds)), axis=1)
    right_w, prior = np.asarray(right, dtype=float), np.array([1.0, 0.0])

    def loss(weights: Floats) -> float:
        logits = inputs_wf @ weights
        return float((np.logaddexp(0, logits) - right_w * logits).sum() + ((weights - prior) ** 2).sum() / 2)

    weights = prior
    for _ in range(50):
        said = _probability(inputs_wf @ weights)
        slope = inputs_wf.T @ (said - right_w) + weights - prior
        curvature = (inputs_wf * (said * (1 - said))[:, None]).T @ inputs_wf + np.eye(2)
        step = np.linalg.solve(curvature, slope)
        # Newton's step may overshoot where nearly all confidences are close to 0 or 1.
        while loss(weights - step) > loss(weights) and abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if abs(step).max() <= 1e-9:
            break
    return Calibration(scale=max(0.0, float(weights[0])), offset=float(weights[1]))


def peak_posteriors(log_probs_tv: Tensor, tokens: Sequence[int], spans: Spans) -> Floats:
    """Of each token its highest posterior in the frames that the alignment gives to it.

    Parameters
    ----------
    log_probs_tv : Tensor, shape (T, V)
        CTC log-probabilities.
    tokens : sequence of int
        Token ids.
    spans : sequence of (int, int)
        First frame of each token and the frame after its last, as
        :func:`~hyperconformer.decoding.alignment.align` gives them.

    Returns
    -------
    ndarray, shape (L,)

    Examples
    --------
    >>> probabilities_tv = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.9, 0.0], [0.2, 0.0, 0.8]])
    >>> peak_posteriors(probabilities_tv.log(), [1, 2], [(0, 2), (2, 3)]).round(2).tolist()
    [0.9, 0.8]
    """
    frames, labels, starts = _frames(spans, tokens)
    device = log_probs_tv.device
    picked = log_probs_tv[torch.tensor(frames, device=device), torch.tensor(labels, device=device)]
    peaks: Floats = np.maximum.reduceat(picked.cpu().double().exp().numpy(), starts)
    return peaks.clip(0.0, 1.0)


def tsallis_certainties(log_probs_tv: Tensor, tokens: Sequence[int], spans: Spans) -> Floats:
    """Of each token the mean certainty of its frames: one less their Tsallis entropy over its greatest.

    Parameters
    ----------
    log_probs_tv, tokens, spans
        As :func:`peak_posteriors` takes them.

    Returns
    -------
    ndarray, shape (L,)

    References
    ----------
    Laptev and Ginsburg, Fast entropy-based methods of word-level confidence estimation for end-to-end
    automatic speech recognition, arXiv 2212.08703.

    Examples
    --------
    >>> sure, none = [0.0, 1.0, 0.0, 0.0], [0.25] * 4
    >>> tsallis_certainties(torch.tensor([sure, none]).log(), [1, 2], [(0, 1), (1, 2)]).round(6).tolist()
    [1.0, 0.0]
    """
    frames, _, starts = _frames(spans, tokens)
    rows = log_probs_tv[torch.tensor(frames, device=log_probs_tv.device)].double()
    power = (_ENTROPIC_INDEX * rows).exp().sum(dim=1).cpu().numpy()
    # The sum of the powers is 1 where one label has it all and V^(1 - index) where all are alike.
    certain = 1 - (power - 1) / (log_probs_tv.shape[1] ** (1 - _ENTROPIC_INDEX) - 1)
    sums: Floats = np.add.reduceat(certain, starts)
    return (sums / np.diff(np.append(starts, len(frames)))).clip(0.0, 1.0)


class Measure(NamedTuple):
    """What a word's confidence is made of.

    Attributes
    ----------
    of_tokens : callable
        Log-probabilities, tokens and spans -> a value from 0 to 1 for each token.
    joined : callable
        Values of a word's tokens -> its confidence before calibration.

    Examples
    --------
    >>> MEASURES["min"].joined(np.array([0.9, 0.5]))
    0.5
    """

    of_tokens: Callable[[Tensor, Sequence[int], Spans], Floats]
    joined: Callable[[Floats], float]


MEASURES = {
    "product": Measure(peak_posteriors, lambda tokens: float(tokens.prod())),
    "mean": Measure(peak_posteriors, lambda tokens: float(tokens.prod() ** (1 / len(tokens)))),
    "min": Measure(peak_posteriors, lambda tokens: float(tokens.min())),
    "tsallis": Measure(tsallis_certainties, lambda tokens: float(tokens.mean())),
}
"""The product is a probability where tokens err independently, and the most honest without a calibration; the
others do not get smaller with every token, and want one."""


def _frames(spans: Spans, tokens: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """All frames of all tokens, the label of each frame, and where each token's frames start."""
    frames = [frame for first, stop in spans for frame in range(first, stop)]
    labels = [token for token, (first, stop) in zip(tokens, spans, strict=True) for _ in range(first, stop)]
    lengths = [stop - first for first, stop in spans]
    return frames, labels, [0, *np.cumsum(lengths[:-1]).tolist()]


def _log_odds(confidence: Floats | np.float64) -> Floats:
    bounded = np.asarray(confidence).clip(_LEAST, 1 - _LEAST)
    log_odds: Floats = np.log(bounded) - np.log1p(-bounded)
    return log_odds


def _probability(log_odds: Floats) -> Floats:
    # By tanh, which does not overflow.
    probability: Floats = 0.5 * (1 + np.tanh(np.asarray(log_odds) / 2))
    return probability
