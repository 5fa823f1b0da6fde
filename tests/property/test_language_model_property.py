"""The language model: token by token as at once, padding invisible, the future unseen."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.constants import BEGIN, END
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel, framed, token_losses
from hyperconformer.nn.prefix_tree import SPARE
from tests.helpers import randomise

VOCABULARY = 17


def tiny(tied: bool, dropout: float = 0.0) -> LanguageModel:
    config = LanguageModelConfig(
        output_neurons=VOCABULARY, d_model=12, nhead=3, d_ffn=20, num_layers=3, transformer_dropout=dropout,
        tie_embeddings=tied,
    )  # fmt: skip
    torch.manual_seed(0)
    return randomise(LanguageModel(config).double()).eval()


def slow_logits(model: LanguageModel, tokens: list[int]) -> torch.Tensor:
    """Logits of the token behind the last one, every attention written out in loops; (V,)."""

    def norm(x: torch.Tensor, layer: torch.nn.LayerNorm) -> torch.Tensor:
        return (x - x.mean()) / (x.var(unbiased=False) + layer.eps).sqrt() * layer.weight + layer.bias

    d_model = model.config.d_model
    rows = []
    for position, token in enumerate(tokens):
        angles = [position / 10_000 ** (2 * (i // 2) / d_model) for i in range(d_model)]
        place = [math.cos(a) if i % 2 else math.sin(a) for i, a in enumerate(angles)]
        rows.append(model.embedding.weight[token] * d_model**0.5 + torch.tensor(place, dtype=torch.float64))
    for layer in model.layers:
        normed = [norm(x, layer.norm) for x in rows]
        attention, feedforward = layer.attention, layer.feedforward
        size = d_model // attention.num_heads
        mixed = []
        for now, x in enumerate(normed):
            heads = []
            for head in range(attention.num_heads):
                part = slice(head * size, (head + 1) * size)
                query = attention.query(x)[part]
                seen = [attention.key_value(past).chunk(2) for past in normed[: now + 1]]
                weights = torch.stack([query @ key[part] / size**0.5 for key, _ in seen]).softmax(0)
                heads.append(sum(w * value[part] for w, (_, value) in zip(weights, seen, strict=True)))
            mixed.append(attention.out(torch.cat(heads)))
        rows = [x + y for x, y in zip(rows, mixed, strict=True)]
        for number, x in enumerate(rows):
            hidden = feedforward.expand(norm(x, feedforward.norm))
            active = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
            rows[number] = x + feedforward.project(active)
    last = norm(rows[-1], model.norm)
    return model.embedding.weight @ last if model.out is None else model.out(last)


@pytest.mark.parametrize("tied", [False, True])
def test_the_whole_model_is_what_its_parts_say_in_loops(tied: bool) -> None:
    model, tokens = tiny(tied), [BEGIN, 5, 16, 5, 3]
    logits = model(torch.tensor([tokens]))[0]
    for length in range(1, len(tokens) + 1):
        torch.testing.assert_close(logits[length - 1], slow_logits(model, tokens[:length]))


@settings(deadline=None, max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4), seed=st.integers(0, 99), tied=st.booleans()
)
def test_padding_is_invisible_and_steps_equal_the_full_pass(
    lengths: list[int], seed: int, tied: bool
) -> None:
    model = tiny(tied)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, VOCABULARY, (len(lengths), max(lengths)), generator=generator)
    given_bl, _, _ = framed(tokens, torch.tensor(lengths))
    together, scores = model(given_bl), model.score(tokens, torch.tensor(lengths))
    state, steps = model.start(len(lengths)), []
    for column in given_bl.T:
        logits, state = model.step(column.unsqueeze(1), state)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), together)
    assert state.longest == given_bl.shape[1]
    for row, length in enumerate(lengths):
        alone = model(given_bl[row : row + 1, : length + 1])
        torch.testing.assert_close(together[row, : length + 1], alone[0])
        logs = alone[0].log_softmax(-1)
        spoken = [*tokens[row, :length].tolist(), END]
        total = sum(logs[place, token] for place, token in enumerate(spoken))
        torch.testing.assert_close(scores[row], total)


def test_hypotheses_that_share_a_tree_go_on_from_their_own_past() -> None:
    model, generator = tiny(tied=False), torch.Generator().manual_seed(2)
    _, state = model.step(torch.full((2, 1), BEGIN), model.start(2))
    pasts: list[list[list[int]]] = [[[]], [[]]]
    for _ in range(60):
        index = torch.randint(0, state.rows_bkn.shape[1], (2, 5), generator=generator)
        tokens = torch.randint(3, VOCABULARY, (2, 5), generator=generator)
        logits, state = model.step(tokens, state.select(index))
        chosen = index.tolist(), tokens.tolist()
        pasts = [
            [[*pasts[u][row], token] for row, token in zip(rows, said, strict=True)]
            for u, (rows, said) in enumerate(zip(*chosen, strict=True))
        ]
        before, state = state, state.compact()
        assert state.tokens <= before.tokens
    for u, row in itertools.product(range(2), range(5)):
        torch.testing.assert_close(logits[u, row], model(torch.tensor([[BEGIN, *pasts[u][row]]]))[0, -1])
    held = int(state.rows_bkn.any(dim=1).sum(dim=1).max())
    assert state.tokens < max(2 * held, SPARE) + 5 < 5 * 60


def test_rows_of_different_lengths_stand_beside_each_other() -> None:
    model = tiny(tied=True)
    _, old = model.step(torch.tensor([[BEGIN]]), model.start(1))
    _, newer = model.step(torch.tensor([[4, 9]]), old.select(torch.tensor([[0, 0]])))
    both = old.join(newer)
    assert both.lengths_bk.tolist() == [[1, 2, 2]]
    logits, _ = model.step(torch.tensor([[7, 7, 8]]), both)
    for row, past in enumerate([[7], [4, 7], [9, 8]]):
        torch.testing.assert_close(logits[0, row], model(torch.tensor([[BEGIN, *past]]))[0, -1])


def test_no_token_sees_the_future_nor_gives_it_a_gradient() -> None:
    model = tiny(tied=False)
    tokens = torch.tensor([[BEGIN, 4, 5, 6, 7]])
    changed = tokens.clone()
    changed[0, 3:] = 9
    torch.testing.assert_close(model(tokens)[0, :3], model(changed)[0, :3], rtol=0, atol=0)
    losses = token_losses(model(tokens), tokens, torch.tensor([[False, False, True, True, True]]))
    assert losses[0, 2:].tolist() == [0, 0, 0]
    losses.sum().backward()
    gradient = model.embedding.weight.grad
    assert gradient[6].abs().sum() == gradient[7].abs().sum() == 0 < gradient[4].abs().sum()


def test_dropout_is_for_training_alone() -> None:
    model, tokens = tiny(tied=True, dropout=0.5), torch.tensor([[BEGIN, 4, 5]])
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


def test_the_published_sizes() -> None:
    with torch.device("meta"):
        model = LanguageModel(LanguageModelConfig(output_neurons=5000))
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 2 * 2 * 768
    expected = 12 * layer + 2 * 768 + 5000 * 768 + 5000 * 769
    assert sum(p.numel() for p in model.parameters()) == expected == 92_741_000
