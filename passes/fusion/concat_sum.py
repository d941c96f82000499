"""A convolution of concatenated channels, read as a sum of convolutions."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Numerics, Rewrite
from roofwright.passes.fusion.images import POOLS, is_depthwise, joins_channels, with_channels
from roofwright.passes.fusion.weights import Array, constant_weight
from roofwright.passes.gains import Step, gain

_POINTWISE = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish")


@dataclass(frozen=True)
class SplitConsumer(Rewrite):
    """Conv(Concat(a, b), W) --> Conv(a, Wa) + Conv(b, Wb): case 2."""

    name: ClassVar[str] = "split-consumer"
    anchors: ClassVar[tuple[str, ...]] = ("Conv",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    concat: gs.Node
    path: tuple[gs.Node, ...]
    values: tuple[tuple[Array, Array | None] | None, ...] = field(
        repr=False
    )  # weight and bias of the path, then of the node

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The convolution, the Concat above it, and the operators of one channel each between them."""
        if view.attr(node, "group", 1) != 1:
            return None
        found = _path_up(node, view)
        if found is None:
            return None
        concat, *path = found
        return cls(node, concat, tuple(path), tuple(_constants(n, view) for n in (*path, node)))

    @property
    def growth(self) -> int:
        """Nodes more than before."""
        return (len(self.concat.inputs) - 1) * (len(self.path) + 2) - 1

    def saving(self, ctx: Context) -> float | None:
        """The Concat for a smaller convolution per operand and their sum; activations count for neither side."""
        moving = [n for n in self.path if n.op not in _POINTWISE]
        before = [Step.of(n, ctx) for n in (self.concat, *moving, self.node)]
        after = [_narrow(step, size[1]) for size in before[0].inputs for step in before[1:]]
        result = before[-1].outputs
        total = Step("Add", result * 2, result, dtype=before[-1].dtype)
        return gain(before, [*after, *[total] * (len(before[0].inputs) - 1)], ctx)

    def apply(self, edit: Edit) -> None:
        """Every operand goes its own way to a convolution of its own; the results are added."""
        operands, out = list(self.concat.inputs), self.node.outputs[0]
        sources, start, ends = (self.concat, *self.path, self.node), 0, []
        tensors = [n.outputs[0] for n in (*self.path, self.node)]
        chain = [(n.op, dict(n.attrs), list(n.inputs[1:])) for n in (*self.path, self.node)]
        for position, operand in enumerate(operands):
            count = operand.shape[1]
            for at, (op, attrs, rest) in enumerate(chain):
                last = at == len(chain) - 1
                wide = out.shape[1] if last and out.shape else count
                made = edit.variable(
                    f"{out.name}_{position}_{at}", tensors[at].dtype, with_channels(tensors[at].shape, wide)
                )
                inputs = [operand, *rest] if op != "Conv" else [operand, *self._part(edit, at, position, start, count)]
                attrs = attrs if last or op != "Conv" else attrs | {"group": count}
                edit.node(op, inputs, [made], name=made.name, sources=sources, attrs=attrs, before=self.node)
                operand = made
            start += count
            ends.append(operand)
        self._add_up(ends, out, edit)

    def _part(self, edit: Edit, at: int, position: int, start: int, count: int) -> list[gs.Tensor]:
        """Weight and bias of one operand's convolution; the bias of the sum goes to the first one."""
        found = self.values[at]
        if found is None:
            return []
        weight, bias = found
        span = slice(start, start + count)
        last = at == len(self.values) - 1
        parts = [weight[:, span] if last else weight[span]]
        if bias is not None and (not last or position == 0):
            parts.append(bias if last else bias[span])
        stem = f"{self.node.outputs[0].name}_{position}_{at}"
        return [edit.constant(f"{stem}_{what}", v) for what, v in zip(("weight", "bias"), parts, strict=False)]

    def _add_up(self, ends: list[gs.Tensor], out: gs.Tensor, edit: Edit) -> None:
        name, sources = self.node.name or out.name, (self.concat, *self.path, self.node)
        for node in (self.node, *reversed(self.path), self.concat):
            edit.remove(node)
        total = ends[0]
        for position, part in enumerate(ends[1:], start=1):
            last = position == len(ends) - 1
            made = out if last else edit.variable(f"{out.name}_sum{position}", out.dtype, out.shape)
            edit.node("Add", [total, part], [made], name=name, sources=sources, before=self.node)
            total = made


def _constants(node: gs.Node, view: View) -> tuple[Array, Array | None] | None:
    """Weight and bias of a convolution; None for other nodes."""
    weight = constant_weight(node, 1, view) if node.op == "Conv" else None
    return None if weight is None else (weight, constant_weight(node, 2, view))


def _path_up(node: gs.Node, view: View) -> list[gs.Node] | None:
    """The Concat above a convolution, then what works channel by channel between them; None where there is none."""
    path = [node]
    while view.sole_consumer(path[0].inputs[0]) is path[0]:
        maker = view.producer(path[0].inputs[0])
        if maker is None or len(view.used_outputs(maker)) != 1:
            return None
        if joins_channels(maker, view):
            return [maker, *path[:-1]]
        if not (view.is_op(maker, *_POINTWISE, *POOLS) or is_depthwise(maker, view)):
            return None
        path.insert(0, maker)
    return None


def _narrow(step: Step, count: int) -> Step:
    """The step for `count` of its input channels."""
    size = step.inputs[0]
    taken = ((size[0], count, *size[2:]),)
    depthwise = step.op == "Conv" and dict(step.attrs).get("group", 1) != 1
    if step.op == "Conv" and not depthwise:
        weight = step.weights[0]
        return replace(step, inputs=taken, weights=((weight[0], count, *weight[2:]), *step.weights[1:]))
    made = step.outputs[0]
    small = replace(step, inputs=taken, outputs=((made[0], count, *made[2:]),))
    if not depthwise:
        return small
    return replace(small, weights=tuple((count, *size[1:]) for size in step.weights)).having(group=count)
