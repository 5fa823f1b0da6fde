"""Every mixer keeps the contract and equals its slow reference."""

import pytest
import torch

from hyperconformer.mixers import MIXERS, HyperMixing, make_mixer
from hyperconformer.mixers.reference import REFERENCES, reference
from hyperconformer.nn.initialise import initialise
from tests.helpers import assert_same_with_gradients, randomise

HYPERMIXING_DIALS = [
    {},
    {"tied": True},
    {"init": "fan"},
    {"init": "speechbrain"},
    {"hypernet_size": 4},
    {"length_norm": "sqrt"},
    {"length_norm": "none"},
    {"positions": "none"},
    {"positions": "convolution"},
    {"gate": True},
    {"out_bias": False, "positions": "none"},
]
CASES = [(name, {}) for name in MIXERS if name != "hypermixing"] + [
    ("hypermixing", d) for d in HYPERMIXING_DIALS
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_mixer_equals_its_reference(name: str, options: dict) -> None:
    mixer = randomise(make_mixer(name, 8, 2, options).double())
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    assert_same_with_gradients(mixer, mixer, lambda x: reference(mixer, x[0]).unsqueeze(0), x)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_padding_is_invisible_and_zero(name: str, options: dict) -> None:
    mixer = randomise(make_mixer(name, 8, 2, options).double())
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    padding = torch.zeros(2, 9, dtype=torch.bool)
    padding[1, 4:] = True
    batched = mixer(x, padding)
    assert torch.equal(batched[1, 4:], torch.zeros(5, 8, dtype=torch.float64))
    torch.testing.assert_close(batched[0], mixer(x[:1])[0])
    torch.testing.assert_close(batched[1, :4], mixer(x[1:, :4])[0])


def test_every_mixer_has_a_reference() -> None:
    assert set(MIXERS.values()) == set(REFERENCES)


@pytest.mark.parametrize("name", [name for name in MIXERS if name != "identity"])
def test_mixers_mix(name: str) -> None:
    mixer = make_mixer(name, 8, 2)
    x = torch.randn(1, 5, 8)
    other = x.clone()
    other[0, 4] += 1.0
    assert not torch.allclose(mixer(x)[0, 0], mixer(other)[0, 0])


@pytest.mark.parametrize("name", [name for name in MIXERS if name not in ("identity", "fourier")])
def test_a_quietened_mixer_says_less_until_it_learns(name: str) -> None:
    mixer = make_mixer(name, 8, 2).apply(initialise)
    x = torch.randn(1, 5, 8)
    loud = mixer(x)
    mixer.quieten(0.1)
    quiet = mixer(x)
    # Of a GELU's input a tenth is left, HyperMixing's norm had a gain of a half.
    assert 0.05 < quiet.std() / loud.std() < 0.25
    quiet.square().sum().backward()
    assert all(weight.grad is not None for weight in mixer.parameters())


@pytest.mark.parametrize(("init", "gain"), [("centred", 0.5), ("fan", 1.0), ("speechbrain", 1.0)])
def test_a_gain_becomes_no_larger_than_the_share(init: str, gain: float) -> None:
    mixer = HyperMixing(8, 2, init=init)
    mixer.quieten(1.0)
    assert mixer.norm.weight.tolist() == [gain] * 8
    mixer.quieten(0.1)
    torch.testing.assert_close(mixer.norm.weight, torch.full((8,), 0.1))


@pytest.mark.parametrize("tied", [False, True])
def test_hypermixing_gradcheck(tied: bool) -> None:
    mixer = randomise(HyperMixing(4, 2, hypernet_size=4, tied=tied).double())
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    padding = torch.tensor([[False, False, False], [False, False, True]])
    assert torch.autograd.gradcheck(lambda x: mixer(x, padding), (x,))


def test_hypermixing_keeps_no_positions_in_its_checkpoint() -> None:
    mixer = HyperMixing(144, 8)
    assert set(mixer.state_dict()) == {name for name, _ in mixer.named_parameters()}
    assert mixer(torch.zeros(1, 3001, 144)).shape == (1, 3001, 144)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_mixer("hypermixing", 8, 2, {"tide": True}), "no option 'tide'"),
        (lambda: make_mixer("identity", 8, 2, {"tied": True}), "takes none"),
        (lambda: HyperMixing(9, 2), "d_model 9"),
        (lambda: HyperMixing(8, 2, hypernet_size=5), "hypernet_size 5"),
        (lambda: HyperMixing(8, 2, length_norm="log"), "length_norm 'log'"),
        (lambda: HyperMixing(8, 2, positions="learnt"), "positions 'learnt'"),
        (lambda: HyperMixing(8, 2, init="xavier"), "init 'xavier'"),
        (lambda: HyperMixing(8, 2, dropout=1.0), "dropout must be from 0 to 0.99998"),
        (lambda: make_mixer("attention", 6, 2), "d_model 6"),
        (lambda: make_mixer("summary", 9, 2), "d_model 9"),
        (
            lambda: make_mixer("mlp", 8, 2, {"max_frames": 5})(torch.zeros(1, 6, 8)),
            "6 frames are",
        ),
        (lambda: make_mixer("gmlp", 8, 2, {"max_frames": 5})(torch.zeros(1, 6, 8)), "6 frames are more"),
        (lambda: make_mixer("gmlp", 8, 2, {"max_frames": 0}), "max_frames must lie between 1 and"),
    ],
)
def test_wrong_dials_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
