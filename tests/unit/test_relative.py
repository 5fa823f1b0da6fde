"""What relative attention promises beyond the contract of every mixer."""

import pytest
import torch

from hyperconformer.mixers import RelativeAttention
from hyperconformer.mixers.reference import reference
from tests.helpers import assert_same_with_gradients, randomise


@pytest.mark.parametrize("frames", [1, 2, 3, 11])
def test_it_equals_its_reference_at_every_length(frames: int) -> None:
    mixer = randomise(RelativeAttention(12, 3).double())
    x = torch.randn(1, frames, 12, dtype=torch.float64)
    assert_same_with_gradients(mixer, mixer, lambda x: reference(mixer, x[0]).unsqueeze(0), x)


def test_gradcheck_with_padding() -> None:
    mixer = randomise(RelativeAttention(4, 2).double())
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    padding = torch.tensor([[False, False, False], [False, False, True]])
    assert torch.autograd.gradcheck(lambda x: mixer(x, padding), (x,))


def test_an_utterance_of_padding_alone_gives_zeros_and_finite_gradients() -> None:
    mixer = randomise(RelativeAttention(8, 2))
    x = torch.randn(2, 4, 8, requires_grad=True)
    out = mixer(x, torch.tensor([[False] * 4, [True] * 4]))
    assert not out[1].any()
    out.sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (x, *mixer.parameters()))


def test_only_the_distance_of_two_frames_counts() -> None:
    mixer = randomise(RelativeAttention(8, 2).double())
    x = torch.randn(1, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(mixer(x.flip(1)), mixer(x).flip(1))
    assert not torch.allclose(mixer(x[:, [1, 0, 2, 3, 4, 5, 6]])[0, 6], mixer(x)[0, 6])


def test_positions_stay_out_of_the_checkpoint_and_have_no_end() -> None:
    mixer = RelativeAttention(8, 2)
    assert set(mixer.state_dict()) == {name for name, _ in mixer.named_parameters()}
    assert mixer(torch.zeros(1, 3001, 8)).isfinite().all()


@pytest.mark.parametrize(("d_model", "heads"), [(9, 3), (8, 3)])
def test_sizes_that_do_not_divide_are_named(d_model: int, heads: int) -> None:
    with pytest.raises(
        ValueError, match=f"d_model {d_model} must be even and a multiple of num_heads {heads}"
    ):
        RelativeAttention(d_model, heads)
