"""A beam's tokens: rows are masks over one pool, whatever is chosen, dropped or compacted."""

import pytest
import torch

from hyperconformer.nn.prefix_tree import SPARE, PrefixTree


def grown(tree: PrefixTree, values: list[list[float]]) -> PrefixTree:
    """A token for every row, whose key and value are its number."""
    new = torch.tensor(values)[:, None, :, None]
    old = tree.pool[0] if tree.pool else (new[:, :, :0], new[:, :, :0])
    return tree.grow([(torch.cat((old[0], new), dim=2), torch.cat((old[1], -new), dim=2))])


def said(tree: PrefixTree) -> list[list[list[float]]]:
    """The tokens of every row, as the pool has them."""
    keys_bn = tree.pool[0][0][:, 0, :, 0]
    assert torch.equal(tree.pool[0][1][:, 0, :, 0], -keys_bn)
    return [
        [keys_n[row_n].tolist() for row_n in rows_kn]
        for keys_n, rows_kn in zip(keys_bn, tree.rows_bkn, strict=True)
    ]


def test_rows_go_on_from_those_they_were_chosen_from() -> None:
    tree = grown(PrefixTree.start(2), [[1.0], [2.0]]).select(torch.tensor([[0, 0], [0, 0]]))
    tree = grown(tree, [[3.0, 4.0], [5.0, 6.0]])
    assert said(tree) == [[[1.0, 3.0], [1.0, 4.0]], [[2.0, 5.0], [2.0, 6.0]]]
    assert said(tree.select(torch.tensor([[1], [0]])).keep(torch.tensor([1]))) == [[[2.0, 5.0]]]


def test_compacting_drops_only_what_no_row_holds() -> None:
    tree = grown(PrefixTree.start(2), [[0.0], [0.0]])
    past: list[list[float]] = [[0.0], [0.0]]
    for step in range(1, SPARE):
        tree = tree.select(torch.tensor([[0, 0, 0], [0, 0, 0]]))
        tree = grown(tree, [[step, step + 0.25, step + 0.5], [-step, -step - 0.25, -step - 0.5]])
        tree = tree.select(torch.tensor([[1], [2]])).compact()
        past = [[*past[0], step + 0.25], [*past[1], -step - 0.5]]
        assert said(tree) == [[past[0]], [past[1]]]
    assert tree.tokens <= 2 * SPARE + 3
    assert tree.lengths_bk.tolist() == [[SPARE], [SPARE]]


@pytest.mark.parametrize("tokens", [1, SPARE])
def test_a_small_pool_is_left_alone(tokens: int) -> None:
    tree = PrefixTree.start(1)
    for number in range(tokens):
        tree = grown(tree, [[float(number)]])
    assert tree.compact() is tree
