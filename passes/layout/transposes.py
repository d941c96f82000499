"""Transposes moved through nodes that work on any layout, to where they cancel or move less."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View, sort_nodes
from roofwright.passes.base import Context, LocalPass, Numerics, PassResult, Record, Rewrite
from roofwright.passes.cleanup.permutations import is_only_transposed, moves_only_ones
from roofwright.passes.layout.axes import MOVES, PRODUCTS, SUMS, Change, Perm, composed, inverse
from roofwright.passes.layout.region import Member, perm_of, transpose_of, worthwhile

_FIRST_RESHAPE_INPUT = 5
_MOST_ROUNDS = 16


@dataclass(frozen=True)
class MoveLayout(Rewrite):
    """Transpose(f(Transpose(x))) --> f'(x): cases 1 to 5."""

    name: ClassVar[str] = "move-transposes"
    anchors: ClassVar[tuple[str, ...]] = ("Transpose",)
    numerics: ClassVar[Numerics] = "exact"
    through: ClassVar[int] = MOVES
    members: tuple[Member, ...]
    perm: Perm

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The nodes below the Transpose, or above it, that should work in the other layout."""
        perm = perm_of(node, view) or ()
        if perm == tuple(range(len(perm))):
            return None
        below = [reader for reader in view.consumers(node.outputs[0]) if view.is_local(reader)]
        above = view.producer(node.inputs[0])
        for seeds, layout in ((below, perm), ([above] if above is not None else [], inverse(perm))):
            found = worthwhile(seeds, layout, view, cls.through)
            if found:
                return cls(found, layout)
        return None

    def apply(self, edit: Edit) -> None:
        """Every member works in the other layout; Transposes stand where the two layouts meet."""
        move = _Move(self.perm, edit)
        for node, found in self.members:
            for at in found.outputs:
                move.output(node.outputs[at])
        for node, found in self.members:
            for at in found.inputs:
                edit.set_input(node, at, move.given(node.inputs[at]))
            _rename_axes(node, found, self.perm, edit)
        move.finish()


@dataclass(frozen=True)
class MoveLayoutThroughSums(MoveLayout):
    """Transpose(ReduceSum(Transpose(x))) --> ReduceSum'(x), which adds in another order: case 8."""

    name: ClassVar[str] = "move-transposes-through-sums"
    numerics: ClassVar[Numerics] = "rounding"
    through: ClassVar[int] = SUMS


@dataclass(frozen=True)
class MoveLayoutThroughProducts(MoveLayout):
    """Transpose(MatMul(Transpose(x), W)) --> MatMul(W', x), W' transposed: case 7."""

    name: ClassVar[str] = "move-transposes-through-products"
    numerics: ClassVar[Numerics] = "rounding"
    through: ClassVar[int] = PRODUCTS


def _rename_axes(node: gs.Node, found: Change, perm: Perm, edit: Edit) -> None:
    if found.attrs:
        edit.set_attrs(node, **found.attrs)
    name = node.outputs[0].name
    for position, values in found.values.items():
        edit.set_constant(node, position, np.asarray(values, np.int64), f"{name}_{position}")
    for position in found.constants:
        edit.set_input(node, position, _transposed(node.inputs[position], (1, 0) if found.mirrored else perm, edit))
    if found.mirrored:
        left, right = node.inputs
        edit.set_input(node, 0, right)
        edit.set_input(node, 1, left)


def _transposed(constant: gs.Tensor, perm: Perm, edit: Edit) -> gs.Tensor:
    """The constant in the other layout, with as many axes; itself where only axes of size 1 change places."""
    values = edit.view.constant_value(constant)
    if values is None:
        return constant
    full = values.reshape((1,) * (len(perm) - values.ndim) + values.shape)
    turned = full.transpose(inverse(perm))
    if turned.shape == full.shape and moves_only_ones(list(full.shape), perm):
        return constant
    return edit.constant(f"{constant.name}_transposed", turned)


