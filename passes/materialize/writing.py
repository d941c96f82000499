"""A program written into the graph: strips of nodes, Slices and Concats in place of the nodes they stand for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.materialize.operators import RANK, ROWS
from roofwright.passes.materialize.program import Instruction, Program, Value

_INPUTS_SINCE = 10  # opset from which the bounds of a Slice are inputs


def write(program: Program, view: View) -> dict[int, list[gs.Node]]:
    """Make the graph compute what the program says, in its order; weights stay shared.

    Returns:
        Every replaced node (by id) with the nodes that stand for it, strip by strip.
    """
    return _Writer(program, view).run()


class _Writer:
    def __init__(self, program: Program, view: View) -> None:
        self.program, self.view, self.edit = program, view, Edit(view)
        self.tensors: dict[int, gs.Tensor] = {}
        self.bounds: dict[tuple[int, ...], gs.Constant] = {}
        self.order: list[gs.Node] = []
        self.made: dict[int, list[gs.Node]] = {}

    def run(self) -> dict[int, list[gs.Node]]:
        """Take the old nodes out, write every instruction, and put the list in the program's order."""
        listed = self.program.instructions
        inside = {id(one.step.node): one.step.node for one in listed if one.step and one.op == "strip"}
        shapes = {number: (node.op, list(node.inputs), dict(node.attrs)) for number, node in inside.items()}
        sources = {id(tensor): node for node in inside.values() for tensor in node.outputs}
        for node in inside.values():
            self.edit.remove(node)
        for one in listed:
            if one.op == "keep" and one.step is not None:
                self.order.append(one.step.node)
            elif one.op == "strip" and one.step is not None:
                self._strip(one, *shapes[id(one.step.node)])
            else:
                self._copy(one, sources)
        self.edit.flush()
        self.view.graph.nodes[:] = self.order
        return self.made

    def _tensor(self, value: Value) -> gs.Tensor:
        """The tensor of a value; that of a whole one is the tensor itself."""
        if value.rows is None:
            return value.tensor
        found = self.tensors.get(id(value))
        if found is None:
            shape = [*value.tensor.shape]
            shape[ROWS if len(shape) == RANK else len(shape) - 2] = value.rows[1] - value.rows[0]
            name = f"{value.tensor.name}.rows{value.rows[0]}"
            found = self.tensors[id(value)] = self.edit.variable(name, value.tensor.dtype, shape)
        return found

    def _strip(self, one: Instruction, op: str, inputs: Sequence[gs.Tensor], attrs: dict[str, Any]) -> None:
        assert one.step is not None
        assert one.step.rule is not None
        node, rule = one.step.node, one.step.rule
        taken: list[gs.Tensor | None] = [tensor if tensor.name else None for tensor in inputs]
        for position, value in one.reads.items():
            taken[position] = self._tensor(value)
        for position, values in rule.constants(one.rows).items():
            taken[position] = self._constant(tuple(values.tolist()))
        changed = {**attrs, **rule.attrs(one.rows)}
        made = self.edit.node(
            op,
            taken,
            [self._tensor(value) for value in one.makes],
            name=f"{node.name or op}.strip{one.strip}",
            sources=[node],
            attrs={name: value for name, value in changed.items() if value is not None},
        )
        self.made.setdefault(id(node), []).append(made)
        self.order.append(made)

    def _copy(self, one: Instruction, sources: dict[int, gs.Node]) -> None:
        """A Slice or a Concat along the rows."""
        out = one.makes[0]
        axis = len(out.tensor.shape) - 2
        inputs: list[gs.Tensor | None] = [self._tensor(value) for value in one.reads.values()]
        attrs: dict[str, Any] = {"axis": axis}
        if one.op == "slice":
            bounds = ([one.rows[0]], [one.rows[1]], [axis])
            attrs = (
                {} if self.view.opset >= _INPUTS_SINCE else dict(zip(("starts", "ends", "axes"), bounds, strict=True))
            )
            inputs += [] if attrs else [self._constant(tuple(bound)) for bound in bounds]
        made = self.edit.node(
            "Slice" if one.op == "slice" else "Concat",
            inputs,
            [self._tensor(out)],
            name=f"{out.tensor.name}.{one.op}",
            sources=[node] if (node := sources.get(id(out.tensor))) else [],
            attrs=attrs,
        )
        self.order.append(made)

    def _constant(self, values: tuple[int, ...]) -> gs.Constant:
        """A vector of integers, shared by everything that needs the same."""
        if values not in self.bounds:
            name = "rows_" + "_".join(map(str, values))
            self.bounds[values] = self.edit.constant(name, np.array(values, np.int64))
        return self.bounds[values]
