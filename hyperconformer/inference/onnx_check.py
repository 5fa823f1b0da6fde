"""An ONNX file that is safe to run: what may be in its graph, checked before onnxruntime sees it."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hyperconformer.errors import InputError, one_line
from hyperconformer.inference.bundle_files import LONGEST_REASON, printable

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

OPERATORS = (
    "Add",
    "And",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Cos",
    "Div",
    "DynamicQuantizeLinear",
    "Equal",
    "Expand",
    "Gather",
    "GatherND",
    "Gelu",
    "Gemm",
    "GreaterOrEqual",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "Log",
    "LogSoftmax",
    "MatMul",
    "MatMulInteger",
    "Max",
    "Mod",
    "Mul",
    "Not",
    "Pow",
    "Range",
    "ReduceMax",
    "ReduceSum",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Sin",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
    "Where",
)
"""All that our exporter writes, of every mixer, in float32 and eight bits."""

# Stands for the longest axis where a graph computes with sizes: it may count twice as far, and no number that
# it adds may be larger than any that a front-end needs.
LONGEST_AXIS, MOST_CONSTANT = 2.0**30, 2**16


def parse(content: bytes, name: str) -> "ModelProto":
    """Read an ONNX file that holds nothing but weights and a graph of the operators that our exporter writes.

    Parameters
    ----------
    content : bytes
    name : str
        For messages.

    Returns
    -------
    ModelProto

    Raises
    ------
    InputError
        If it cannot be read, names other files, has functions, graphs within graphs or operators that our
        exporter does not write, declares weights that it does not hold, or makes tensors of sizes that are
        not those of others.

    Examples
    --------
    >>> parse(b"?", "a.onnx")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'a.onnx' cannot be used (it is no ONNX file): export it again
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model: ModelProto = onnx.ModelProto.FromString(content)
        if not model.graph.node:
            raise ValueError("it is no ONNX file")
        _check(model)
    except (DecodeError, ValueError) as error:
        reason = "it is no ONNX file" if isinstance(error, DecodeError) else one_line(error, LONGEST_REASON)
        raise InputError(f"'{name}' cannot be used ({reason}): export it again") from error
    return model


def _check(model: "ModelProto") -> None:
    if model.functions or model.training_info:
        raise ValueError("it has functions of its own")
    domains = {opset.domain for opset in model.opset_import} | {node.domain for node in model.graph.node}
    if foreign := sorted(domains - {"", "ai.onnx"}):
        raise ValueError(f"it has operators of {foreign[0]!r}")
    for tensor in _tensors(model.graph):
        _check_tensor(tensor)
    # A convolution could be told to mind a billion zeros around what it hears.
    attributes = (attribute for node in model.graph.node for attribute in node.attribute)
    if any(abs(value) > MOST_CONSTANT for a in attributes for value in (a.i, *a.ints)):
        raise ValueError("it has settings that are too large")
    if unknown := sorted({node.op_type for node in model.graph.node} - set(OPERATORS)):
        raise ValueError(f"it has the operator {printable(unknown[0])!r:.40}, which no export writes")
    _Sizes(model.graph)


def _tensors(graph: "GraphProto") -> "Iterator[TensorProto]":
    """All weights and constants."""
    if graph.sparse_initializer:
        raise ValueError("it has sparse weights")
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from _tensors_of(attribute)


def _tensors_of(attribute: "AttributeProto") -> "Iterator[TensorProto]":
    if attribute.HasField("g") or attribute.graphs:
        raise ValueError("it has a graph within a graph")
    if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        raise ValueError("it has sparse weights")
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _check_tensor(tensor: "TensorProto") -> None:
    """No other files, and no more values declared than there are bytes."""
    if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
        raise ValueError(f"{tensor.name!r} lies in another file")
    values = math.prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or values > tensor.ByteSize():
        raise ValueError(f"{tensor.name!r} declares {values} values that it does not hold")


class _Sizes:
    """What makes tensors larger must follow the sizes of others: numbers in the file could name any size."""

    def __init__(self, graph: "GraphProto") -> None:
        from onnx import TensorProto

        kinds = (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64)
        numbers = (t for t in graph.initializer if math.prod(t.dims) == 1 and t.data_type in kinds)
        self.constants = {tensor.name: _number(tensor) for tensor in numbers}
        self.makers: dict[str, str] = {}
        # The largest that each number can become; nodes stand in the order in which they run.
        self.largest: dict[str, float] = {}
        for node in graph.node:
            self._check(node)
            self.makers |= dict.fromkeys(node.output, node.op_type)
            self.largest |= dict.fromkeys(node.output, self._bound(node))

    def _check(self, node: "NodeProto") -> None:
        if node.op_type == "Expand":
            _, shape = node.input
            if self.makers.get(shape) != "Shape":
                raise ValueError(f"{printable(node.name)!r:.40} expands to no other tensor's shape")
        if node.op_type == "Range":
            start, limit, step = node.input
            # Smaller steps would be more.
            plain = self.constants.get(start) == 0 and self.constants.get(step) == 1
            if not (plain and self._most(limit) <= 2 * LONGEST_AXIS):
                raise ValueError(f"{printable(node.name)!r:.40} counts farther than any tensor is long")

    def _most(self, name: str) -> float:
        if name in self.constants:
            number = abs(self.constants[name])
            return number if number <= MOST_CONSTANT else math.inf
        return self.largest.get(name, math.inf)

    def _bound(self, node: "NodeProto") -> float:
        if node.op_type == "Shape":
            return LONGEST_AXIS
        if node.op_type == "Add":
            return sum(self._most(name) for name in node.input)
        if node.op_type in ("Cast", "Squeeze"):
            return max((self._most(name) for name in node.input[:1]), default=math.inf)
        if node.op_type == "Div" and len(node.input) == 2:
            divisor = abs(self.constants.get(node.input[1], 0.0))
            return self._most(node.input[0]) / divisor if divisor >= 1 else math.inf
        return math.inf


def _number(tensor: "TensorProto") -> float:
    from onnx import numpy_helper

    return float(numpy_helper.to_array(tensor).item())
