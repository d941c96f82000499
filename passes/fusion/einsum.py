"""Einsum as the product, transposition or sum that it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.fusion.equation import Equation, Labels, parse
from roofwright.passes.fusion.weights import FLOATS
from roofwright.passes.gains import Step, gain, size_of

_FIRST_AXES_INPUT = 13  # of ReduceSum
Sizes = Mapping[str, Any]
Perm = tuple[int, ...]
Target = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """A Transpose, then a Reshape; either is empty where it is not needed."""

    perm: Perm = ()
    target: Target = ()


@dataclass(frozen=True)
class Product:
    """A MatMul of two operands in form; `swapped`: the second operand stands on the left."""

    swapped: bool
    left: Form
    right: Form
    result: Form


def product(equation: Equation, sizes: Sizes, *, swapped: bool) -> Product | None:
    """The equation as one MatMul; None where a label is summed in one operand alone, or none is summed."""
    first, second = reversed(equation.operands) if swapped else equation.operands
    shared = [label for label in first if label in second]
    batch = tuple(label for label in equation.result if label in shared)
    inner = tuple(label for label in shared if label not in batch)
    rows = tuple(label for label in equation.result if label in first and label not in shared)
    columns = tuple(label for label in equation.result if label in second and label not in shared)
    if not inner or len(batch + rows + inner) != len(first) or len(batch + inner + columns) != len(second):
        return None
    groups: tuple[tuple[Labels, tuple[Labels, ...]], tuple[Labels, tuple[Labels, ...]], tuple[Labels, Labels]]
    if batch:
        groups = (batch, (rows, inner)), (batch, (inner, columns)), (batch, (*rows, *columns))
        is_parted = len(rows) != 1 or len(columns) != 1
    else:  # a matrix on the right multiplies rows of any rank
        groups = (rows, (inner,)), ((), (inner, columns) if columns else (inner,)), (rows, columns)
        is_parted = len(columns) > 1
    left, right = (_joined(kept, joined, sizes) for kept, joined in groups[:2])
    parted = _target(groups[2][0], [(label,) for label in groups[2][1]], sizes) if is_parted else ()
    if left is None or right is None or parted is None:
        return None
    order = _order((*batch, *rows, *columns), equation.result)
    return Product(
        swapped,
        Form(_order(first, (*batch, *rows, *inner)), left),
        Form(_order(second, (*batch, *inner, *columns)), right),
        Form(order, parted),
    )


def _order(have: Labels, want: Labels) -> Perm:
    return () if have == want else tuple(have.index(label) for label in want)


def _joined(kept: Labels, groups: Sequence[Labels], sizes: Sizes) -> Target | None:
    """The Reshape that makes one axis of every group."""
    return () if all(len(group) == 1 for group in groups) else _target(kept, groups, sizes)


def _target(kept: Labels, groups: Sequence[Labels], sizes: Sizes) -> Target | None:
    """0 copies a size that is kept, -1 stands for one that is not known; None where there is more than one."""
    known = [[sizes[label] for label in group] for group in groups]
    found = [prod(group) if all(isinstance(size, int) for size in group) else -1 for group in known]
    return (*(0 for _ in kept), *found) if found.count(-1) <= 1 and 0 not in found else None


def _equation(node: gs.Node, view: View) -> tuple[Equation, dict[str, Any]] | None:
    """The equation of a node, and the size of every label; None where ranks or types are not known."""
    ranks = [view.rank(tensor) for tensor in node.inputs]
    if None in ranks or any(view.dtype(tensor) not in FLOATS for tensor in node.inputs):
        return None
    text = node.attrs.get("equation", "")
    found = parse(text, [rank for rank in ranks if rank is not None])
    sizes: dict[str, Any] = {}
    for labels, tensor in zip(found.operands, node.inputs, strict=True):
        for label, size in zip(labels, tensor.shape or (), strict=True):
            if label in sizes and sizes[label] != size and (label[0] == "." or 1 in (sizes[label], size)):
                raise Decline(f"in its equation {text!r} an operand may be broadcast along {label!r}")
            sizes[label] = size if isinstance(size, int) else sizes.get(label, size)
    return found, sizes


@dataclass(frozen=True)
class EinsumToMatMul(Rewrite):
    """Einsum(a, b) --> MatMul(a, b), with Transposes and Reshapes where its axes need them: cases 1 to 3."""

    name: ClassVar[str] = "einsum-to-matmul"
    anchors: ClassVar[tuple[str, ...]] = ("Einsum",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    found: Product
    extra: tuple[int, int]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The cheaper of the two orders of operands."""
        read = _equation(node, view) if len(node.inputs) == 2 else None
        if read is None:
            return None
        plans = [plan for swapped in (False, True) if (plan := product(*read, swapped=swapped)) is not None]
        costs = [_extra(plan, node, view) for plan in plans]
        if not plans:
            return None
        best = costs.index(min(costs))
        return cls(node, plans[best], costs[best])

    def saving(self, ctx: Context) -> float | None:
        """A product, with one view at the most, is never worse; whatever else is written must pay."""
        if self.extra <= (0, 1):
            return None
        steps, out = self._steps(ctx)
        operands = tuple(size_of(tensor, ctx) for tensor in self.node.inputs)  # in order, constants too
        before = replace(Step.of(self.node, ctx), inputs=operands, weights=(), outputs=(out,))
        return gain([before], [replace(step, dtype=before.dtype) for step in steps], ctx)

    def _steps(self, ctx: Context) -> tuple[list[Step], tuple[int, ...]]:
        """What would be written, in any type, and the size of the result (which may be declared with its own names)."""
        first, second = reversed(self.node.inputs) if self.found.swapped else self.node.inputs
        steps, sides = [], []
        for tensor, form in ((first, self.found.left), (second, self.found.right)):
            size = size_of(tensor, ctx)
            if form.perm and not isinstance(tensor, gs.Constant):
                turned = tuple(size[axis] for axis in form.perm)
                steps.append(Step("Transpose", (size,), (turned,)).having(perm=form.perm))
                size = turned
            total = prod(size)
            sides.append(_filled(form.target, size, total) if form.target else size)
        left, right = sides
        made = (*left[:-1], *right[-1:]) if len(right) > 1 else left[:-1]
        steps.append(Step("MatMul", (left, right), (made,)))
        result = self.found.result
        made = _filled(result.target, made, prod(made)) if result.target else made
        out = tuple(made[axis] for axis in result.perm) if result.perm else made
        if result.perm:
            steps.append(Step("Transpose", (made,), (out,)).having(perm=result.perm))
        return steps, out

    def apply(self, edit: Edit) -> None:
        """The operands are brought into form, multiplied, and the result into the order asked for."""
        node, found, out = self.node, self.found, self.node.outputs[0]
        given = list(reversed(node.inputs)) if found.swapped else list(node.inputs)
        name = node.name or out.name
        edit.remove(node)
        chain = _Chain(edit, node, name)
        left, right = (
            chain.shaped(tensor, form) for tensor, form in zip(given, (found.left, found.right), strict=True)
        )
        steps: list[tuple[str, Any]] = [("MatMul", None)]
        steps += [("Reshape", found.result.target)] if found.result.target else []
        steps += [("Transpose", found.result.perm)] if found.result.perm else []
        chain.write(steps, [left, right], out)


