"""A prefix that an utterance has too few frames for is as impossible in a padded batch as alone."""

import torch

from hyperconformer.decoding.ctc_prefix import IMPOSSIBLE, CTCPrefix


def test_nothing_is_said_in_padded_frames() -> None:
    log_probs = torch.randn(1, 6, 5, dtype=torch.float64).log_softmax(-1)
    zero = torch.zeros(1, 1, dtype=torch.long)
    for frames in (log_probs[:, :3], log_probs):
        prefix = CTCPrefix.start(frames, torch.tensor([3]))
        # Three times the same token takes five frames.
        for _ in range(3):
            prefix = prefix.extend(zero, zero + 3)
        assert prefix.scores_bk.item() < IMPOSSIBLE / 2
        assert prefix.finals_bk.item() < IMPOSSIBLE / 2
