"""The work of a graph in pieces: every loop nest, and the elementwise work of every node, with the ways to run each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.engines import has_lanes, lane_seconds
from roofwright.cost_model.floors import Options, nest_options
from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.strip_maps import Maps
from roofwright.cost_model.traffic import operand_bytes
from roofwright.cost_model.units import Bools, Floats, Ints, Nests
from roofwright.targets import Target


@dataclass(frozen=True)
class Pieces:
    """Work of a graph, and how it can be run.

    Attributes:
        works: nodes in execution order.
        maps: their geometry.
        nests: loop nests, the first pieces of `options`.
        node: position in `works` of every piece.
        owner: kernel of every piece.
        options: ways to run each piece.
        extra_bytes: what each way fetches beyond the weights once.
        weight_bytes: weights of each nest, once, shape (nests,); 0 where the second operand was computed.
    """

    works: Sequence[NodeWork]
    maps: Maps
    nests: Nests
    node: Ints
    owner: Ints
    options: Options
    extra_bytes: Floats
    weight_bytes: Floats

    @classmethod
    def of(cls, kernels: Sequence[KernelWork], prices: Prices, target: Target, maps: Maps) -> "Pieces":
        """All pieces of work of kernels in their order: nests, then lanes."""
        nodes = [(at, node) for at, kernel in enumerate(kernels) for node in kernel.nodes]
        works = [node for _, node in nodes]
        heavy = [at for at, node in enumerate(works) for _ in node.work.nests]
        light = [at for at, node in enumerate(works) if has_lanes(node)]
        storage = [storage_of(works[at].work.reads[0].dtype, target) for at in heavy]
        matrix = nest_options(prices.nests, storage, [works[at].work.kind for at in heavy], target)
        weights = np.array([_weight_bytes(works[at], target) for at in heavy], np.float64)
        nests, copies = prices.nests, prices.copies
        once = nests.repeat.astype(np.float64) * nests.depth * nests.out_channels
        extra = np.maximum(matrix.fetched / once[matrix.piece] - 1.0, 0.0) * weights[matrix.piece]
        matrix = replace(matrix, engine_s=matrix.engine_s * copies[matrix.piece])
        vector = [lane_seconds([works[at] for at in light], engine, target) for engine in target.engines]
        piece, engine = np.nonzero(np.isfinite(np.stack(vector, axis=1)))
        seconds = np.stack(vector, axis=1)[piece, engine]
        beside = Options(piece + len(heavy), engine, seconds, np.zeros(len(piece)))
        place = np.array([*heavy, *light], np.int64)
        owner, options = np.array([at for at, _ in nodes], np.int64)[place], Options.joined([matrix, beside])
        return cls(works, maps, nests, place, owner, options, np.concatenate([extra, beside.fetched]), weights)

    def weight_name(self, at: int) -> str:
        """The tensor whose bytes the weights of node `at` are."""
        name = self.works[at].work.reads[1].name
        return self.maps.alias.get(name, name)

    @cached_property
    def least_s(self) -> Floats:
        """Seconds of every node's pieces, each on its fastest engine and one after the other; shape (nodes,)."""
        least_s = np.full(len(self.node), np.inf)
        np.minimum.at(least_s, self.options.piece, self.options.engine_s)
        found = np.zeros(len(self.works))
        np.add.at(found, self.node, np.where(np.isfinite(least_s), least_s, 0.0))
        return found

    @cached_property
    def necks(self) -> Bools:
        """Whether later nodes read nothing that was computed before a node but its own results; shape (nodes,)."""
        alias, count = self.maps.alias, len(self.works)
        made: dict[str, int] = {}
        last: dict[str, int] = {}
        for at, work in enumerate(self.works):
            last |= {alias.get(o.name, o.name): at for o in work.work.reads if not o.constant}
            made |= {alias.get(o.name, o.name): at for o in work.work.writes}
        passed = [(at + 1, last[name]) for name, at in made.items() if last.get(name, 0) > at + 1]
        begin, end = np.array(passed, np.int64).reshape(-1, 2).T
        passing = np.bincount(begin, minlength=count + 1) - np.bincount(end, minlength=count + 1)
        return np.asarray(np.cumsum(passing)[:count] == 0)


def _weight_bytes(node: NodeWork, target: Target) -> float:
    """Bytes of a node's weights; 0 where its second operand was computed."""
    constant = len(node.work.nests) == 1 and len(node.work.reads) > 1 and node.work.reads[1].constant
    return operand_bytes(node.work.reads[1], target) if constant else 0.0
