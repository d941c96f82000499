"""Convolutions and products that read the same tensor, merged into one wider operator."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, Index, View, key
from roofwright.passes.base import Context, Decline, LocalPass, Numerics, PassResult, Rewrite
from roofwright.passes.fusion.weights import FLOATS
from roofwright.passes.gains import Size, Step, gain, price_ahead, size_of

_OPS = ("Conv", "MatMul", "Gemm")
_POINTWISE = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "Elu", "Softplus")
_RANKING = 16  # weights by which siblings of one size are told apart
_FIRST_SPLIT_INPUT = 13  # before, the sizes were an attribute


@dataclass(frozen=True)
class Branch:
    """One of the siblings.

    Attributes:
        node: the convolution or product.
        behind: what follows it and nothing else reads: a bias in an Add of its own, an activation.
        count: its output channels.
    """

    node: gs.Node
    behind: tuple[gs.Node, ...]
    count: int

    @property
    def result(self) -> gs.Tensor:
        """What the branch makes."""
        return (self.behind or (self.node,))[-1].outputs[0]

    @property
    def shape(self) -> tuple[Any, ...]:
        """What must be equal for two branches to be merged, beside the node itself."""
        return tuple((node.op, sorted(node.attrs.items())) for node in self.behind)


def _axis(node: gs.Node) -> int:
    """The axis of the weight that counts output channels."""
    return 0 if node.op == "Conv" or (node.op == "Gemm" and node.attrs.get("transB", 0)) else 1


def _kind(node: gs.Node, view: View) -> tuple[Any, ...] | None:
    """What two siblings share: operator, attributes, type, the weight's other sizes; None where it has no sibling."""
    weight = view.input(node, 1)
    shape = view.static_shape(weight)
    if shape is None or not view.is_constant(weight) or view.dtype(weight) not in FLOATS:
        return None
    if (node.op == "Conv" and view.attr(node, "group", 1) != 1) or (node.op != "Conv" and len(shape) != 2):
        return None
    bias = view.input(node, 2)
    if bias is not None and (not view.is_constant(bias) or not _is_row(view.static_shape(bias), shape[_axis(node)])):
        return None
    axis = _axis(node)
    return node.op, sorted(node.attrs.items()), view.dtype(weight), shape[:axis] + shape[axis + 1 :], bias is None


def _is_row(shape: Size | None, count: int) -> bool:
    return shape is not None and shape[-1:] == (count,) and all(size == 1 for size in shape[:-1])


def _branch(node: gs.Node, view: View) -> Branch:
    count = int(node.inputs[1].shape[_axis(node)])
    behind: list[gs.Node] = []
    tensor = node.outputs[0]
    while (reader := view.sole_consumer(tensor)) is not None and len(behind) < 2:
        biased = reader.op == "Add" and not behind and node.op == "MatMul" and _added(reader, tensor, count, view)
        if not (biased or (view.is_op(reader, *_POINTWISE) and not (behind and behind[-1].op != "Add"))):
            break
        behind.append(reader)
        tensor = reader.outputs[0]
    return Branch(node, tuple(behind), count)


def _added(node: gs.Node, tensor: gs.Tensor, count: int, view: View) -> gs.Tensor | None:
    """The constant row that an Add adds to `tensor`."""
    others = [other for other in node.inputs if other is not tensor]
    fits = len(others) == 1 and view.is_constant(others[0]) and view.is_op(node, "Add")
    return others[0] if fits and _is_row(view.static_shape(others[0]), count) else None


