"""Folding of a per-channel scale and shift into the weights of the node before or after it.

Everything is computed in float64 and stored in the weight's own type; a result that is not finite there, or that is so
small that it loses its precision, declines the fusion instead of being stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Decline, LocalPass, Rewrite

Array = NDArray[Any]
Vector = NDArray[np.float64]
FLOATS = ("float16", "bfloat16", "float32", "float64")
_SMALLEST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


@dataclass(frozen=True)
class NewWeight:
    """A constant to be written: the input at `position` of `node` becomes `values`."""

    node: gs.Node
    position: int
    values: Array = field(repr=False)

    def write(self, edit: Edit) -> None:
        """Give the node its new constant; a shared one is copied (U3)."""
        role = _ROLE.get(self.position, f"constant{self.position}")
        edit.set_constant(self.node, self.position, self.values, f"{self.node.outputs[0].name}_{role}")


_ROLE = {1: "weight", 2: "bias"}


def scaled(weight: Array, factors: Vector, what: str) -> Array:
    """`weight * factors` in the weight's type; Decline where a value overflows or a channel loses its precision."""
    with np.errstate(all="ignore"):
        result = np.empty(weight.shape, weight.dtype)
        np.multiply(weight, factors, out=result, dtype=np.float64, casting="unsafe")
    if not _is_finite(result):
        raise Decline(f"a folded {what} is not finite in {weight.dtype.name}")
    _refuse_underflow(result, weight, factors, what)
    return result


def stored(values: Vector, dtype: Any, what: str) -> Array:
    """Float64 values in `dtype`; Decline where one is not finite there, or a weight as a whole loses its precision.

    A bias may vanish: it is added to what is larger.
    """
    with np.errstate(all="ignore"):
        result = values.astype(dtype)
    if not _is_finite(result):
        raise Decline(f"a folded {what} is not finite in {np.dtype(dtype).name}")
    if what != "bias" and 0 < np.abs(values).max(initial=0.0) < _SMALLEST_NORMAL[result.dtype.name]:
        raise Decline(f"a folded {what} is too small for {result.dtype.name}")
    return result


def _is_finite(values: Array) -> bool:
    return bool(np.isfinite(values).all())


def _refuse_underflow(result: Array, weight: Array, factors: Vector, what: str) -> None:
    """A channel that had weights, and whose largest one is below the smallest normal number now, is rounded away."""
    tiny = _SMALLEST_NORMAL[weight.dtype.name]
    smallest = np.abs(factors[factors != 0]).min(initial=1.0)
    if smallest >= 2.0**-12 and weight.dtype.itemsize > 2:
        return  # float32 has room for this
    axes = tuple(axis for axis in range(weight.ndim) if factors.ndim != weight.ndim or factors.shape[axis] == 1)
    before = np.abs(weight.astype(np.float64) * factors).max(axis=axes, initial=0.0)
    if np.any((before > 0) & (before < tiny)):
        raise Decline(f"a folded {what} is too small for {weight.dtype.name}")


def in_groups(weight: Array, groups: int) -> Array:
    """The weight of a convolution with its first axis parted; Decline where that does not come out even."""
    if weight.shape[0] % groups:
        raise Decline(f"its weight has {weight.shape[0]} rows, which do not make {groups} groups")
    return weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])


def constant_weight(node: gs.Node, position: int, view: View) -> Array | None:
    """The float weight at `position`; None where the node has none; Decline where it is not a constant (U2)."""
    tensor = view.input(node, position)
    if tensor is None:
        return None
    if not view.is_constant(tensor):
        word = "may be overridden by a caller" if isinstance(tensor, gs.Constant) else "is not a constant"
        raise Decline(f"{tensor.name!r} of node {node.name or node.outputs[0].name!r} {word}")
    value = view.constant_value(tensor)
    assert value is not None
    if value.dtype.name not in FLOATS:
        raise Decline(f"{tensor.name!r} is not a float tensor")
    return value


def given_weight(node: gs.Node, position: int, view: View) -> Array:
    """The float weight at `position`, which the node has; Decline where it is not a constant (U2)."""
    found = constant_weight(node, position, view)
    assert found is not None
    return found


def only_reader(tensor: gs.Tensor, reader: gs.Node, view: View) -> None:
    """Decline where anybody else reads `tensor` (U1)."""
    if view.sole_consumer(tensor) is reader:
        return
    if view.is_output(tensor):
        raise Decline(f"{tensor.name!r} is an output of a graph")
    others = [node.name or node.op for node in view.consumers(tensor) if node is not reader]
    raise Decline(f"{tensor.name!r} is also read by {others[0] if others else 'the same node again'!r}")


def closed(nodes: Sequence[gs.Node], view: View) -> None:
    """Decline where a node outside of `nodes` reads what any but the last of them makes (U1)."""
    inside = {id(node) for node in nodes}
    for tensor in [out for node in nodes[:-1] for out in view.used_outputs(node)]:
        if view.is_output(tensor):
            raise Decline(f"{tensor.name!r} is an output of a graph")
        other = next((reader for reader in view.consumers(tensor) if id(reader) not in inside), None)
        if other is not None:
            raise Decline(f"{tensor.name!r} is also read by {other.name or other.op!r}")


@dataclass(frozen=True)
class WeightPass(LocalPass):
    """A pass whose rewrites replace weights; a shared weight is copied only while the copy is small enough."""

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Decline where copying a shared weight would add more bytes than the fold limit."""
        for new in getattr(rewrite, "weights", ()):
            old = view.input(new.node, new.position)
            if old is None or len(old.outputs) == 1 or new.values.nbytes <= ctx.fold_limit_bytes:
                continue
            raise Decline(
                f"weight {old.name!r} is shared by {len(old.outputs)} uses; a copy has {new.values.nbytes} bytes, "
                f"above the limit of {ctx.fold_limit_bytes}"
            )
