"""Memory that a model needs when it runs: weights and the activations that live together."""

from collections.abc import Mapping
from math import prod

import onnx_graphsurgeon as gs

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.dtypes import ITEMSIZE_BITS
from roofwright.cost_model.model import GraphModel
from roofwright.cost_model.work import Operand
from roofwright.graph import graphs_of, name_of
from roofwright.targets import Target


def memory_bytes(graph: gs.Graph, model: GraphModel, target: Target | None = None) -> float:
    """Peak memory of a run, node by node in the order of the works: weights + the most activations alive at once.

    A tensor lives from the node that makes it to the last that reads it; inputs from the start, outputs to the end. A
    view and what it shows are one tensor. Nodes whose work is not modelled have no size and are left out.

    Args:
        graph: what `model` was made of, for its weights.
        model: works and interface.
        target: bytes as this machine stores them; None: as the graph does.
    """
    return _weight_bytes(graph, target) + live_bytes(model, target)


def live_bytes(model: GraphModel, target: Target | None = None) -> float:
    """The most bytes of activations alive at once."""
    owner = _owners(model)
    sizes = {name: _bytes(elements, dtype, target) for name, (elements, dtype) in model.inputs.items()}
    first, last = dict.fromkeys(sizes, 0), dict.fromkeys(sizes, 0)
    for place, entry in enumerate(model.works):
        for operand in entry.work.writes:
            name = _root(operand.name, owner)
            sizes[name] = max(sizes.get(name, 0.0), _operand_bytes(operand, target))
            first.setdefault(name, place)
            last[name] = place
        for operand in entry.work.reads:
            last[_root(operand.name, owner)] = place
    last.update({_root(name, owner): len(model.works) for name in model.outputs})
    return _peak(sizes, first, last, len(model.works))


def _owners(model: GraphModel) -> dict[str, str]:
    """View -> what it shows."""
    return {
        tensor.name: entry.work.alias_of
        for entry in model.works
        if entry.work.alias_of
        for tensor in entry.node.outputs[:1]
    }


def _root(name: str, owner: Mapping[str, str]) -> str:
    seen = {name}
    while name in owner and owner[name] not in seen:
        name = owner[name]
        seen.add(name)
    return name


def _peak(sizes: Mapping[str, float], first: Mapping[str, int], last: Mapping[str, int], count: int) -> float:
    change = [0.0] * (count + 2)
    for name, size in sizes.items():
        change[first[name]] += size
        change[last[name] + 1] -= size
    peak = now = 0.0
    for step in change:
        now += step
        peak = max(peak, now)
    return peak


def _operand_bytes(operand: Operand, target: Target | None) -> float:
    return _bytes(operand.elements, operand.dtype, target)


def _bytes(elements: float, dtype: str, target: Target | None) -> float:
    if target is not None:
        return storage_of(dtype, target).bytes(elements)
    return elements * ITEMSIZE_BITS[dtype] / 8


def _weight_bytes(graph: gs.Graph, target: Target | None) -> float:
    """Every distinct constant that a node reads or a graph gives out, whole."""
    found: dict[int, gs.Constant] = {}
    for body in graphs_of(graph):
        for tensor in (*body.outputs, *(t for node in body.nodes for t in node.inputs)):
            value = _constant(tensor)
            if value is not None:
                found[id(value)] = value
    stored = [(prod(c.shape), name_of(c.dtype) or "") for c in found.values()]
    return sum(_bytes(count, dtype, target) for count, dtype in stored if dtype in ITEMSIZE_BITS)


def _constant(tensor: gs.Tensor) -> gs.Constant | None:
    if isinstance(tensor, gs.Constant):
        return tensor
    held = tensor.inputs[0].attrs.get("value") if tensor.inputs and tensor.inputs[0].op == "Constant" else None
    return held if isinstance(held, gs.Constant) else None