@dataclass(frozen=True)
class MergeSiblings(Rewrite):
    """Conv(x, W1), Conv(x, W2) --> Split(Conv(x, [W1, W2])): cases 1 to 4."""

    name: ClassVar[str] = "merge-siblings"
    anchors: ClassVar[tuple[str, ...]] = _OPS
    numerics: ClassVar[Numerics] = "rounding"
    branches: tuple[Branch, ...]
    concat: gs.Node | None

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The siblings, found once: from the first by name."""
        source = node.inputs[0]
        readers = [n for n in view.consumers(source) if n.op == node.op and view.is_op(n, node.op) and view.is_local(n)]
        kind = _kind(node, view) if len(readers) > 1 else None
        alike = [n for n in readers if n.inputs[0] is source and _kind(n, view) == kind] if kind else []
        alike.sort(key=key)
        if len(alike) < 2 or alike[0] is not node:
            return None
        branches = [_branch(n, view) for n in alike]
        if any(branch.shape != branches[0].shape for branch in branches):
            branches = [Branch(branch.node, (), branch.count) for branch in branches]
        concat, run = _joining(branches, view)
        return cls(tuple(run or branches), concat)

    @property
    def at(self) -> int:
        """The axis of the results that counts channels."""
        return 1 if self.branches[0].node.op == "Conv" else -1

    def saving(self, ctx: Context) -> float | None:
        """One wide operator and a Split, where no Concat wants the pieces together anyway; what follows stays."""
        return gain(*self.change(ctx), ctx)

    def change(self, ctx: Context) -> tuple[list[Step], list[Step]]:
        """The steps before and after."""
        nodes = [branch.node for branch in self.branches]
        before, count = [Step.of(node, ctx) for node in nodes], sum(branch.count for branch in self.branches)
        axis, rank = _axis(nodes[0]), len(before[0].outputs[0])
        sizes = [_replaced(before[0].weights[0], axis, count)]
        sizes += [_replaced(size, len(size) - 1, count) for size in before[0].weights[1:]]
        wide = replace(
            before[0], weights=tuple(sizes), outputs=(_replaced(before[0].outputs[0], self.at % rank, count),)
        )
        after = [wide]
        pieces = tuple(step.outputs[0] for step in before)
        if self.concat is None:
            after.append(replace(Step("Split", wide.outputs, pieces), dtype=wide.dtype).having(axis=self.at % rank))
        else:
            before.append(replace(Step("Concat", pieces, wide.outputs), dtype=wide.dtype).having(axis=self.at % rank))
        return before, after

    def apply(self, edit: Edit) -> None:
        """The first node becomes wide, with one of everything behind it; the pieces keep their names."""
        ordered = self.branches if self.concat is not None else _ordered(self.branches, edit.view)
        replace(self, branches=ordered)._merge(edit)

    def _merge(self, edit: Edit) -> None:
        first, results = self.branches[0], [branch.result for branch in self.branches]
        place = self._place(edit)
        name, sources = first.node.name or results[0].name, [n for b in self.branches for n in (b.node, *b.behind)]
        weights = self._weights(edit)
        steps = [(node.op, dict(node.attrs)) for node in (first.node, *first.behind)]
        source = first.node.inputs[0]
        shape, dtype = self._shape(), results[0].dtype
        for node in sources:
            edit.remove(node)
        for op, attrs in steps:
            made = edit.variable(f"{results[0].name}_merged", dtype, shape)
            constants = weights.pop(0)
            edit.node(op, [source, *constants], [made], name=name, sources=sources, attrs=attrs, before=place)
            source = made
        if self.concat is None:
            self._split(source, results, sources, edit)
        else:
            self._join(self.concat, source, results, edit)

    def _place(self, edit: Edit) -> gs.Node:
        return self.branches[0].node

    def _shape(self) -> list[Any]:
        shape = self.branches[0].node.outputs[0].shape
        assert shape is not None  # it has a price
        return list(_replaced(tuple(shape), self.at % len(shape), sum(branch.count for branch in self.branches)))

    def _weights(self, edit: Edit) -> list[list[gs.Tensor]]:
        """The constants of the wide node, then those of every node behind it."""
        found = []
        for at, node in enumerate((self.branches[0].node, *self.branches[0].behind)):
            group = [b.node if at == 0 else b.behind[at - 1] for b in self.branches]
            constants = [[t for t in n.inputs if edit.view.is_constant(t)] for n in group]
            made: list[gs.Tensor] = []
            for position, alike in enumerate(zip(*constants, strict=True)):
                values = [edit.view.constant_value(tensor) for tensor in alike]
                axis = _axis(node) if at == 0 and position == 0 else -1
                rows = [value if axis != -1 else value.reshape(-1) for value in values if value is not None]
                made.append(edit.constant(f"{alike[0].name}_merged", np.concatenate(rows, axis)))
            found.append(made)
        return found

    def _split(self, source: gs.Tensor, results: Sequence[gs.Tensor], sources: Sequence[gs.Node], edit: Edit) -> None:
        counts = [branch.count for branch in self.branches]
        attrs: dict[str, Any] = {"axis": self.at}
        inputs: list[gs.Tensor | None] = [source]
        if edit.view.opset < _FIRST_SPLIT_INPUT:
            attrs["split"] = counts
        else:
            inputs.append(edit.constant(f"{results[0].name}_counts", np.array(counts, np.int64)))
        name = f"{results[0].name}_split"
        edit.node("Split", inputs, results, name=name, sources=sources, attrs=attrs, before=self._place(edit))

    @staticmethod
    def _join(concat: gs.Node, source: gs.Tensor, results: Sequence[gs.Tensor], edit: Edit) -> None:
        """The Concat reads the wide result; where it reads nothing else, it goes."""
        ids = {id(tensor) for tensor in results}
        rest = [tensor for tensor in concat.inputs if id(tensor) not in ids or tensor is results[0]]
        if len(rest) == 1:
            edit.absorb(source.inputs[0], concat)
            return
        inputs = [source if tensor is results[0] else tensor for tensor in rest]
        out, attrs = concat.outputs[0], dict(concat.attrs)
        edit.remove(concat)
        edit.node("Concat", inputs, [out], name=concat.name or out.name, sources=(concat,), attrs=attrs, before=concat)


def _replaced(size: Size, axis: int, count: int) -> Size:
    return (*size[:axis], count, *size[axis + 1 :])


def _ordered(branches: Sequence[Branch], view: View) -> tuple[Branch, ...]:
    """The branches by size and first weights, as neither names nor the order of nodes in a file say anything."""

    def rank(branch: Branch) -> tuple[int, list[float]]:
        value = view.constant_value(branch.node.inputs[1])
        return branch.count, [] if value is None else value.flat[:_RANKING].astype(float).tolist()

    return tuple(sorted(branches, key=rank))


def _joining(branches: Sequence[Branch], view: View) -> tuple[gs.Node | None, list[Branch]]:
    """The Concat of channels that alone reads most branches side by side, and those in its order."""
    readers = {id(branch.result): view.sole_consumer(branch.result) for branch in branches}
    concats = {id(node): node for node in readers.values() if node is not None and view.is_op(node, "Concat")}
    best: tuple[gs.Node | None, list[Branch]] = None, []
    for concat in concats.values():
        run = _side_by_side([branch for branch in branches if readers[id(branch.result)] is concat], concat, view)
        best = max(best, (concat, run), key=lambda found: (len(found[1]), sum(branch.count for branch in found[1])))
    return best if len(best[1]) > 1 else (None, [])


def _side_by_side(branches: Sequence[Branch], concat: gs.Node, view: View) -> list[Branch]:
    """The longest run of these branches among what a Concat of channels reads."""
    shape, axis = branches[0].result.shape, view.attr(concat, "axis", 1)
    at = 1 if branches[0].node.op == "Conv" else -1
    if axis != at and (shape is None or axis % len(shape) != at % len(shape)):
        return []
    mine = {id(branch.result): branch for branch in branches}
    runs: list[list[Branch]] = [[]]
    for tensor in concat.inputs:
        if id(tensor) in mine:
            runs[-1].append(mine[id(tensor)])
        else:
            runs.append([])
    return max(runs, key=len)


def _changes(graph: gs.Graph, ctx: Context) -> Iterator[tuple[list[Step], list[Step]]]:
    """What every candidate would change; those without a price are left to the walk, which says why."""
    index = Index(graph)
    for view in (View(inner, index) for inner in index.graphs):
        for node in view.graph.nodes:
            found = MergeSiblings.match(node, view) if view.is_op(node, *_OPS) else None
            with suppress(Decline):
                if found is not None:
                    yield found.change(ctx)


@dataclass(frozen=True)
class FuseSiblings(LocalPass):
    """`y1 = Conv(x, W1)`, `y2 = Conv(x, W2)` --> `y1, y2 = Split(Conv(x, [W1, W2]))`.

    1. Conv (not grouped): same tensor, kernel and attributes; weights and biases are joined along the output channels.
    2. MatMul and Gemm with constant matrices (query, key and value; the two halves of a gated unit): columns, or rows
       with `transB`; the same `alpha`, `beta` and flags, a bias per column in all of them or in none.
    3. What follows every one of them alike is merged with them: an Add of one constant per column behind a MatMul, an
       activation of one operand.
    4. A Concat of the channels that reads results one behind the other gets the wide result as it is: no Split.

    Declines where the price of one wide operator and the Split is not below that of the parts; a price or a shape is
    not known; the joined weight would add more bytes than the limit.

    Numerics: rounding (another width may be summed in another order).
    References: Jia et al., TASO, SOSP 2019, doi:10.1145/3341301.3359630 (merging of parallel operators).
    """

    name: ClassVar[str] = "fuse-siblings"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "merge convolutions and products that read the same tensor, where a wider one pays"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (MergeSiblings,)

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Price all candidates at once, then try them one by one."""
        price_ahead(_changes(graph, ctx), ctx)
        return super().run(graph, ctx)

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Decline where weights that others read too would be copied beyond the fold limit."""
        assert isinstance(rewrite, MergeSiblings)
        shared = [t for b in rewrite.branches for t in b.node.inputs[1:] if view.is_constant(t) and len(t.outputs) > 1]
        copied = sum(int(np.prod(size_of(t, ctx))) * np.dtype(t.dtype).itemsize for t in shared)
        if copied > ctx.fold_limit_bytes:
            raise Decline(f"weights shared with others ({copied} bytes) would be copied, above {ctx.fold_limit_bytes}")
