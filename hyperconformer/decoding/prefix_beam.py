"""CTC prefix beam search: each token sequence is the sum of its paths, and other models have their say.

At every frame the ``beam_size`` best prefixes are kept, ranked by the probability of their paths so far and
by the scores of other models. In the end the probability of each one is computed anew from all of its paths,
also those that were not kept, the ends of sentences are added, and that ranks them. Nothing but the beam
prunes: what is not computed on the way could not have entered it.

References
----------
Graves and Jaitly, Towards end-to-end speech recognition with recurrent neural networks, ICML 2014; Hannun et
al., First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs, arXiv
1408.2873.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperconformer.decoding.fusion import Fusion, HotwordFusion
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.prefixes import Beam, FusedScores, Trie
from hyperconformer.decoding.token_scorers import TokenScorer
from hyperconformer.types import Hypothesis


@torch.no_grad()
def prefix_beam_search(
    log_probs_btv: Tensor,
    lengths_b: Tensor,
    options: SearchOptions,
    *,
    fusion: Sequence[Fusion] = (),
    hotwords: TokenScorer | None = None,
) -> list[list[Hypothesis]]:
    """Find each utterance's best token sequences.

    Parameters
    ----------
    log_probs_btv : Tensor, shape (B, T, V)
        CTC log-probabilities; label 0 is the blank. Labels 1 and 2 begin and end sentences elsewhere and are
        never heard here.
    lengths_b : Tensor, shape (B,), long
        Valid frames.
    options : SearchOptions
        ``beam_size``, ``nbest``, and the weights of the parts of ``fusion``.
    fusion : sequence of Fusion
        Further scores.
    hotwords : TokenScorer or None
        Phrases to be heard more easily.

    Returns
    -------
    list of list of Hypothesis
        Of each utterance at most ``nbest``, best first, and at least one. Of the parts, "ctc" is
        log P(tokens | frames); others have the names that fusion gives them ("words" is their number).

    Raises
    ------
    ValueError
        If a log-probability is not a number.

    Examples
    --------
    >>> log_probs = torch.tensor([[[0.4, 0, 0, 0.3, 0.3], [0.4, 0, 0, 0.6, 0]]]).log()
    >>> options = SearchOptions(beam_size=4, nbest=2)
    >>> for found in prefix_beam_search(log_probs, torch.tensor([2]), options)[0]:
    ...     print(found.tokens, round(np.exp(found.parts["ctc"]), 2))
    (3,) 0.54
    (4, 3) 0.18
    """
    fusions = [*fusion, *([] if hotwords is None else [HotwordFusion(hotwords)])]
    scores = FusedScores(fusions, len(log_probs_btv), options)
    trie = Trie(len(log_probs_btv))
    beams = [
        Beam(root, frames_tv, options.beam_size, scores, trie)
        for root, frames_tv in enumerate(_frames(log_probs_btv, lengths_b))
    ]
    _run(beams, scores)
    return [beam.finish(options.nbest) for beam in beams]


def _run(beams: Sequence[Beam], scores: FusedScores) -> None:
    """Let each utterance go on to where it may find something new; there all ask the models together."""
    going = True
    while going:
        going = any([beam.advance() for beam in beams])
        scores.prepare([beam.nodes_k for beam in beams], [beam.asked_r for beam in beams])
        for beam in beams:
            beam.extend()


def _frames(log_probs_btv: Tensor, lengths_b: Tensor) -> list[npt.NDArray[np.floating]]:
    """Each utterance's own frames, in float32 or float64."""
    dtype = torch.promote_types(log_probs_btv.dtype, torch.float32)
    log_probs = log_probs_btv.to("cpu", dtype).numpy()
    frames = [row[:length] for row, length in zip(log_probs, lengths_b.tolist(), strict=True)]
    for number, frames_tv in enumerate(frames):
        # A maximum is NaN if anything is, and needs no array of flags as large as the frames.
        if np.isnan(frames_tv.max(initial=-np.inf)):
            raise ValueError(f"log_probs_btv[{number}] holds values that are not numbers (NaN)")
    return frames
