"""LayerNormalization, RMSNormalization and InstanceNormalization written out in means, squares and roots."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import View, dtype_number, numpy_dtype
from roofwright.passes.cleanup.constant_inputs import integers, normalised
from roofwright.passes.fusion.composite import Composite, Input, Pattern, lone, read_by, with_scalar

_TOWARDS_THE_ROOT = ("Mul", "Div", "Cast", "Reciprocal", "Sqrt")
_MOST_STEPS = 6
_NARROW = ("float16", "bfloat16")


@dataclass(frozen=True)
class _Core:
    """`centred / Sqrt(Mean(centred^2) + epsilon)`, with `centred` either `x` or `x - Mean(x)`.

    Attributes:
        nodes: all, the last one makes the quotient.
        source: `x`.
        is_centred: whether the mean is taken off.
        axes: what the means run over, counted from the front.
        epsilon: beside the mean of squares.
    """

    nodes: tuple[gs.Node, ...]
    source: gs.Tensor
    is_centred: bool
    axes: tuple[int, ...]
    epsilon: float


def _mean(tensor: gs.Tensor | None, view: View) -> tuple[gs.Node, tuple[int, ...]] | None:
    """The ReduceMean that makes `tensor` and keeps its axes, and those."""
    node = view.producer(tensor)
    if not view.is_op(node, "ReduceMean") or not view.attr(node, "keepdims", 1):
        return None
    axes, rank = integers(node, view, "axes", 1), view.rank(node.inputs[0])
    found = None if not axes or rank is None else normalised(axes, rank)
    return None if found is None else (node, tuple(sorted(found)))


def _squared(tensor: gs.Tensor, view: View) -> tuple[gs.Node, gs.Tensor] | None:
    """The node that squares, and what it squares."""
    node = view.producer(tensor)
    if not view.is_op(node, "Pow", "Mul"):
        return None
    base, other = node.inputs
    is_square = lone(other, base, view) == 2.0 if node.op == "Pow" else base is other
    return (node, base) if is_square else None


def _centring(centred: gs.Tensor, axes: tuple[int, ...], view: View) -> tuple[gs.Node, gs.Node] | None:
    """The ReduceMean and the Sub of `x - Mean(x)`, over the same axes."""
    sub = view.producer(centred)
    if not view.is_op(sub, "Sub"):
        return None
    mean = _mean(sub.inputs[1], view)
    if mean is None or mean[1] != axes or mean[0].inputs[0] is not sub.inputs[0]:
        return None
    return mean[0], sub


def _inverse(root: gs.Node, view: View) -> gs.Node | None:
    """The node that makes 1 / root: `root` itself where it is a power of -1/2."""
    if root.op == "Pow":
        return root
    reader = view.sole_consumer(root.outputs[0])
    if view.is_op(reader, "Reciprocal"):
        return reader
    return reader if view.is_op(reader, "Div") and lone(reader.inputs[0], root.outputs[0], view) == 1.0 else None


def _quotient(root: gs.Node, centred: gs.Tensor, view: View) -> tuple[gs.Node, ...] | None:
    """The nodes of `centred / root` or `centred * (1 / root)` behind the root."""
    reader = view.sole_consumer(root.outputs[0])
    if root.op == "Sqrt" and view.is_op(reader, "Div") and reader.inputs[0] is centred:
        return (reader,)
    inverse = _inverse(root, view)
    if inverse is None:
        return None
    product = read_by(inverse.outputs[0], view, "Mul")
    if product is None or product[1] is not centred:
        return None
    return (product[0],) if inverse is root else (inverse, product[0])


@dataclass(frozen=True)
class _Radicand:
    """`Mean(centred^2) + epsilon`, with its nodes."""

    nodes: tuple[gs.Node, ...]
    centred: gs.Tensor
    axes: tuple[int, ...]
    epsilon: float


def _radicand(root: gs.Node, view: View) -> _Radicand | None:
    plus = with_scalar(view.producer(root.inputs[0]), view, "Add")
    if plus is None:
        return None
    mean = _mean(plus.operand, view)
    if mean is None:
        return None
    squared = _squared(mean[0].inputs[0], view)
    if squared is None:
        return None
    return _Radicand((squared[0], mean[0], plus.node), squared[1], mean[1], plus.value)


def _core(root: gs.Node, view: View) -> _Core | None:
    if root.op == "Pow" and lone(root.inputs[1], root.inputs[0], view) != -0.5:
        return None
    below = _radicand(root, view)
    if below is None:
        return None
    quotient = _quotient(root, below.centred, view)
    if quotient is None:
        return None
    centring = _centring(below.centred, below.axes, view)
    source = below.centred if centring is None else centring[1].inputs[0]
    nodes = (*(centring or ()), *below.nodes, root, *quotient)
    return _Core(nodes, source, centring is not None, below.axes, below.epsilon)


@dataclass(frozen=True)
class Scaled:
    """Nodes that normalise, with what follows them.

    Attributes:
        nodes: all; the last one makes the result.
        source: what the first node reads.
        scale, bias: None where there is none.
        result: what the last node makes.
    """

    nodes: tuple[gs.Node, ...]
    source: gs.Tensor
    scale: gs.Tensor | None = None
    bias: gs.Tensor | None = None

    @property
    def result(self) -> gs.Tensor:
        """What the last node makes."""
        out: gs.Tensor = self.nodes[-1].outputs[0]
        return out


def _with_casts(core: _Core, view: View) -> Scaled:
    """Include a Cast to float32 in front and one back behind: the operator does both itself (`stash_type` 1)."""
    plain = Scaled(core.nodes, core.source)
    front, back = view.producer(core.source), view.sole_consumer(core.nodes[-1].outputs[0])
    if not view.is_op(front, "Cast") or not view.is_op(back, "Cast"):
        return plain
    narrow = view.dtype(front.inputs[0])
    if narrow not in _NARROW or view.dtype(core.source) != "float32" or view.attr(back, "to") != dtype_number(narrow):
        return plain
    inside = {id(node) for node in core.nodes}
    is_private = not view.is_output(core.source) and all(id(r) in inside for r in view.consumers(core.source))
    return Scaled((*((front,) if is_private else ()), *core.nodes, back), front.inputs[0])


def with_affine(found: Scaled, shape: tuple[int, ...], with_bias: bool, view: View) -> Scaled:
    """Include the Mul by a scale and the Add of a bias that have exactly the dimensions `shape` at their end."""
    mul = read_by(found.result, view, "Mul")
    if mul is None or not _lies_along(mul[1], shape, view):
        return found
    scaled = Scaled((*found.nodes, mul[0]), found.source, mul[1])
    add = read_by(scaled.result, view, "Add") if with_bias else None
    if add is None or not _lies_along(add[1], shape, view):
        return scaled
    return Scaled((*scaled.nodes, add[0]), found.source, mul[1], add[1])


def _lies_along(tensor: gs.Tensor, shape: tuple[int, ...], view: View) -> bool:
    """Whether the value has the dimensions `shape`; leading ones are allowed where it is a constant."""
    found = view.static_shape(tensor) or ()
    extra = len(found) - len(shape)
    return found == (*(1,) * extra, *shape) and (extra == 0 or view.is_constant(tensor))


def operand(tensor: gs.Tensor | None, shape: tuple[int, ...], view: View) -> Input:
    """A scale or bias with exactly the dimensions `shape`."""
    value = view.constant_value(tensor)
    return tensor if tensor is None or value is None or value.shape == shape else value.reshape(shape)


class WriteNorm(Composite):
    """`(x - Mean(x)) / Sqrt(Mean((x - Mean(x))^2) + e) * g + b` --> LayerNormalization(x, g, b): cases 4 to 6."""

    name: ClassVar[str] = "to-normalization"
    anchors: ClassVar[tuple[str, ...]] = ("Sqrt", "Pow")

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The nodes around a root: the means before it, the quotient, scale and bias behind it."""
        core = _core(node, view)
        if core is None or core.source.shape is None:
            return None
        shape = list(core.source.shape)
        if core.is_centred and core.axes == tuple(range(2, len(shape))):
            instance = _instance(core, view)
            if instance is not None:
                return instance
        axis = core.axes[0] - len(shape)
        sizes = tuple(size for size in shape[axis:] if isinstance(size, int))
        if len(core.axes) != -axis or len(sizes) != -axis:
            return None
        return _layer(core, axis, sizes, view)


