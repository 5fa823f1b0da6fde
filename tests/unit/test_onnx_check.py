"""A stranger's ONNX file: whatever could make a runtime do more than an export of ours is refused unread."""

from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from hyperconformer.errors import InputError
from hyperconformer.inference.onnx_check import OPERATORS, parse


def test_the_operators_are_sorted() -> None:
    assert list(OPERATORS) == sorted(set(OPERATORS))


def outside(graph: GraphProto) -> None:
    tensor = graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[9])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")


def constant_outside(graph: GraphProto) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[9])
    tensor.external_data.add(key="location", value="/etc/passwd")
    graph.node.append(helper.make_node("Constant", [], ["w"], value=tensor))


def boundless(graph: GraphProto) -> None:
    graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[2**40, 2**20], raw_data=b"1234")


def sparse(graph: GraphProto) -> None:
    graph.sparse_initializer.add(dims=[2**40])


def nested(graph: GraphProto) -> None:
    graph.node.append(
        helper.make_node("If", ["x"], ["z"], then_branch=GraphProto(), else_branch=GraphProto())
    )


def forged(graph: GraphProto, *nodes: NodeProto, **constants: Any) -> None:
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value), name) for name, value in constants.items()
    )
    graph.node.extend(nodes)


def filled(graph: GraphProto) -> None:
    forged(graph, helper.make_node("ConstantOfShape", ["s"], ["z"]), s=[40, 1000, 100_000])


def expanded(graph: GraphProto) -> None:
    forged(graph, helper.make_node("Expand", ["y", "s"], ["z"]), s=[40, 1000, 100_000])


def counted(graph: GraphProto) -> None:
    forged(graph, helper.make_node("Range", ["a", "b", "c"], ["z"]), a=0, b=10**10, c=1)


def counted_in_tiny_steps(graph: GraphProto) -> None:
    forged(graph, helper.make_node("Range", ["a", "b", "c"], ["z"]), a=0.0, b=9.0, c=1e-9)


def doubled(graph: GraphProto) -> None:
    """Each size is the double of the one before."""
    nodes = [helper.make_node("Add", [f"n{i}", f"n{i}"], [f"n{i + 1}"]) for i in range(40)]
    forged(graph, *nodes, helper.make_node("Range", ["a", "n40", "c"], ["z"]), a=0, n0=1, c=1)


def divided(graph: GraphProto) -> None:
    nodes = [helper.make_node("Div", ["a", "b"], ["d"]), helper.make_node("Range", ["o", "d", "c"], ["z"])]
    forged(graph, *nodes, a=9.0, b=1e-9, o=0.0, c=1.0)


def widened(graph: GraphProto) -> None:
    forged(graph, helper.make_node("Conv", ["y", "w"], ["z"], pads=[0, 10**10]), w=[[[1.0]]])


def foreign(graph: GraphProto) -> None:
    graph.node.append(helper.make_node("Anything", ["x"], ["z"], domain="somewhere"))


@pytest.mark.parametrize(
    ("trick", "message"),
    [
        (outside, "'w' lies in another file"),
        (constant_outside, "'w' lies in another file"),
        (boundless, "declares .* values that it does not hold"),
        (sparse, "sparse weights"),
        (nested, "a graph within a graph"),
        (foreign, "operators of 'somewhere'"),
        (filled, "the operator 'ConstantOfShape', which no export writes"),
        (expanded, "expands to no other tensor's shape"),
        (counted, "counts farther than any tensor is long"),
        (counted_in_tiny_steps, "counts farther than any tensor is long"),
        (doubled, "counts farther than any tensor is long"),
        (divided, "counts farther than any tensor is long"),
        (widened, "settings that are too large"),
    ],
)
def test_tricks_in_an_onnx_file_are_refused(trick, message: str) -> None:
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "g", [port], [])
    parse(helper.make_model(graph).SerializeToString(), "a.onnx")
    trick(graph)
    with pytest.raises(InputError, match=f"'a.onnx' cannot be used .*{message}"):
        parse(helper.make_model(graph).SerializeToString(), "a.onnx")
