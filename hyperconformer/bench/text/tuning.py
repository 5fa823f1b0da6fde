"""What tuning costs: random trials of every system, and the best score that one may expect of so many."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hyperconformer.data.augment import keyed_rng

Draw = Callable[[np.random.Generator], Any]


def _log_uniform(low: float, high: float) -> Draw:
    return lambda rng: _rounded(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def _uniform(low: float, high: float) -> Draw:
    return lambda rng: _rounded(float(rng.uniform(low, high)))


def _one_of(*values: Any) -> Draw:
    return lambda rng: values[int(rng.integers(len(values)))]


def _rounded(value: float) -> float:
    """Three digits, as a person would write them down."""
    return float(f"{value:.3g}")


SPACE: Mapping[str, Draw] = {
    "lr": _log_uniform(2e-4, 2e-2),
    "n_warmup_steps": _one_of(50, 200, 800),
    "weight_decay": _log_uniform(1e-4, 0.3),
    "transformer_dropout": _uniform(0.0, 0.5),
    "label_smoothing": _one_of(0.0, 0.1),
    "max_grad_norm": _one_of(1.0, 5.0),
    "num_layers": _one_of(1, 2, 3, 4),
}
"""What is tuned, by the recipe's keys.

``d_ffn`` follows, so that all systems of a trial are equally large; trials of more layers have more weights.
"""


def draw_trial(seed: int, number: int) -> dict[str, Any]:
    """Draw the hyperparameters of a trial: the same ones for every system, however many trials there are.

    Parameters
    ----------
    seed : int
    number : int
        Of the trial, from 0.

    Returns
    -------
    dict
        Values for keys of the recipe.

    Examples
    --------
    >>> draw_trial(0, 3) == draw_trial(0, 3), draw_trial(0, 3) == draw_trial(0, 4)
    (True, False)
    >>> list(draw_trial(0, 3)) == list(SPACE)
    True
    """
    rng = keyed_rng(seed, "trial", number)
    return {key: draw(rng) for key, draw in SPACE.items()}


def expected_best(scores: Sequence[float]) -> list[float]:
    """Say which best score is to be expected of n random trials, for every n up to their number.

    The best of n independent draws from the empirical distribution of the scores is at most v with the
    probability F(v) ** n, so each score v is the best with F(v) ** n - F(v before) ** n.

    Parameters
    ----------
    scores : sequence of float
        Validation scores of all trials, higher is better.

    Returns
    -------
    list of float
        The expected value for 1, 2, ... trials; none without a score.

    References
    ----------
    Dodge et al., Show your work: improved reporting of experimental results, arXiv 1909.03004.

    Examples
    --------
    >>> expected_best([0.0, 1.0]), expected_best([])
    ([0.5, 0.75], [])
    """
    ordered = np.sort(np.asarray(scores, dtype=float))
    count = len(ordered)
    share = np.arange(count + 1) / max(1, count)
    return [float(np.diff(share**trials) @ ordered) for trials in range(1, count + 1)]