def _layer(core: _Core, axis: int, sizes: tuple[int, ...], view: View) -> Pattern:
    """The axes from `axis` on are normalised; their sizes are `sizes`."""
    op = "LayerNormalization" if core.is_centred else "RMSNormalization"
    found = with_affine(_with_casts(core, view), sizes, core.is_centred, view)
    dtype = view.dtype(found.source)
    scale = operand(found.scale, sizes, view)
    inputs: tuple[Input, ...] = (found.source, filled(sizes, dtype) if scale is None else scale)
    if found.bias is not None:
        inputs = (*inputs, operand(found.bias, sizes, view))
    attrs = {"axis": axis, "epsilon": core.epsilon}
    return Pattern(op, found.nodes, inputs, attrs, _obstacle(op, core, found, view))


def _obstacle(op: str, core: _Core, found: Scaled, view: View) -> str:
    computed, read = view.dtype(core.source), view.dtype(found.source)
    if computed != "float32":
        return f"its means are computed in {computed or 'an unknown type'}, those of {op} in float32"
    if view.dtype(found.result) != read:
        return f"it reads {read} and makes {view.dtype(found.result)}"
    return ""


def filled(sizes: tuple[int, ...], dtype: str | None, value: float = 1.0) -> Input:
    """An array of one value: the scale or bias of a normalization that has none; None for an unknown type."""
    return None if dtype is None else np.full(sizes, value, numpy_dtype(dtype_number(dtype)))


def _instance(core: _Core, view: View) -> Pattern | None:
    """Means over all axes behind the channels, with one scale and bias per channel or none."""
    channels = core.source.shape[1]
    if not isinstance(channels, int):
        return None
    spatial = (1,) * len(core.axes)
    found = with_affine(Scaled(core.nodes, core.source), (channels, *spatial), True, view)
    if not all(tensor is None or view.is_constant(tensor) for tensor in (found.scale, found.bias)):
        found = Scaled(core.nodes, core.source)
    if len(core.axes) == 1 and found.scale is None:
        return None  # a LayerNormalization as well
    dtype = view.dtype(core.source)
    scale = operand(found.scale, (channels,), view)
    bias = operand(found.bias, (channels,), view)
    inputs = (
        core.source,
        filled((channels,), dtype) if scale is None else scale,
        filled((channels,), dtype, 0.0) if bias is None else bias,
    )
    op = "InstanceNormalization"
    return Pattern(op, found.nodes, inputs, {"epsilon": core.epsilon}, _obstacle(op, core, found, view))


def is_in_norm(node: gs.Node, view: View) -> bool:
    """Whether `node` is the scale or the bias of a normalization written out."""
    before: gs.Node | None = node
    for _ in range(_MOST_STEPS):
        if before is None or before.op == "Sqrt":
            break
        makers = map(view.producer, before.inputs)
        before = next((maker for maker in makers if view.is_op(maker, *_TOWARDS_THE_ROOT)), None)
    pattern = None if before is None or before.op != "Sqrt" else WriteNorm.find(before, view)
    return pattern is not None and any(inside is node for inside in pattern.nodes)
