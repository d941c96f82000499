"""What every tile of a kernel reads and makes: element numbers per tensor, in the declared order of the loops."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product as crossed
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model import KernelWork, Tiling
from tests.machine.nests import Ints, Nest, Shapes, nest_of, product, window_ints
from tests.machine.parts import compute, needs

Array = NDArray[Any]
Values = Mapping[str, Array]
Reader = Callable[[str, Ints], Array]
_LOOPS = ("repeat", "rows", "out_channels", "in_channels")


@dataclass(frozen=True)
class Step:
    """One tile.

    Attributes:
        reads: storage name -> elements that must be on chip.
        makes: tensor -> elements of the result.
        first, last: whether no partial sums go in, and whether finished results come out.
        run: computes {tensor: values of `makes`} from a reader and the partial sums so far.
    """

    reads: Mapping[str, Ints]
    makes: Mapping[str, Ints]
    run: Callable[[Reader, Array | None], Mapping[str, Array]]
    first: bool = True
    last: bool = True


@dataclass(frozen=True)
class Plan:
    """The tiles of a kernel in order; `slides`: rows are the innermost loop, so that halos are not loaded again."""

    steps: tuple[Step, ...]
    slides: bool


@dataclass
class Graph:
    """What planning needs of the model: shapes, which tensor's bytes a name stands for, and constants."""

    shapes: Shapes
    alias: Mapping[str, str]
    constants: Values

    def storage(self, name: str) -> str:
        """The tensor whose bytes `name` are."""
        return self.alias.get(name, name)

    def size(self, name: str) -> int:
        """Elements of a tensor."""
        return int(np.prod(self.shapes[name], dtype=np.int64))


def plan(kernel: KernelWork, tiling: Tiling | None, pieces: int, graph: Graph) -> Plan:
    """The tiles of a kernel; kernels without a nest are cut into so many `pieces` of equal size."""
    nodes = [work.node for work in kernel.nodes]
    nest = nest_of(nodes[0], graph.shapes)
    order = tiling.order if tiling is not None else ()
    tile = dict(tiling.tile) if tiling is not None else {}
    if nest is None:
        return Plan(tuple(_plain_steps(kernel, tile.get("rows", pieces), pieces, graph)), slides=False)
    cuts = _cuts(nest, tile)
    inner = next((loop for loop in reversed(order) if len(cuts[loop]) > 1), None)
    loops = [*(loop for loop in _LOOPS if loop not in order), *order]
    holes = max(nodes[0].attrs.get("dilations", [1])) > 1
    steps = []
    for chosen in crossed(*(cuts[loop] for loop in loops)):
        spans = dict(zip(loops, chosen, strict=True))
        ends = (spans["in_channels"] == cuts["in_channels"][0], spans["in_channels"] == cuts["in_channels"][-1])
        steps.append(_NestTile(nodes, nest, spans, graph, ends, holes).step())
    return Plan(tuple(steps), slides=inner == "rows")