def _filled(target: Target, size: tuple[int, ...], total: int) -> tuple[int, ...]:
    spelled = [size[at] if want == 0 else want for at, want in enumerate(target)]
    known = prod(want for want in spelled if want != -1)
    return tuple(total // max(known, 1) if want == -1 else want for want in spelled)


def _extra(plan: Product, node: gs.Node, view: View) -> tuple[int, int]:
    """How many Transposes and how many Reshapes of computed tensors it needs."""
    first, second = reversed(node.inputs) if plan.swapped else node.inputs
    forms = [form for tensor, form in ((first, plan.left), (second, plan.right)) if not view.is_constant(tensor)]
    forms.append(plan.result)
    return sum(bool(form.perm) for form in forms), sum(bool(form.target) for form in forms)


class _Chain:
    """Writes nodes one behind the other."""

    def __init__(self, edit: Edit, source: gs.Node, name: str) -> None:
        self.edit, self.source, self.name = edit, source, name

    def shaped(self, tensor: gs.Tensor, form: Form) -> gs.Tensor:
        """The operand in form; a constant is written so."""
        values = self.edit.view.constant_value(tensor) if form.perm or form.target else None
        if values is not None:
            values = values.transpose(form.perm) if form.perm else values
            shape = [values.shape[at] if want == 0 else want for at, want in enumerate(form.target)]
            return self.edit.constant(f"{tensor.name}_matrix", values.reshape(shape) if shape else values)
        steps = [("Transpose", form.perm)] if form.perm else []
        steps += [("Reshape", form.target)] if form.target else []
        if not steps:
            return tensor
        made = self.edit.variable(f"{self.name}_operand", tensor.dtype, None)
        self.write(steps, [tensor], made)
        return made

    def write(self, steps: Sequence[tuple[str, Any]], inputs: Sequence[gs.Tensor], out: gs.Tensor) -> None:
        """The nodes of `steps`, the first of which reads `inputs` and the last of which makes `out`."""
        held = list(inputs)
        for at, (op, value) in enumerate(steps):
            last = at == len(steps) - 1
            made = out if last else self.edit.variable(f"{self.name}_{op.lower()}", out.dtype, None)
            attrs: dict[str, Any] = {"perm": list(value)} if op == "Transpose" else {}
            if op == "Reshape":
                held.append(self.edit.constant(f"{made.name}_shape", np.asarray(value, np.int64)))
            if op == "ReduceSum":
                attrs = {"keepdims": 0}
                if self.edit.view.opset < _FIRST_AXES_INPUT:
                    attrs["axes"] = list(value)
                else:
                    held.append(self.edit.constant(f"{made.name}_axes", np.asarray(value, np.int64)))
            self.edit.node(op, held, [made], name=self.name, sources=[self.source], attrs=attrs, before=self.source)
            held = [made]


@dataclass(frozen=True)
class EinsumToSimple(Rewrite):
    """Einsum(a) --> ReduceSum(a) or Transpose(a); Einsum(a, b) --> Mul(a, b): cases 4 and 5."""

    name: ClassVar[str] = "einsum-to-simple"
    anchors: ClassVar[tuple[str, ...]] = ("Einsum",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    steps: tuple[tuple[str, Any], ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The one node, or for a sum whose result is turned the two, that do the same."""
        read = _equation(node, view)
        if read is None:
            return None
        operands, result = read[0].operands, read[0].result
        if len(operands) == 2 and operands[0] == result and operands[1] == result[len(result) - len(operands[1]) :]:
            return cls(node, (("Mul", None),))
        if len(operands) != 1:
            return None
        axes = tuple(at for at, label in enumerate(operands[0]) if label not in result)
        kept = tuple(label for label in operands[0] if label in result)
        steps = [("ReduceSum", axes)] if axes else []
        steps += [("Transpose", _order(kept, result))] if kept != result else []
        return cls(node, tuple(steps) or (("Identity", None),)) if len(steps) < 2 else None

    def apply(self, edit: Edit) -> None:
        """That node."""
        node, out, inputs = self.node, self.node.outputs[0], list(self.node.inputs)
        name = node.name or out.name
        edit.remove(node)
        _Chain(edit, node, name).write(self.steps, inputs, out)


@dataclass(frozen=True)
class SplitEinsum(LocalPass):
    """`y = Einsum(a, b)` --> `y = MatMul(a, b)`.

    1. Labels in both operands and the result are the batch, labels in both alone are summed, the others are rows and
       columns; an ellipsis stands for labels counted from the right. Either operand may stand on the left.
    2. Several labels of a kind are joined by a Reshape and parted behind the product; a matrix without a batch
       multiplies rows of any rank. A constant is written in the form that is needed.
    3. A computed operand, or a result, in another order gets a Transpose; that, and more than one Reshape, only where
       the target prices it as a gain.
    4. One operand: ReduceSum, Transpose or Identity.
    5. Nothing is summed and the second operand broadcasts to the first: Mul.

    Declines when the equation takes a diagonal (a label twice in one term), does not fit the ranks, may broadcast along
    a label, or costs more with its Transposes; silently for more than two operands, for labels summed in one of two
    operands alone, and where more than one size of a Reshape is not known.

    Numerics: rounding (sums in another order). Reference: numpy.einsum, which the operator is defined by.
    """

    name: ClassVar[str] = "split-einsum"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "write Einsum as MatMul, Mul, ReduceSum or Transpose"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (EinsumToMatMul, EinsumToSimple)