class _Move:
    """The tensors of a region in the other layout, made as they are asked for."""

    def __init__(self, perm: Perm, edit: Edit) -> None:
        self.perm, self.back, self.edit = perm, inverse(perm), edit
        self.twins: dict[int, tuple[gs.Tensor, gs.Tensor]] = {}  # id of a tensor -> (it, its twin)
        self.made: set[int] = set()  # tensors whose maker makes the twin now

    def output(self, tensor: gs.Tensor) -> None:
        """A member's output: the node makes the twin instead."""
        twin = self._like(tensor)
        self.twins[id(tensor)] = (tensor, twin)
        self.made.add(id(tensor))
        self._replace_maker(tensor, twin)

    def _replace_maker(self, tensor: gs.Tensor, twin: gs.Tensor) -> None:
        readers = [(node, at) for node in self.edit.view.consumers(tensor) for at in _slots(node, tensor)]
        self.edit.hand_over(tensor, twin)
        for node, at in readers:
            self.edit.set_input(node, at, tensor)

    def given(self, tensor: gs.Tensor) -> gs.Tensor:
        """The twin of what a member reads."""
        if id(tensor) not in self.twins:
            self.twins[id(tensor)] = (tensor, self._twin(tensor))
        return self.twins[id(tensor)][1]

    def _twin(self, tensor: gs.Tensor) -> gs.Tensor:
        edit, view = self.edit, self.edit.view
        if view.is_constant(tensor):
            return _transposed(tensor, self.perm, edit)
        maker = view.producer(tensor)
        perm = perm_of(maker, view)
        if maker is None or perm is None:
            return self._transpose(tensor, self._like(tensor), self.back, view.consumers(tensor)[:1])
        if perm == self.perm:
            return maker.inputs[0]
        return self._transpose(maker.inputs[0], self._like(tensor), composed(perm, self.back), [maker])

    def finish(self) -> None:
        """Transposes that read a tensor with a twin read the twin; what else reads it gets it transposed back."""
        for tensor, _ in list(self.twins.values()):
            for node in self.edit.view.consumers(tensor):
                self._reread(node, tensor)
            if id(tensor) not in self.made:
                self._drop_maker(tensor)
            elif tensor.outputs or self.edit.view.is_output(tensor):
                twin = self.given(tensor)
                self._transpose(twin, tensor, self.perm, twin.inputs)

    def _reread(self, node: gs.Node, tensor: gs.Tensor) -> None:
        edit, perm, twin = self.edit, perm_of(node, self.edit.view), self.given(tensor)
        if perm is None or not edit.view.is_local(node) or node.outputs[0] is twin:
            return
        onward = composed(self.perm, perm)
        if onward == tuple(range(len(onward))) and edit.view.can_bypass(node, twin):
            self._forward(node, twin)
        elif id(tensor) in self.made or perm_of(edit.view.producer(tensor), edit.view) is not None:
            edit.set_input(node, 0, twin)
            edit.set_attrs(node, perm=list(onward))

    def _forward(self, node: gs.Node, twin: gs.Tensor) -> None:
        """Take a Transpose out; where its name must stay, the twin is called so."""
        out = node.outputs[0]
        old, new = (twin, out) if self.edit.view.is_output(out) else (out, twin)
        self.edit.bypass(node, twin)
        renamed = {key: (tensor, new) for key, (tensor, held) in self.twins.items() if held is old}
        self.twins.update(renamed)

    def _drop_maker(self, tensor: gs.Tensor) -> None:
        found = transpose_of(self.edit.view.producer(tensor), self.edit.view)
        if found is None or tensor.outputs or self.edit.view.is_output(tensor):
            return
        self.edit.remove(found[0])

    def _like(self, tensor: gs.Tensor) -> gs.Tensor:
        shape = None if tensor.shape is None else [tensor.shape[axis] for axis in self.back]
        return self.edit.variable(f"{tensor.name}_moved", tensor.dtype, shape)

    def _transpose(self, source: gs.Tensor, out: gs.Tensor, perm: Perm, near: list[gs.Node]) -> gs.Tensor:
        name = f"{out.name}_transpose"
        sources = [node for node in near if self.edit.view.is_local(node)]
        self.edit.node("Transpose", [source], [out], name=name, sources=sources, attrs={"perm": list(perm)})
        return out


def _slots(node: gs.Node, tensor: gs.Tensor) -> list[int]:
    return [at for at, held in enumerate(node.inputs) if held is tensor]