def _cuts(nest: Nest, tile: Mapping[Any, int]) -> dict[str, list[slice]]:
    extents = dict(zip(_LOOPS, (*nest.left.shape[:2], nest.right.shape[1], nest.left.shape[3]), strict=True))
    cuts = {loop: _even(extent, tile.get(loop, extent)) for loop, extent in extents.items()}
    size, image = tile.get("rows", extents["rows"]), nest.image_rows
    if size < image:  # inside images
        starts = range(0, extents["rows"], image)
        cuts["rows"] = [slice(s + c.start, s + c.stop) for s in starts for c in _even(image, size)]
    else:
        cuts["rows"] = _even(extents["rows"], size // image * image)
    return cuts


def _even(extent: int, size: int) -> list[slice]:
    return [slice(at, min(at + size, extent)) for at in range(0, extent, size)]


@dataclass
class _Needed:
    """Elements that a tile reads, gathered over its nodes."""

    graph: Graph
    reads: dict[str, Ints] = field(default_factory=dict)

    def add(self, name: str, elements: Ints) -> None:
        where = self.graph.storage(name)
        old = self.reads.get(where, np.zeros(0, np.int64))
        self.reads[where] = np.union1d(old, elements[elements >= 0])


def _read(reader: Reader, name: str, elements: Ints) -> Array:
    """Values of elements of any shape; padding is 0."""
    flat = elements.reshape(-1)
    inside = flat >= 0
    found = reader(name, flat[inside])
    values = np.zeros(flat.shape, found.dtype)
    values[inside] = found
    return values.reshape(elements.shape)


@dataclass
class _Chain:
    """Nodes without a nest; the last one makes `results` of its output number `out`, all others what it needs."""

    nodes: list[gs.Node]
    graph: Graph
    results: Ints
    out: int = 0

    def follow(self, needed: _Needed, inside: set[str]) -> None:
        """Note what the nodes read from outside; `inside` are tensors made before them."""
        made = inside | {tensor.name for node in self.nodes for tensor in node.outputs}
        for node, _, _, found in self._wanted():
            for tensor, elements in zip(node.inputs, found, strict=True):
                if elements is not None and tensor.name not in made:
                    needed.add(tensor.name, elements)

    def run(self, reader: Reader, made: dict[str, Array]) -> None:
        """Add the nodes' results to `made`; what is there already holds `results`, element for element."""
        place = dict.fromkeys(made, self.results)
        for node, out, results, found in self._wanted():
            inputs = [
                None
                if f is None
                else _pick(made[t.name], place[t.name], f)
                if t.name in made
                else _read(reader, self.graph.storage(t.name), f)
                for t, f in zip(node.inputs, found, strict=True)
            ]
            name = node.outputs[out].name
            made[name] = compute(node, self.graph.shapes, inputs, found).astype(np.float32)
            place[name] = results

    def _wanted(self) -> list[tuple[gs.Node, int, Ints, list[Ints | None]]]:
        """Node, output number, elements of that output and what they are made of, in order of execution."""
        steps: list[tuple[gs.Node, int, Ints, list[Ints | None]]] = []
        wanted = {self.nodes[-1].outputs[self.out].name: self.results} if self.nodes else {}
        for node in reversed(self.nodes):
            for out, tensor in enumerate(node.outputs):
                if tensor.name not in wanted:
                    continue
                found = needs(node, self.graph.shapes, out, wanted[tensor.name], self.graph.constants)
                steps.append((node, out, wanted[tensor.name], found))
                self._add(node, found, wanted)
        return steps[::-1]

    def _add(self, node: gs.Node, found: list[Ints | None], wanted: dict[str, Ints]) -> None:
        for tensor, elements in zip(node.inputs, found, strict=True):
            if elements is None:
                continue
            same = np.array_equal(elements, self.results) and np.array_equal(
                wanted.get(tensor.name, elements), elements
            )
            old = wanted.get(tensor.name, np.zeros(0, np.int64))
            wanted[tensor.name] = self.results if same else np.union1d(old, elements[elements >= 0])


def _pick(values: Array, place: Ints, elements: Ints) -> Array:
    """Values of elements of any shape among those held, `place` being the numbers of these; padding is 0."""
    if np.array_equal(place, elements):
        return values
    order = np.argsort(place, kind="stable")
    at = order[np.minimum(np.searchsorted(place[order], np.maximum(elements, 0)), len(place) - 1)]
    assert np.array_equal(place[at][elements >= 0], elements[elements >= 0]), "a node reads what no node before it made"
    return np.where(elements >= 0, values[at], 0)


def _plain_steps(kernel: KernelWork, size: int, pieces: int, graph: Graph) -> Iterator[Step]:
    """Tiles of the kernel's results, one result behind the other."""
    nodes = [work.node for work in kernel.nodes]
    outs = [operand.name for operand in kernel.writes]
    ends = np.cumsum([graph.size(name) for name in outs])
    piece, left = divmod(int(ends[-1]), pieces)
    assert left == 0, f"{outs[0]}: {ends[-1]} elements in {pieces} pieces"
    for part in _even(pieces, size):
        makes, chains = {}, []
        for name, end in zip(outs, ends.tolist(), strict=True):
            start = end - graph.size(name)
            low, high = max(part.start * piece, start), min(part.stop * piece, end)
            if low < high:
                makes[name] = np.arange(low - start, high - start)
                place = [tensor.name for tensor in nodes[-1].outputs].index(name)
                chains.append(_Chain(nodes, graph, makes[name], place))
        needed = _Needed(graph)
        for chain in chains:
            chain.follow(needed, set())
        yield Step(needed.reads, makes, _plain_run(chains, outs))


def _plain_run(chains: list[_Chain], outs: list[str]) -> Callable[[Reader, Array | None], Mapping[str, Array]]:
    def run(reader: Reader, _: Array | None) -> Mapping[str, Array]:
        made: dict[str, Array] = {}
        for chain in chains:
            chain.run(reader, made)
        return {name: made[name] for name in outs if name in made}

    return run


@dataclass
class _NestTile:
    """A tile of a matrix node and its epilogue."""

    nodes: list[gs.Node]
    nest: Nest
    spans: Mapping[str, slice]
    graph: Graph
    ends: tuple[bool, bool]
    holes: bool

    def step(self) -> Step:
        """What it reads and makes."""
        repeat, rows, outs, ins = (self.spans[loop] for loop in _LOOPS)
        self.left, self.right = self.nest.left[repeat, rows, :, ins], self.nest.right[repeat, outs, ins]
        self.shape = self.nest.out[repeat, rows, :, outs].shape
        self.results = self.nest.out[repeat, rows, :, outs].reshape(-1)
        anchor, rest = self.nodes[0], self.nodes[1:]
        self.names = [tensor.name for tensor in anchor.inputs]
        self.extra = self._extra() if len(self.names) > 2 else None
        self.chain = _Chain(rest, self.graph, self.results)
        needed = _Needed(self.graph)
        needed.add(self.names[0], self._held_rows(repeat, rows, ins) if self.holes else self.left)
        needed.add(self.names[1], self.right)
        if self.ends[1]:
            if self.extra is not None:
                needed.add(self.names[2], self.extra)
            self.chain.follow(needed, {anchor.outputs[0].name})
        result = self.nodes[-1].outputs[0].name
        return Step(needed.reads, {result: self.results}, self._run, *self.ends)

    def _held_rows(self, repeat: slice, rows: slice, ins: slice) -> Ints:
        """The tile's input with the rows between its own that other tiles need (dilated windows)."""
        channels, height, width = self.graph.shapes[self.names[0]][1:]
        pool = np.unique(self.nest.left[repeat, :, :, ins])
        pool, mine = pool[pool >= 0], self.left[self.left >= 0]
        images = np.isin(pool // (channels * height * width), mine // (channels * height * width))
        node, first = self.nodes[0], rows.start % self.nest.image_rows
        count = min(rows.stop - rows.start, self.nest.image_rows)
        low = first * window_ints(node, "strides", 1, 2)[0] - window_ints(node, "pads", 0, 4)[0]
        extent = (self.graph.shapes[self.names[1]][2] - 1) * window_ints(node, "dilations", 1, 2)[0] + 1
        high = low + (count - 1) * window_ints(node, "strides", 1, 2)[0] + extent - 1
        row = pool // width % height
        return np.asarray(pool[images & (row >= low) & (row <= high)])

    def _extra(self) -> Ints:
        """Elements of the third input (a bias) that go to each result."""
        shape = self.graph.shapes[self.nodes[0].outputs[0].name]
        size = self.graph.shapes[self.names[2]]
        size = (*size, 1, 1) if self.nodes[0].op == "Conv" else size
        numbers = np.arange(int(np.prod(size, dtype=np.int64))).reshape(size)
        return np.asarray(np.broadcast_to(numbers, shape).reshape(-1)[self.results])

    def _run(self, reader: Reader, partial: Array | None) -> Mapping[str, Array]:
        anchor, storage = self.nodes[0], self.graph.storage
        left, right = (_read(reader, storage(n), e) for n, e in zip(self.names, (self.left, self.right), strict=False))
        sums = product(left, right).reshape(-1) * anchor.attrs.get("alpha", 1.0)
        sums = sums if partial is None else sums + partial
        out = self.nodes[-1].outputs[0].name
        if not self.ends[1]:
            return {out: sums}
        if self.extra is not None:
            sums = sums + _read(reader, storage(self.names[2]), self.extra) * anchor.attrs.get("beta", 1.0)
        made = {anchor.outputs[0].name: sums.astype(np.float32)}
        self.chain.run(reader, made)
        return {out: made[out]}
