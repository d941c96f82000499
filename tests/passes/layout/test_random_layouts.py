"""Graphs of random nodes in random layouts: the same values, never more to transpose."""

from math import prod
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.passes.cleanup import DeadCode
from roofwright.passes.layout import AbsorbTransposes, MoveTransposes
from tests.passes.harness import build, int64, nodes_of, random, run_pass, same

PERMS = ([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [0, 2, 1, 3], [1, 0, 2, 3])


class Random:
    """A graph under construction: texts, constants, and tensors with their shapes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.lines: list[str] = []
        self.arrays: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {"x": (2, 3, 4, 5)}

    def pick(self) -> str:
        recent = list(self.shapes)[-4:]
        return recent[int(self.rng.integers(len(recent)))]

    def add(self, at: int) -> None:
        kind, name, new = int(self.rng.integers(9)), self.pick(), f"t{at}"
        shape = self.shapes[name]
        axis = int(self.rng.integers(4))
        if kind <= 2:
            perm = PERMS[int(self.rng.integers(len(PERMS)))]
            self.lines.append(f"{new} = Transpose<perm = [{', '.join(map(str, perm))}]>({name})")
            self.shapes[new] = tuple(shape[a] for a in perm)
        elif kind == 3:
            self.arrays[f"c{at}"] = random(*shape[3:], seed=at)
            self.lines.append(f"{new} = Add({name}, c{at})")
            self.shapes[new] = shape
        elif kind == 4:
            twins = [other for other, size in self.shapes.items() if size == shape]
            other = twins[int(self.rng.integers(len(twins)))]
            self.lines.append(f"{new} = Sub({name}, {other})")
            self.shapes[new] = shape
        elif kind == 5 and prod(shape) < 1000:
            self.lines.append(f"{new} = Concat<axis = {axis}>({name}, {name})")
            self.shapes[new] = tuple(2 * size if a == axis else size for a, size in enumerate(shape))
        elif kind == 6:
            self.lines.append(f"{new} = ReduceMax<axes = [{axis}, {(axis + 1) % 4}]>({name})")
            self.shapes[new] = tuple(1 if a in (axis, (axis + 1) % 4) else size for a, size in enumerate(shape))
        elif kind == 7 and shape[axis] > 1:
            self.arrays |= {f"s{at}": int64([1]), f"e{at}": int64([99]), f"a{at}": int64([axis])}
            self.lines.append(f"{new} = Slice({name}, s{at}, e{at}, a{at})")
            self.shapes[new] = tuple(size - 1 if a == axis else size for a, size in enumerate(shape))
        else:
            self.lines.append(f"{new} = Relu({name})")
            self.shapes[new] = shape

    def model(self) -> onnx.ModelProto:
        """The last tensors are outputs."""
        names = list(self.shapes)[-2:]
        self.lines += [f"y{at} = Neg({name})" for at, name in enumerate(names)]
        ports = ", ".join(f"float[{', '.join(map(str, self.shapes[name]))}] y{at}" for at, name in enumerate(names))
        return build(f"(float[2,3,4,5] x) => ({ports}) {{ {' '.join(self.lines)} }}", self.arrays)


def transposed(model: onnx.ModelProto) -> int:
    """Elements in all Transposes."""
    known = onnx.shape_inference.infer_shapes(model).graph
    sizes = {
        v.name: prod(d.dim_value for d in v.type.tensor_type.shape.dim) for v in (*known.value_info, *known.output)
    }
    return sum(sizes[node.output[0]] for node in nodes_of(model) if node.op_type == "Transpose")


@pytest.mark.parametrize("seed", range(40))
def test_random_layouts(seed: int) -> None:
    graph = Random(seed)
    for at in range(12):
        graph.add(at)
    _, alive, _ = run_pass(DeadCode(), graph.model())
    before, after, result = run_pass(MoveTransposes(), alive)
    same(before, after, signs=False)
    assert transposed(after) <= transposed(before)
    moved = [record for record in result.records if record.applied and record.rewrite == "move-transposes"]
    if moved:
        assert transposed(after) < transposed(before)


# ---- what exporters of channels-last frameworks write
def channels_last_net(blocks: int) -> onnx.ModelProto:
    """Every convolution between two Transposes; bias, activation, pooling and squeeze-excitation channels last."""
    arrays: dict[str, Any] = {"axes": int64([1, 2])}
    lines, last = [], "x"
    for at in range(blocks):
        conv = "t{0} = Transpose<perm = [0,3,1,2]>({1}) c{0} = Conv<pads = [1,1,1,1]>(t{0}, w{0})"
        lines.append(conv.format(at, last) + f" u{at} = Transpose<perm = [0,2,3,1]>(c{at})")
        lines.append(f"b{at} = Add(u{at}, k{at}) r{at} = Relu(b{at}) m{at} = ReduceMean<axes = [1, 2]>(r{at})")
        lines.append(f"g{at} = Sigmoid(m{at}) o{at} = Mul(r{at}, g{at}) j{at} = Concat<axis = 3>({last}, o{at})")
        arrays |= {f"w{at}": random(4, 3 + 4 * at, 3, 3, seed=at), f"k{at}": random(4, seed=at)}
        last = f"j{at}"
    lines.append(f"f = Flatten({last}) y = MatMul(f, dense)")
    arrays["dense"] = random(36 * (3 + 4 * blocks), 2)
    return build(f"(float[1,6,6,3] x) => (float[1,2] y) {{ {' '.join(lines)} }}", arrays)


def test_one_transpose_is_left_of_a_channels_last_network() -> None:
    before, middle, _ = run_pass(MoveTransposes(), channels_last_net(3))
    _, after, _ = run_pass(AbsorbTransposes(), middle)
    same(before, after, exact=False)
    assert sum(node.op_type == "Transpose" for node in before.graph.node) == 6
    assert sum(node.op_type == "Transpose" for node in after.graph.node) == 1
