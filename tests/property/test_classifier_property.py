"""A text, or a pair, gives the same alone and in any batch, in outputs and gradients, by every mixer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperconformer.mixers import MIXERS
from hyperconformer.models.classifier import Classifier, Texts
from hyperconformer.models.config import ClassifierConfig
from tests.helpers import randomise

VOCABULARY, LONGEST = 11, 6
FEW = settings(max_examples=3, deadline=None)
POSITIONS = {"mlp": {"max_frames": 2 * LONGEST + 1}, "gmlp": {"max_frames": 2 * LONGEST + 1}}
SYSTEMS = [
    *((mixer, form) for mixer in MIXERS for form in ("single", "joined")),
    ("hypermixing", "cross"),
    ("hypermixing:tied", "cross"),
]
LENGTHS = st.lists(st.tuples(st.integers(1, LONGEST), st.integers(1, LONGEST)), min_size=2, max_size=3)


def tiny(system: str, form: str) -> Classifier:
    mixer, _, tied = system.partition(":")
    options = {"tied": True} if tied else POSITIONS.get(mixer, {})
    config = ClassifierConfig(
        output_neurons=VOCABULARY, num_classes=3, d_model=8, nhead=2, d_ffn=12, num_layers=1, mixer=mixer,
        mixer_options=options, texts=1 if form == "single" else 2,
        pair="joined" if form == "single" else form,
    )  # fmt: skip
    torch.manual_seed(0)
    return randomise(Classifier(config)).double().eval()


def some_texts(lengths: list[int], extra: int, generator: torch.Generator) -> Texts:
    """Tokens everywhere, beyond the texts' ends as well."""
    shape = (len(lengths), max(lengths) + extra)
    return Texts(torch.randint(VOCABULARY, shape, generator=generator), torch.tensor(lengths))


def alone(texts: Texts, row: int) -> Texts:
    length = int(texts.lengths_b[row])
    return Texts(texts.tokens_bl[row : row + 1, :length], texts.lengths_b[row : row + 1])


def gradients(model: Classifier, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(model.parameters(), found, strict=True)
    ]


@pytest.mark.parametrize(("system", "form"), SYSTEMS)
@FEW
@given(lengths=LENGTHS, extra=st.integers(0, 5), seed=st.integers(0, 99))
def test_company_and_what_lies_beyond_a_text_change_nothing(
    system: str, form: str, lengths: list[tuple[int, int]], extra: int, seed: int
) -> None:
    model = tiny(system, form)
    generator = torch.Generator().manual_seed(seed)
    sides = zip(*lengths, strict=True) if form != "single" else [[first for first, _ in lengths]]
    texts = [some_texts(list(side), extra, generator) for side in sides]
    weights_bc = torch.randn(len(lengths), 3, generator=generator, dtype=torch.float64)
    together = model(*texts)
    by_itself = torch.cat([model(*(alone(text, row) for text in texts)) for row in range(len(lengths))])
    torch.testing.assert_close(together, by_itself, rtol=1e-9, atol=1e-9)
    for ours, truth in zip(
        gradients(model, (together * weights_bc).sum()),
        gradients(model, (by_itself * weights_bc).sum()),
        strict=True,
    ):
        torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("system", "form"), SYSTEMS)
def test_every_token_counts(system: str, form: str) -> None:
    """What heard nothing would pass the test above."""
    model = tiny(system, form)
    generator = torch.Generator().manual_seed(1)
    texts = [some_texts([5], 0, generator) for _ in range(model.config.texts)]
    rows = torch.cat([text.tokens_bl for text in texts], dim=1)
    # A row for every token, in which this one is another.
    changed = (rows + torch.eye(rows.shape[1], dtype=torch.long)) % VOCABULARY
    with torch.no_grad():
        given, other = (
            model(*(Texts(part, torch.full((len(batch),), 5)) for part in batch.split(5, dim=1)))
            for batch in (rows, changed)
        )
    assert ((other - given).abs().amax(dim=1) > 1e-6).all()