@dataclass(frozen=True)
class TransposeToReshape(Rewrite):
    """Transpose(x) --> Reshape(x) where only axes of size 1 move: case 6."""

    name: ClassVar[str] = "transpose-to-reshape"
    anchors: ClassVar[tuple[str, ...]] = ("Transpose",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    target: tuple[int, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Transpose and its sizes: 0 copies one, -1 stands for the only other one that is not known."""
        perm, shape = perm_of(node, view) or (), node.inputs[0].shape
        if perm == tuple(range(len(perm))) or view.opset < _FIRST_RESHAPE_INPUT:
            return None
        if shape is None or not moves_only_ones(shape, perm):
            return None
        given, out = node.inputs[0], node.outputs[0]
        is_second = perm_of(view.producer(given), view) is not None and is_only_transposed(given, view)
        if is_second or (out.outputs and is_only_transposed(out, view)):
            return None  # merging Transposes comes first
        target = tuple(_size(at, axis, shape[axis]) for at, axis in enumerate(perm))
        if target.count(-1) > 1 or any(size == 0 and at != perm[at] for at, size in enumerate(target)):
            return None
        return cls(node, target)

    def apply(self, edit: Edit) -> None:
        """A Reshape, which is free."""
        source, out, name = self.node.inputs[0], self.node.outputs[0], self.node.name
        edit.remove(self.node)
        shape = edit.constant(f"{out.name}_shape", np.asarray(self.target, np.int64))
        edit.node("Reshape", [source, shape], [out], name=name or out.name, sources=[self.node], before=self.node)


def _size(at: int, axis: int, size: Any) -> int:
    """What a Reshape says of a size: the batch, and what is not known, are copied where they stay."""
    if at == axis and (at == 0 or not isinstance(size, int)):
        return 0
    return size if isinstance(size, int) else -1


@dataclass(frozen=True)
class MoveTransposes(LocalPass):
    """`y = Transpose(f(Transpose(x)))` --> `y = f'(x)`.

    From a Transpose the nodes above or below it are explored that can do their work on permuted operands. Which of them
    change is a minimum cut: the cost of a choice is the number of elements in the Transposes that stand where the two
    layouts meet, those that are there already included. A choice is taken where that falls and no Transpose is added.

    1. Elementwise operators: operands of full rank follow; constants of lower rank are aligned as broadcasting does,
       then transposed; scalars stay.
    2. Operators with an axis or a list of axes (Concat, Split, Slice, Pad, Reduce, ArgMax, Softmax at opset 13) get it
       renamed; QuantizeLinear and DequantizeLinear too, so that pairs stay pairs.
    3. Reduce and ArgMax without `keepdims`, Squeeze, Flatten and Reshape end a layout where their result is the same
       either way: what stays is in order, or only axes of size 1 move.
    4. A Transpose with another permutation takes part of the work over: the two compose.
    5. What is read or given in the old layout elsewhere (an output, a convolution) gets one Transpose at that place.
    6. A Transpose that only moves axes of size 1 becomes a Reshape.
    7. MatMul between Transposes of the last two axes: its operands change places, a constant matrix is transposed. One
       that comes to stand on the left costs as much as its transposition: it is laid out for the unit on every run.
    8. Where a reduction of floating-point numbers, other than ReduceMax and ReduceMin, changes its axes, it adds or
       multiplies in another order. So does a Softmax. Where these may not be moved, all others still are.

    Declines silently where as much would be transposed as before, or by more nodes; where an operand of lower rank is
    not a constant; for a Softmax that would leave the last axis, where runtimes have their kernels for it; for a
    reduction that would, from opset 17, which has LayerNormalization, and before where less than 3/4 of a Transpose of
    what it reads is saved by it.

    Numerics: exact; cases 7 and 8 are rounding. References: layouts in Chen et al., "TVM", OSDI 2018; minimum cut, Ford
    and Fulkerson, 1956, doi:10.4153/CJM-1956-045-5.
    """

    name: ClassVar[str] = "move-transposes"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "move Transposes to where they cancel or move less"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (
        MoveLayoutThroughSums,  # the whole region first
        MoveLayout,
        MoveLayoutThroughProducts,
        TransposeToReshape,
    )

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """As every local pass, until nothing moves: a move can make room for another one far away."""
        records: tuple[Record, ...] = ()
        for _ in range(_MOST_ROUNDS):
            found = super().run(graph, ctx)
            records += found.records
            if not found.changed:
                break
            sort_nodes(graph)
            ctx = replace(ctx, index=None)  # of the graph before
        return PassResult(records)
