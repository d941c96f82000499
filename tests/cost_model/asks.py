"""One node, its shapes, its work: the shortest way to ask for a count."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model.graph_work import NodeWork, graph_work
from roofwright.cost_model.work import Work
from roofwright.graph import TensorInfo

Spec = tuple[int | str | None, ...] | NDArray[Any] | str | None


def weight(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    """A constant of zeros that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _tensor(name: str, spec: Spec, dtype: str, infos: dict[str, TensorInfo]) -> gs.Tensor:
    if spec is None:
        return gs.Variable.empty()
    if isinstance(spec, str):
        raise ValueError(f"{spec!r} is not a shape")
    if isinstance(spec, np.ndarray):
        infos[name] = TensorInfo(str(spec.dtype), spec.shape)
        return gs.Constant(name, spec)
    infos[name] = TensorInfo(dtype, spec)
    return gs.Variable(name)


def entries(op: str, inputs: Sequence[Spec], outputs: Sequence[Spec], **attrs: Any) -> list[NodeWork]:
    """What `graph_work` says of a graph of one node: inputs are shapes, constants, None, or "@0" for a repeat.

    `dtypes` (a list, inputs then outputs) and `domain` are taken out of `attrs`.
    """
    dtypes, domain = attrs.pop("dtypes", None), attrs.pop("domain", None)
    dtypes = dtypes or ["float32"] * (len(inputs) + len(outputs))
    infos: dict[str, TensorInfo] = {}
    sources: list[gs.Tensor] = []
    for place, spec in enumerate(inputs):
        again = sources[int(spec[1:])] if isinstance(spec, str) else None
        sources.append(again or _tensor(f"i{place}", spec, dtypes[place], infos))
    results = [_tensor(f"o{n}", spec, dtypes[len(inputs) + n], infos) for n, spec in enumerate(outputs)]
    node = gs.Node(op, "node", attrs, sources, results, domain)
    free = [tensor for tensor in sources if isinstance(tensor, gs.Variable) and tensor.name]
    return graph_work(gs.Graph([node], free, [t for t in results if t.name], opset=23), infos)


def work(op: str, inputs: Sequence[Any], outputs: Sequence[Any], **attrs: Any) -> Work:
    """The Work of one node."""
    (entry,) = entries(op, inputs, outputs, **attrs)
    return entry.work


def touched(counted: Work, name: str) -> int:
    """Elements of a tensor that a Work reads."""
    return sum(operand.elements for operand in counted.reads if operand.name == name)
