"""Forced alignment against torchaudio's."""

import pytest
import torch
from torchaudio.functional import forced_align

from hyperconformer.decoding.alignment import align


@pytest.mark.parametrize(("frames", "vocabulary", "tokens"), [(1, 5, 1), (20, 6, 5), (60, 30, 20), (9, 5, 4)])
@pytest.mark.parametrize("seed", range(10))
def test_the_path_is_torchaudios(frames: int, vocabulary: int, tokens: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (3 * torch.randn(1, frames, vocabulary, generator=generator)).log_softmax(-1)
    labels = torch.randint(3, vocabulary, (1, tokens), generator=generator)
    ours = torch.zeros(frames, dtype=labels.dtype)
    for label, (first, stop) in zip(labels[0], align(log_probs[0], labels[0].tolist()), strict=True):
        ours[first:stop] = label
    assert ours.tolist() == forced_align(log_probs, labels, blank=0)[0][0].tolist()
