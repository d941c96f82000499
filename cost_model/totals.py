"""Sums over the works of a graph, for reports."""

from collections import Counter
from collections.abc import Iterable
from math import prod

import onnx_graphsurgeon as gs

from roofwright.cost_model.dtypes import ITEMSIZE_BITS
from roofwright.cost_model.graph_work import NodeWork
from roofwright.graph import graphs_of, name_of

# Inputs that hold statistics, scales, zero points or coordinates rather than parameters of the network.
_NOT_PARAMETERS = {
    "BatchNormalization": (3, 4),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
    "Resize": (1, 2),
    "Upsample": (1,),
    "RoiAlign": (1,),
}
_INTEGER_BIASES = ("QLinearConv", "DequantizeLinear")  # whose int32 inputs are parameters, not positions
_MOST_PARAMETER_BITS = 8  # wider integers are shapes, axes and indices


def macs(works: Iterable[NodeWork]) -> int:
    """Useful multiply-accumulates of one request."""
    return sum(entry.work.macs for entry in works)


def parameters(graph: gs.Graph) -> int:
    """Elements of the weights: every distinct constant that is not a scalar, a statistic, a scale or a position.

    The running mean and variance of BatchNormalization are statistics; published parameter counts leave them out.
    Bodies of control flow are included, those of local functions are not: their constants belong to every call.
    """
    counted: dict[int, int] = {}
    for body in graphs_of(graph):
        for node in body.nodes:
            for place, tensor in enumerate(node.inputs):
                constant = _constant(tensor)
                if constant is not None and place not in _NOT_PARAMETERS.get(node.op, ()) and _holds(constant, node.op):
                    counted[id(constant)] = prod(constant.shape)
    return sum(counted.values())


def parameter_bytes(graph: gs.Graph) -> float:
    """Bytes of every distinct constant that some node reads, as the graph stores them; bodies included."""
    found: dict[int, float] = {}
    for body in graphs_of(graph):
        for constant in (_constant(tensor) for node in body.nodes for tensor in node.inputs):
            if constant is not None:
                found[id(constant)] = prod(constant.shape) * ITEMSIZE_BITS.get(name_of(constant.dtype) or "", 0) / 8
    return sum(found.values())


def _constant(tensor: gs.Tensor) -> gs.Constant | None:
    if isinstance(tensor, gs.Constant):
        return tensor
    value = tensor.inputs[0].attrs.get("value") if tensor.inputs and tensor.inputs[0].op == "Constant" else None
    return value if isinstance(value, gs.Constant) else None


def _holds(constant: gs.Constant, op: str) -> bool:
    """Whether a constant that `op` reads can be a weight: it has axes and a type that weights have."""
    dtype = name_of(constant.dtype) or ""
    if not constant.shape or dtype not in ITEMSIZE_BITS or dtype == "bool":
        return False
    if dtype == "int32":
        return op in _INTEGER_BIASES
    return "float" in dtype or "complex" in dtype or ITEMSIZE_BITS[dtype] <= _MOST_PARAMETER_BITS


def op_counts(works: Iterable[NodeWork]) -> dict[str, int]:
    """Number of nodes per operator, most frequent first, then by name; a node in a loop body counts once."""
    counts = Counter(entry.op for entry in works)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def not_modelled(works: Iterable[NodeWork]) -> tuple[tuple[str, str, str], ...]:
    """(operator, key, reason) of every node whose work is unknown, in topological order."""
    return tuple((entry.op, entry.key, entry.work.reason) for entry in works if entry.work.kind == "not_modelled")
