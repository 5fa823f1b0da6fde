"""CTC greedy decoding: the best label of each frame, repeats and blanks removed."""

import torch
from torch import Tensor

from hyperconformer.constants import BLANK
from hyperconformer.types import Hypothesis


def ctc_greedy(log_probs_btv: Tensor, padding: Tensor | None = None) -> list[Hypothesis]:
    """Follow the most probable path.

    Parameters
    ----------
    log_probs_btv : Tensor, shape (B, T, V)
        CTC log-probabilities; label 0 is the blank.
    padding : Tensor, shape (B, T), bool, or None
        True at padded frames.

    Returns
    -------
    list of Hypothesis
        One an utterance; the score is the log-probability of its best path.

    References
    ----------
    Graves et al., Connectionist temporal classification, ICML 2006.

    Examples
    --------
    >>> path = torch.tensor([[0, 3, 3, 0, 3, 4]])
    >>> log_probs = torch.nn.functional.one_hot(path, 5).float().log()
    >>> ctc_greedy(log_probs)[0].tokens
    (3, 3, 4)
    """
    best_bt, labels_bt = log_probs_btv.max(dim=-1)
    return collapse(best_bt, labels_bt, padding)


def collapse(best_bt: Tensor, labels_bt: Tensor, padding: Tensor | None) -> list[Hypothesis]:
    """Take repeats and blanks out of paths.

    Parameters
    ----------
    best_bt : Tensor, shape (B, T)
        Log-probability of each frame's label.
    labels_bt : Tensor, shape (B, T), long
    padding : Tensor, shape (B, T), bool, or None

    Returns
    -------
    list of Hypothesis

    Examples
    --------
    >>> collapse(torch.zeros(1, 4), torch.tensor([[3, 3, 0, 3]]), None)[0].tokens
    (3, 3)
    """
    if padding is not None:
        labels_bt = labels_bt.masked_fill(padding, BLANK)
        best_bt = best_bt.masked_fill(padding, 0.0)
    first = torch.ones_like(labels_bt[:, :1], dtype=torch.bool)
    starts = torch.cat((first, labels_bt[:, 1:] != labels_bt[:, :-1]), dim=1)
    kept = starts & (labels_bt != BLANK)
    scores = best_bt.double().sum(dim=1).tolist()
    return [
        Hypothesis(tuple(labels[keep].tolist()), score, {"ctc": score})
        for labels, keep, score in zip(labels_bt, kept, scores, strict=True)
    ]
