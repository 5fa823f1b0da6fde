"""The dial ``init: speechbrain`` against SpeechBrain's own initialisation."""

import pytest
import torch
from speechbrain.nnet.hypermixing import HyperMixing as Theirs

from hyperconformer.mixers import HyperMixing


def test_speechbrains_start_is_speechbrains() -> None:
    torch.manual_seed(0)
    theirs = Theirs(input_output_dim=144, hypernet_size=576, tied=False, num_heads=8)
    for parameter in theirs.parameters():
        if parameter.dim() > 1:
            torch.nn.init.xavier_normal_(parameter)  # as their Transformer does to all that it holds
    ours = HyperMixing(144, 8, init="speechbrain", length_norm="none")
    generated = theirs.hyper.w1_gen
    for mine, other in (
        (ours.weight_in, generated.fc1_weights),
        (ours.weight_out, generated.fc2_weights),
        (ours.bias_in, generated.fc1_biases),
        (ours.bias_out, generated.fc2_biases),
    ):
        assert mine.std().item() == pytest.approx(other.std().item(), rel=0.15)
