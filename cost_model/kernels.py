"""Kernels as work: which nodes run together, what they read from and write to memory, what they compute.

A kernel's internal tensors never leave the chip. Views (Reshape, Identity ...) are other names of the same bytes, so
every operand is followed back to the tensor that really holds it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.schedule import Schedule
from roofwright.cost_model.work import LoopNest, Operand


@dataclass(frozen=True, slots=True)
class KernelWork:
    """Nodes that run as one kernel.

    Attributes:
        nodes: in execution order; the first with a loop nest is the anchor.
        reads: operands from outside, each storage once, constants included; elements count all repeats.
        writes: operands that a later kernel or the caller reads.
        nest_operands: input, weights and result of the anchor, under the names of their storage; empty without one.
    """

    nodes: tuple[NodeWork, ...]
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    nest_operands: tuple[Operand, ...] = ()

    @property
    def key(self) -> str:
        """What names the kernel: the key of its first node."""
        return self.nodes[0].key

    @property
    def repeat(self) -> int:
        """How often it runs per request: once, or once per trip of the loop around it."""
        return self.nodes[0].repeat

    @property
    def macs(self) -> int:
        """Useful MACs of all nodes."""
        return sum(node.work.macs for node in self.nodes)

    @property
    def nests(self) -> list[tuple[NodeWork, LoopNest]]:
        """Every loop nest with the node it belongs to."""
        return [(node, nest) for node in self.nodes for nest in node.work.nests]


def storage_names(works: Iterable[NodeWork]) -> dict[str, str]:
    """Tensor name -> name of the tensor whose bytes it is, for the outputs of views of non-constants."""
    names: dict[str, str] = {}
    for work in works:
        if work.work.kind == "view" and work.work.alias_of:
            names.update((tensor.name, work.work.alias_of) for tensor in work.node.outputs[:1])
        names.update(work.work.more_aliases)
    for name in names:
        seen = {name}
        while (source := names[name]) in names and source not in seen:  # two bodies may use one name: no endless walk
            seen.add(source)
            names[name] = names[source]
    return names


def stored_outputs(works: Iterable[NodeWork], outputs: Iterable[str]) -> frozenset[str]:
    """The tensors whose bytes the caller reads: graph outputs, followed back through views."""
    alias = storage_names(works)
    return frozenset(alias.get(name, name) for name in outputs)


def op_by_op(works: Sequence[NodeWork]) -> list[list[NodeWork]]:
    """The baseline's partition: one kernel per node that does anything."""
    return [[work] for work in works if work.work.kind not in ("view", "not_modelled")]


def scheduled(works: Sequence[NodeWork], schedule: Schedule) -> list[list[NodeWork]]:
    """The schedule's partition, in its order; nodes that it does not name run alone, after those named before them."""
    place = {node.output: kernel.index for kernel in schedule.kernels for node in kernel.nodes}
    groups: dict[tuple[int, int], list[NodeWork]] = {}
    latest = -1
    for position, work in enumerate(works):
        if work.work.kind in ("view", "not_modelled"):
            continue
        index = place.get(work.key)
        latest = latest if index is None else max(latest, index)
        groups.setdefault((latest, position + 1) if index is None else (index, 0), []).append(work)
    return [groups[at] for at in sorted(groups)]


def gather(
    partition: Sequence[Sequence[NodeWork]],
    works: Sequence[NodeWork],
    outputs: Iterable[str],
    known: dict[tuple[int, ...], KernelWork] | None = None,
) -> list[KernelWork]:
    """Kernels with their outside operands.

    Args:
        partition: nodes of each kernel, in execution order.
        works: all nodes of the graph, views included (for aliases).
        outputs: names of the graph's outputs.
        known: kernels of other partitions of these nodes, by the ids of theirs: who else reads what the same nodes make
            is the same in all.
    """
    known = {} if known is None else known
    keys = [tuple(map(id, nodes)) for nodes in partition]
    alias = storage_names(works)
    kept = frozenset(alias.get(name, name) for name in outputs)
    readers: dict[str, set[int]] = {}
    for index, nodes in enumerate(partition):
        for node in nodes:
            for operand in node.work.reads:
                readers.setdefault(alias.get(operand.name, operand.name), set()).add(index)
    for index, (key, nodes) in enumerate(zip(keys, partition, strict=True)):
        if key not in known:
            known[key] = _kernel(index, nodes, alias, kept, readers)
    return [known[key] for key in keys]


def _kernel(
    index: int,
    nodes: Sequence[NodeWork],
    alias: Mapping[str, str],
    kept: Collection[str],
    readers: Mapping[str, set[int]],
) -> KernelWork:
    made = {operand.name for node in nodes for operand in node.work.writes}
    reads: dict[str, Operand] = {}
    writes: dict[str, Operand] = {}
    for node in nodes:
        for operand in node.work.reads:
            name = alias.get(operand.name, operand.name)
            if name not in made:
                _keep_larger(reads, name, operand, node.work.repeat)
        for operand in node.work.writes:
            if operand.name in kept or readers.get(operand.name, set()) - {index}:
                _keep_larger(writes, operand.name, operand, node.work.repeat)
    return KernelWork(tuple(nodes), tuple(reads.values()), tuple(writes.values()), _nest_operands(nodes, alias))


def _nest_operands(nodes: Sequence[NodeWork], alias: Mapping[str, str]) -> tuple[Operand, ...]:
    work = next((node.work for node in nodes if node.work.nest is not None), None)
    if work is None:
        return ()
    parts = (work.reads[0], work.reads[min(1, len(work.reads) - 1)], work.writes[0])
    return tuple(replace(part, name=alias[part.name]) if part.name in alias else part for part in parts)


def _keep_larger(held: dict[str, Operand], name: str, operand: Operand, repeat: int) -> None:
    """A storage that several nodes of one kernel touch is moved once, at its largest extent."""
    elements = operand.elements * repeat
    if name not in held or held[name].elements < elements:
        held[name] = Operand(name, elements, operand.dtype, operand.constant)
