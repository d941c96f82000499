"""The first scheduling pass: which nodes run together, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.cost_model import Costing, GraphModel, Kernel, NodeRef, NodeWork, Schedule, StorageAssumption
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.composites import grouped
from roofwright.targets import Target


@dataclass(frozen=True)
class Kernels(Pass):
    """Conv; Add bias; Relu; Add skip --> one kernel, whose intermediate tensors never leave the chip.

    1. A matrix node takes the bias, activation and residual Add that follow it, as far as the target's stack has such
       epilogues (`fuses`).
    2. A chain of elementwise nodes of one shape is one kernel.
    3. The nodes of a normalization, a Softmax or a rotary embedding that is written out are one kernel (see
       fuse-composites); so are those of a Gelu that no
       matrix kernel took as its activation.
    4. Every other node that does anything is a kernel of its own; views belong to none.

    Numerics: exact (the graph is not touched). Declines nothing: a node that cannot join starts its own kernel.

    References:
        Chen et al., "TVM", OSDI 2018, section 3 (complex-out-fusable operators).
    """

    name: ClassVar[str] = "kernels"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "group a matrix node with its epilogue, and chains of elementwise nodes, into kernels"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return a schedule with one kernel per group; without a target nothing is scheduled."""
        if ctx.target is None:
            return PassResult()
        model = ctx.model or GraphModel.of(graph, ctx.dims)
        works = [work for work in model.works if work.work.kind != "not_modelled"]
        groups = grouped(graph, works, tuple(model.outputs), ctx.target.stack.fuses)
        bare = _schedule(groups, model, ctx.target)
        prices = Costing.of(model, ctx.target, bare).prices
        engines = [ctx.target.engines[max(e, 0)].name for e in prices.engine.tolist()]
        records = tuple(
            Record("kernel", group[0].key, group[0].op, True, removed=tuple(work.op for work in group))
            for group in groups
            if len(group) > 1
        )
        rows = zip(bare.kernels, engines, prices.algorithm, strict=True)
        kernels = tuple(replace(kernel, engine=engine, algorithm=algorithm) for kernel, engine, algorithm in rows)
        return PassResult(records, replace(bare, kernels=kernels))


def _schedule(groups: Sequence[Sequence[NodeWork]], model: GraphModel, target: Target) -> Schedule:
    """One kernel per group, on no engine yet."""
    kernels = tuple(
        Kernel(
            index=index,
            nodes=tuple(NodeRef(output=work.key, op=work.op) for work in group),
            engine="",
        )
        for index, group in enumerate(groups)
    )
    assume = {d: StorageAssumption(storage=a.storage, multiply=a.multiply) for d, a in target.assume.items()}
    return Schedule(target=target.name, batch=model.batch, kernels=kernels, dims=dict(model.dims), assume=assume)
