"""Peak memory of a program in onnxruntime: one node at a time, and freed what nobody reads again."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from roofwright.passes.materialize.arena import Arena
from roofwright.passes.materialize.layouts import with_reorders
from roofwright.passes.materialize.program import Instruction, Program, Value
from roofwright.passes.materialize.strips import IN_PLACE

VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")


def peak_bytes(program: Program) -> float:
    """Activations of repeated runs under onnxruntime, weights left out.

    The first run takes buffer by buffer from an arena that keeps what it has; from the second on one block is planned
    for all of them, beside what the first left. What the caller gives and gets is his own.
    """
    found = _buffers(depth_first(with_reorders(program.instructions)), program.interface)
    arena, block = Arena(), Arena.planned()
    for taken in (arena, block):
        _fill(taken, found)
    arena.take(-1, block.bytes)
    return arena.bytes + sum(value.bytes for value in program.interface)


def depth_first(listed: Sequence[Instruction]) -> list[Instruction]:
    """The order in which onnxruntime runs: from the leaves back to what they read, larger node index first.

    `GraphViewer` (core/graph/graph_viewer.cc of onnxruntime) sorts by a reverse depth-first search with `NodeCompare`.
    """
    maker = {id(value): at for at, one in enumerate(listed) for value in one.makes}
    read = {id(value) for one in listed for value in one.reads.values()}
    stack = [(at, False) for at, one in enumerate(listed) if not any(id(value) in read for value in one.makes)]
    seen, order = set[int](), list[Instruction]()
    while stack:
        at, left = stack.pop()
        if left:
            order.append(listed[at])
        elif at not in seen:
            seen.add(at)
            stack.append((at, True))
            before = {maker[id(value)] for value in listed[at].reads.values() if id(value) in maker}
            stack += [(other, False) for other in sorted(before) if other not in seen]
    return order


@dataclass
class _Buffer:
    """Bytes that are held from instruction `first` to `last`, for one value after the other."""

    first: int
    last: int
    bytes: float


def _buffers(order: Sequence[Instruction], interface: Sequence[Value]) -> list[_Buffer]:
    """The buffers that onnxruntime's planner assigns (`AllocationPlanner`, core/framework/allocation_planner.cc).

    Elementwise operators write into an input that dies there; views are other names of what they show; a new value
    takes the buffer of a dead one of the same shape, the latest first, and the buffer is held in between.
    """
    root, own = _roots(order), {id(value) for value in interface}
    uses = Counter(number for one in order for number in _reads(one, root))
    held: dict[int, tuple[_Buffer, Hashable]] = {}
    idle: dict[Hashable, list[_Buffer]] = {}
    found: list[_Buffer] = []
    for at, one in enumerate(order):
        reads = _reads(one, root)
        uses.subtract(reads)
        dying = [number for number in reads if not uses[number] and number in held]
        for value in (value for value in one.makes if id(value) not in root and id(value) not in own):
            twin = next((n for n in dying if _in_place(one) and held[n][0].bytes == value.bytes), None)
            shape = _shape(value)
            if twin is not None:
                dying.remove(twin)
                buffer = held[twin][0]
            elif idle.get(shape):
                buffer = idle[shape].pop()
            else:
                buffer = _Buffer(at, at, value.bytes)
                found.append(buffer)
            held[id(value)] = (buffer, shape)
            dying += [] if uses[id(value)] else [id(value)]
        if one.workspace_bytes:
            found.append(_Buffer(at, at, one.workspace_bytes))
        for buffer, shape in (held[number] for number in dying):
            buffer.last = at
            idle.setdefault(shape, []).append(buffer)
    return found


def _shape(value: Value) -> Hashable:
    dims = [] if value.tensor.shape is None else [str(dim) for dim in value.tensor.shape]
    if value.rows is not None:
        dims[-2] = str(value.rows[1] - value.rows[0])
    return (*dims, str(value.tensor.dtype))


def _fill(arena: Arena, buffers: Sequence[_Buffer]) -> None:
    """Take and give back every buffer in time."""
    events = [(buffer.first, 0, number) for number, buffer in enumerate(buffers)]
    events += [(buffer.last, 1, number) for number, buffer in enumerate(buffers)]
    for _, over, number in sorted(events):
        if over:
            arena.give(number)
        else:
            arena.take(number, buffers[number].bytes)


def _reads(one: Instruction, root: dict[int, int]) -> list[int]:
    return list(dict.fromkeys(root.get(id(value), id(value)) for value in one.reads.values()))


def _in_place(one: Instruction) -> bool:
    return one.step is not None and one.step.node.op in IN_PLACE


def _roots(order: Sequence[Instruction]) -> dict[int, int]:
    """View -> the value whose bytes it shows."""
    root: dict[int, int] = {}
    for one in order:
        if one.op == "keep" and one.step is not None and one.step.node.op in VIEWS and 0 in one.reads:
            source = id(one.reads[0])
            root.update((id(value), root.get(source, source)) for value in one.makes[:1])
    return root
