"""What is written where shapes are known but for symbols: constant targets, one node per value, and nodes that go."""

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, key
from roofwright.passes.base import Record
from roofwright.passes.cleanup.dims import Dims
from roofwright.passes.cleanup.fold_plan import FoldPlan
from roofwright.passes.cleanup.symbols import Symbol

_TARGETS = ("Reshape", "Expand")
_BROADCASTING = (
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Mul",
    "Or",
    "Sub",
    "Where",
)
_MAY_VANISH = ("Reshape", "Expand", "Slice", "Squeeze", "Flatten")


def write_symbols(plan: FoldPlan, edit: Edit) -> list[Record]:
    """Cases 5, 7 and 8, one walk in order."""
    seen: dict[tuple[Any, ...], gs.Tensor] = {}
    records: list[Record] = []
    for node in plan.view.graph.nodes:
        if not plan.view.is_op(node, node.op):
            continue
        record = (
            _same_value(plan, edit, node, seen)
            or _vanished(plan, edit, node)
            or _with_target(plan, edit, node)
            or _unexpanded(plan, edit, node)
        )
        if record is not None:
            records.append(record)
    return records


def _same_value(plan: FoldPlan, edit: Edit, node: gs.Node, seen: dict[tuple[Any, ...], gs.Tensor]) -> Record | None:
    """Case 7: readers of a value that an earlier node makes already read that."""
    out = node.outputs[0] if node.outputs else gs.Variable.empty()  # without outputs: folded a moment ago
    value = plan.values.get(id(out))
    if value is None or plan.view.is_output(out):
        return None
    first = seen.setdefault((plan.view.dtype(out), value.shape, *value.reshape(-1)), out)
    if first is out:
        return None
    edit.replace_uses(out, first)
    return Record("reuse-shape", key(node), node.op, applied=True, removed=(node.op,))


def _vanished(plan: FoldPlan, edit: Edit, node: gs.Node) -> Record | None:
    """Case 8."""
    if node.op not in _MAY_VANISH or not node.outputs:
        return None
    source = node.inputs[0]
    before, after = plan.shapes.of(source), plan.shapes.of(node.outputs[0])
    if before is None or after is None or not _are_same(after, before) or not plan.view.can_bypass(node, source):
        return None
    if node.op == "Slice" and any(size is not None for size in _reversed_steps(plan, node)):
        return None
    record = Record("bypass-same-shape", key(node), node.op, applied=True, removed=(node.op,))
    edit.bypass(node, source)
    return record


def _reversed_steps(plan: FoldPlan, node: gs.Node) -> list[Any]:
    """Steps other than 1: a Slice that keeps every size may still turn an axis around."""
    steps = plan.view.input(node, 4)
    known = plan.shapes.value(steps)
    if steps is None:
        return []
    return [None if step == 1 else step for step in known] if known is not None else [0]


def _unexpanded(plan: FoldPlan, edit: Edit, node: gs.Node) -> Record | None:
    """Case 9."""
    if node.op not in _BROADCASTING:
        return None
    records = 0
    for position, tensor in enumerate(node.inputs):
        expand = plan.view.producer(tensor)
        if not plan.view.is_op(expand, "Expand"):
            continue
        operands = [expand.inputs[0] if place == position else held for place, held in enumerate(node.inputs)]
        known = [plan.shapes.of(held) or [] for held in (*operands, expand.outputs[0])]  # [] adds nothing
        if _are_same(known[position], known.pop()):
            continue  # it goes by itself, or stays because its name is asked for
        joined: Dims = []
        for dims in known:
            joined = plan.shapes.joined(joined, dims)
        if joined and _are_same(joined, plan.shapes.of(node.outputs[0]) or []):
            edit.set_input(node, position, expand.inputs[0])
            records += 1
    return Record("drop-expand", key(node), node.op, applied=True) if records else None


def _are_same(one: Dims, other: Dims) -> bool:
    return len(one) == len(other) and all(
        a is b or (isinstance(a, int) and a == b) for a, b in zip(one, other, strict=True)
    )


def _with_target(plan: FoldPlan, edit: Edit, node: gs.Node) -> Record | None:
    """Case 5."""
    wanted = plan.view.input(node, 1) if node.op in _TARGETS else None
    partial = None if wanted is None else plan.values.get(id(wanted))
    if partial is None:
        return None
    source = plan.shapes.of(plan.view.input(node, 0))
    target = _reshaped(plan, node, list(partial), source) if node.op == "Reshape" else _expanded(list(partial), source)
    if target is None:
        return None
    edit.set_input(node, 1, edit.constant(f"{node.outputs[0].name}_shape", np.asarray(target, np.int64)))
    if 0 in target:
        edit.set_attrs(node, allowzero=None)
    return Record("fix-reshape-target" if node.op == "Reshape" else "fix-expand-target", key(node), node.op, True)


def _reshaped(plan: FoldPlan, node: gs.Node, partial: list[Any], source: Dims | None) -> list[int] | None:
    """Numbers as they are; the size that stands at the same place of the input as 0; one that is left as -1."""
    tensor = node.inputs[0]
    target = []
    for position, dim in enumerate(partial):
        if not isinstance(dim, Symbol):
            target.append(int(dim))
            continue
        if source is None:
            is_copy = dim is plan.shapes.symbols.axis(tensor, position)
        else:
            is_copy = position < len(source) and source[position] is dim
        target.append(0 if is_copy else -1)
    asked = [int(dim) for dim in partial if not isinstance(dim, Symbol)]
    if target.count(-1) > 1 or (0 in asked and plan.view.attr(node, "allowzero", 0)):
        return None
    return target


def _expanded(partial: list[Any], source: Dims | None) -> list[int] | None:
    """Numbers as they are; a size that the input has at that place as 1."""
    if source is None:
        return None
    padded = [None] * (len(partial) - len(source)) + source[max(0, len(source) - len(partial)) :]
    target = [
        (1 if dim is have else None) if isinstance(dim, Symbol) else int(dim)
        for dim, have in zip(partial, padded, strict=True)
    ]
    return None if None in target else [size for size in target if size is not None]
