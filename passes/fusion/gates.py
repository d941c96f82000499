"""Gelu, Mish and Swish written out in arithmetic, recognised by what they compute and not by how they are written."""

from collections.abc import Callable
from functools import lru_cache
from math import erf, pi, sqrt
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View
from roofwright.passes.fusion.composite import Composite, Pattern, lone

Vector = NDArray[np.float64]
Ref = int | float | None  # an earlier step, a scalar, or x itself
Steps = tuple[tuple[str, tuple[Ref, ...]], ...]

_MOST_NODES, _MOST_STEPS = 12, 5  # of a pattern, and behind its anchor; written out, the longest has 9 and 4
_ENDS = ("Mul", "Div", "Add")
_MOST_READERS = 3  # that are looked at
_PROBES = np.concatenate([np.linspace(-9, 9, 145), [-1e4, -60.0, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 60.0, 1e4]])
_TOLERANCE = {"float16": 2e-3, "bfloat16": 0.0, "float32": 1e-6, "float64": 1e-12}  # constants are rounded to the type


def _erf(x: Vector) -> Vector:
    return np.array([erf(value) for value in x])


def _sigmoid(x: Vector) -> Vector:
    return 1.0 / (1.0 + np.exp(-x))


def _softplus(x: Vector) -> Vector:
    return np.logaddexp(0.0, x)


_STEPS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Neg": np.negative,
    "Erf": _erf,
    "Tanh": np.tanh,
    "Sigmoid": _sigmoid,
    "Softplus": _softplus,
}
_KNOWN: dict[str, tuple[tuple[str, dict[str, Any], Callable[[Vector], Vector]], ...]] = {
    "Erf": (("Gelu", {}, lambda x: 0.5 * x * (1.0 + _erf(x / sqrt(2)))),),
    "Tanh": (
        ("Gelu", {"approximate": "tanh"}, lambda x: 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))),
        ("Mish", {}, lambda x: x * np.tanh(_softplus(x))),
    ),
    "Sigmoid": (
        ("Swish", {}, lambda x: x * _sigmoid(x)),
        ("Swish", {"alpha": 1.702}, lambda x: x * _sigmoid(1.702 * x)),
        ("Gelu", {"approximate": "tanh"}, lambda x: x * _sigmoid(sqrt(8 / pi) * (x + 0.044715 * x**3))),
    ),
}


@lru_cache(maxsize=256)
def _meaning(anchor: str, steps: Steps, tolerance: float) -> int | None:
    """Which of the functions known for `anchor` the steps compute, in float64 at the probes, within `tolerance`."""
    values: list[Vector] = []
    with np.errstate(all="ignore"):
        for op, refs in steps:
            operands = [_PROBES if ref is None else values[ref] if isinstance(ref, int) else ref for ref in refs]
            values.append(_STEPS[op](*operands))
        for at, (_, _, function) in enumerate(_KNOWN[anchor]):
            wanted = function(_PROBES)
            if np.all(np.abs(values[-1] - wanted) <= tolerance * (np.abs(wanted) + 0.1)):
                return at
    return None


def _between(source: gs.Tensor, end: gs.Node, view: View) -> list[gs.Node] | None:
    """The nodes from `source` to `end`, in order, where nothing but `source` and scalars enters; None otherwise."""
    found: dict[int, gs.Node] = {}
    waiting: list[tuple[gs.Node | None, bool]] = [(end, False)]
    while waiting:
        node, is_ready = waiting.pop()
        if not view.is_op(node, *_STEPS) or len(waiting) + len(found) > 2 * _MOST_NODES:
            return None
        if is_ready:
            found[id(node)] = node
        elif id(node) not in found:
            computed = [t for t in node.inputs if t is not source and lone(t, source, view) is None]
            waiting += [(node, True), *((view.producer(tensor), False) for tensor in computed)]
    return list(found.values())


def _steps(nodes: list[gs.Node], source: gs.Tensor, view: View) -> Steps:
    place = {id(node.outputs[0]): at for at, node in enumerate(nodes)}
    return tuple((node.op, tuple(_ref(tensor, source, place, view) for tensor in node.inputs)) for node in nodes)


def _ref(tensor: gs.Tensor, source: gs.Tensor, place: dict[int, int], view: View) -> Ref:
    return None if tensor is source else place.get(id(tensor), view.scalar(tensor))


def _sources(node: gs.Node, view: View) -> list[gs.Tensor]:
    """The values before `node` that are read more than once, nearest first: the argument is also a factor."""
    found: list[gs.Tensor] = []
    waiting, seen = list(node.inputs[:1]), 0
    while waiting and seen < _MOST_NODES:
        tensor = waiting.pop(0)
        seen += 1
        if len(tensor.outputs) > 1 and not any(tensor is other for other in found):
            found.append(tensor)
        maker = view.producer(tensor)
        if maker is not None and view.is_op(maker, *_STEPS):
            waiting += [other for other in maker.inputs if not view.is_constant(other)]
    return found


def _ends(node: gs.Node, view: View) -> list[gs.Node]:
    """The products and sums behind `node`, nearest first; a second reader is no obstacle here: it is told later."""
    found: list[gs.Node] = []
    for _ in range(_MOST_STEPS):
        readers = node.outputs[0].outputs[:_MOST_READERS]
        following = next((reader for reader in readers if view.is_op(reader, *_ENDS) and view.is_local(reader)), None)
        if following is None:
            break
        node = following
        found.append(node)
    return found


class WriteGate(Composite):
    """`0.5 * x * (1 + Erf(x / sqrt(2)))` --> Gelu(x), and so on: cases 1 to 3."""

    name: ClassVar[str] = "to-gelu"
    anchors: ClassVar[tuple[str, ...]] = tuple(_KNOWN)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The nodes from `x`, which is read more than once, to a product behind `node`."""
        tolerance = _TOLERANCE.get(view.dtype(node.outputs[0]) or "", 0.0)
        sources = _sources(node, view) if tolerance else []
        for end in _ends(node, view) if sources else []:
            for source in sources:
                nodes = _between(source, end, view)
                at = None if nodes is None else _meaning(node.op, _steps(nodes, source, view), tolerance)
                if nodes is not None and at is not None and view.dtype(source) == view.dtype(end.outputs[0]):
                    op, attrs, _ = _KNOWN[node.op][at]
                    return Pattern(op, tuple(nodes), (source,), attrs)
        return None


def is_in_gate(node: gs.Node, view: View) -> bool:
    """Whether `node` is one of the nodes of such a function written out; looks at a few nodes before it."""
    waiting, seen = [node], 0
    while waiting and seen < _MOST_NODES:
        found = waiting.pop(0)
        seen += 1
        pattern = WriteGate.find(found, view) if found.op in _KNOWN else None
        if pattern is not None and any(inside is node for inside in pattern.nodes):
            return True
        if found.op in _STEPS and (found is node or found.op not in _KNOWN):
            waiting += [maker for maker in map(view.producer, found.inputs) if maker is not None]
    return False
