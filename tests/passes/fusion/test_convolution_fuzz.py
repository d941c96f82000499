"""Random graphs of convolutions, pruned ones among them, through all passes of the family in random order."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from roofwright.passes.base import Pass
from roofwright.passes.fusion import (
    FuseAffine,
    FuseBatchNorm,
    FuseConcat,
    FuseDeadChannels,
    FuseJoined,
    FuseLinearChain,
    FuseSiblings,
)
from roofwright.targets import load_target
from tests.passes.harness import Array, build, run_pass, same

FAMILY: tuple[Pass, ...] = (
    FuseBatchNorm(),
    FuseAffine(),
    FuseJoined(),
    FuseLinearChain(),
    FuseDeadChannels(),
    FuseSiblings(),
    FuseConcat(),
)
TARGETS = [load_target(name) for name in ("v100", "haswell_e5_2699v3", "tpuv2")]
KINDS = (
    "conv",
    "conv",
    "conv",
    "window",
    "window",
    "depthwise",
    "relu",
    "norm",
    "mul",
    "shift",
    "add",
    "concat",
    "pool",
    "ghost",
)
SIZE = 8


@dataclass
class Graph:
    """A graph that grows by a node that reads one of the latest images; all images are SIZE x SIZE."""

    rng: np.random.Generator
    channels: dict[str, int] = field(default_factory=lambda: {"x": 4})
    arrays: dict[str, Array] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def weight(self, *shape: int) -> str:
        values = self.rng.standard_normal(shape) * 0.5
        if self.rng.random() < 0.4:
            values[self.rng.random(shape[0]) < 0.4] = 0
        if len(shape) > 1 and self.rng.random() < 0.3:
            values[:, self.rng.random(shape[1]) < 0.4] = 0
        self.arrays[f"w{len(self.arrays)}"] = values.astype(np.float32)
        return f"w{len(self.arrays) - 1}"

    def pick(self, channels: int | None = None) -> str:
        fitting = [name for name, count in self.channels.items() if channels in (None, count)]
        name = fitting[max(0, len(fitting) - int(self.rng.geometric(0.5)))]
        self.read.add(name)
        return name

    def put(self, text: str, channels: int) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        self.channels[name] = channels
        return name

    def conv(self, source: str, count: int, kernel: int, groups: int = 1) -> str:
        weight = self.weight(count, self.channels[source] // groups, kernel, kernel)
        bias = f", {self.weight(count)}" if self.rng.random() < 0.6 else ""
        pads = [kernel // 2] * 4
        return self.put(f"Conv<group = {groups}, pads = {pads}>({source}, {weight}{bias})", count)

    def grow(self, kind: str) -> None:
        source = self.pick()
        count, wanted = self.channels[source], int(self.rng.choice([2, 4, 8]))
        if kind in ("conv", "window"):
            self.conv(source, wanted, 1 if kind == "conv" else 3)
        elif kind == "depthwise":
            self.conv(source, count, 3, count)
        elif kind == "relu":
            self.put(f"Relu({source})", count)
        elif kind == "norm":
            vectors = [self.weight(count) for _ in range(4)]
            self.arrays[vectors[3]] = np.abs(self.arrays[vectors[3]]) + np.float32(0.5)
            self.put(f"BatchNormalization({source}, {', '.join(vectors)})", count)
        elif kind in ("mul", "shift"):
            self.put(f"{'Mul' if kind == 'mul' else 'Add'}({source}, {self.weight(count, 1, 1)})", count)
        elif kind == "add":
            self.put(f"Add({source}, {self.pick(count)})", count)
        elif kind == "concat":
            other = self.pick()
            self.put(f"Concat<axis = 1>({source}, {other})", count + self.channels[other])
        elif kind == "pool":
            counted = int(self.rng.integers(0, 2))
            attrs = f"kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = {counted}"
            self.put(f"AveragePool<{attrs}>({source})", count)
        else:
            kept = self.conv(source, 4, 1)
            made = self.conv(kept, 4, 3, 4)
            self.read |= {kept, made}
            self.put(f"Concat<axis = 1>({kept}, {made})", 8)

    def text(self) -> str:
        outputs = [name for name in self.channels if name not in self.read]
        ports = ", ".join(f"float[1,{self.channels[name]},{SIZE},{SIZE}] {name}" for name in outputs)
        return f"(float[1,4,{SIZE},{SIZE}] x) => ({ports}) {{ {' '.join(self.lines)} }}"


def check_seed(seed: int) -> int:
    """How many rewrites fired on the graph of a seed; all of them together must leave it what it computes."""
    rng = np.random.default_rng(seed)
    graph = Graph(rng)
    for _ in range(int(rng.integers(3, 12))):
        graph.grow(str(rng.choice(KINDS)))
    before = model = build(graph.text(), graph.arrays)
    fired = 0
    for position in rng.permutation(len(FAMILY)):
        _, model, result = run_pass(FAMILY[position], model, target=TARGETS[seed % len(TARGETS)])
        fired += sum(record.applied for record in result.records)
    same(before, model, exact=False)
    return fired


def test_random_graphs() -> None:
    assert sum(check_seed(seed) for seed in range(20)) > 10


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 500, 50))
def test_more_random_graphs(start: int) -> None:
    assert sum(check_seed(seed) for seed in range(start, start + 50)) > 25
