"""Depth-first kernels against figures that others published or measured (ORACLES O6, O7)."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import onnx
import pytest

from roofwright.cost_model import GraphModel, estimate
from roofwright.cost_model.kernels import gather
from roofwright.cost_model.strip_cost import StripCost, peak_of, strip_cost
from roofwright.cost_model.strips import Cut, Strips, space_stack
from roofwright.graph import read
from roofwright.passes import Options, optimize_graph
from roofwright.targets import Assumption, Target
from tests.builders import model
from tests.scheduling import scratchpad
from tests.shared import ORACLES, needs_oracles

KIB = 1024
VGG = """agraph (float[1,3,{size},{size}] x) => (float[1,256,{last},{last}] y) {{
    a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w0)
    b = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (a, w1)
    p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (b)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (p, w2)
    d = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (c, w3)
    q = MaxPool <kernel_shape = [2,2], strides = [2,2]> (d)
    y = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (q, w4) }}"""


def int8(capacity_bytes: int, bytes_per_s: float = 1e9) -> Target:
    """A machine of 32 MACs per ns whose scratchpad and memory hold one byte per number."""
    target = scratchpad(capacity_bytes, bytes_per_s)
    return replace(target, assume={"float32": Assumption(storage="int8", multiply="float32")})


def whole_in_strips(proto: onnx.ModelProto, cut: Cut, target: Target) -> tuple[StripCost, float]:
    """A graph as one kernel in strips, and the bytes of its results."""
    graph = GraphModel.of(read(proto))
    works = [work for work in graph.works if work.work.kind != "view"]
    (kernel,) = gather([works], graph.works, graph.outputs)
    stack = space_stack(graph.maps, works, frozenset(operand.name for operand in kernel.writes))
    assert stack is not None
    width = 1 if target.assume else 4
    return strip_cost(Strips.of(stack, cut), kernel, (), target), width * sum(o.elements for o in kernel.writes)


def feature_map_buffers(cost: StripCost) -> int:
    """The most bytes on chip, constants left out."""
    maps = [buffer for buffer in cost.buffers if buffer.tensor in cost.strips.stack.grids]
    return peak_of(maps, len(cost.strips.stack.steps))


def test_the_first_five_convolutions_of_vgg_e_in_pyramids() -> None:
    """Alwani et al., MICRO 2016: 3.6 MB of feature maps instead of 77 MB per image, with 362 KB on chip.

    Their megabytes are binary: 3.64 MiB are the input and the result once each. Feature maps layer by layer, with each
    pool behind its convolution, are 51,982,336 bytes.
    """
    proto = model(
        VGG.format(size=224, last=56),
        w0=(64, 3, 3, 3),
        w1=(64, 64, 3, 3),
        w2=(128, 64, 3, 3),
        w3=(128, 128, 3, 3),
        w4=(256, 128, 3, 3),
    )
    cost, result_bytes = whole_in_strips(proto, Cut(1, 1, "both"), scratchpad(4 << 20))
    assert cost.input_bytes + result_bytes == 3_813_376
    assert (cost.input_bytes + result_bytes) / 51_982_336 <= 1 - 0.926
    assert feature_map_buffers(cost) <= 362 * KIB
    assert cost.weight_bytes == 2_218_752  # held in a buffer of their own
    assert cost.lane_factors == (1.0,) * 7  # nothing is made twice


@pytest.mark.parametrize(("halo", "again"), [("both", False), ("rows", True), ("recompute", True)])
def test_what_strips_make_again_is_what_they_share(halo: Any, again: bool) -> None:
    shapes: dict[str, Any] = {f"w{at}": (8, 8 if at else 3, 3, 3) for at in range(4)} | {"w4": (256, 8, 3, 3)}
    cost, _ = whole_in_strips(model(VGG.format(size=32, last=8), **shapes), Cut(4, 4, halo), scratchpad(4 << 20))
    # From 4 back: 3x3 needs 6 of q, 12 of d, 14 of c, 16 of p, 32 of b: all of it, at the border 5, 10, 11, 12, 24, 25.
    made = {"both": (32, 32), "rows": (32, 50), "recompute": (50, 50)}[halo]
    assert cost.lane_factors[0] == pytest.approx(made[0] * made[1] / 32**2)
    assert cost.lane_factors[6] == 1.0
    assert (cost.lane_factors[0] > 1) is again


def _block(block: Mapping[str, Any]) -> onnx.ModelProto:
    size, hidden, stride = block["H"], block["hidden"], block["stride"]
    out = size // stride
    expand = hidden != block["cin"]
    lines = ["e = Conv <kernel_shape = [1,1]> (x, w0)"] if expand else []
    lines.append(
        f"d = Conv <kernel_shape = [3,3], pads = [1,1,1,1], strides = [{stride},{stride}], group = {hidden}> "
        f"({'e' if expand else 'x'}, w1)"
    )
    lines.append(f"{'p' if block['residual'] else 'y'} = Conv <kernel_shape = [1,1]> (d, w2)")
    lines += ["y = Add (p, x)"] if block["residual"] else []
    text = f"agraph (float[1,{block['cin']},{size},{size}] x) => (float[1,{block['cout']},{out},{out}] y) {{"
    weights: dict[str, Any] = {"w1": (hidden, 1, 3, 3), "w2": (block["cout"], hidden, 1, 1)}
    weights |= {"w0": (hidden, block["cin"], 1, 1)} if expand else {}
    return model("\n".join([text, *lines, "}"]), **weights)


@needs_oracles
def test_every_inverted_residual_moves_its_input_result_and_weights() -> None:
    blocks = json.loads((ORACLES / "fusion.json").read_text())["mobilenetv2_blocks_b1"]["blocks"]
    assert len(blocks) == 17
    for block in blocks:
        cost, result_bytes = whole_in_strips(_block(block), Cut(1, None, "both"), int8(1 << 20))
        assert cost.weight_bytes + cost.input_bytes + result_bytes == block["fused"]
        # The figure has single buffers: a strip's input and result wait in theirs while others are loaded and stored.
        size, stride = block["H"], block["stride"]
        waiting = (2 * stride - 1) * size * block["cin"] + size // stride * block["cout"]
        assert feature_map_buffers(cost) <= block["line_buffer"] + waiting
        assert cost.lane_factors == (1.0,) * len(cost.lane_factors)


def moved(name: Any, target: Target) -> tuple[float, float]:
    """Bytes off chip of the schedule, and those of weights, inputs and outputs once each."""
    graph, report = optimize_graph(read(name), target, Options(check=False))
    now = estimate(GraphModel.of(graph), target, report.schedule)
    assert now.device_s <= report.before.device_s
    return float(now.moved.total_bytes.sum()), float(now.bound.off_chip_bytes)


def test_mobilenet_v2_on_a_small_machine_moves_less_than_with_all_blocks_fused() -> None:
    """5.63 MB with every inverted residual fused and nothing else kept, 17.57 MB layer by layer."""
    found, floor = moved("zoo:mobilenet_v2", int8(128 * KIB))
    assert floor <= found <= 5_632_744


# 1024 MACs and 8 bytes of DRAM a cycle; 1 MiB on chip for what has 1 MiB and 64 KiB (activations), 1 MiB and 32 KiB
# (weights) there.
DEFINES = int8(1 << 20, 0.25e9)
FSRCNN = """agraph (float[1,1,554,974] x) => (float[1,16,540,960] y) {
    a = Conv <kernel_shape = [5,5]> (x, w0)
    ar = Relu (a)
    b = Conv <kernel_shape = [1,1]> (ar, w1)
    br = Relu (b)
    c = Conv <kernel_shape = [3,3]> (br, w2)
    cr = Relu (c)
    d = Conv <kernel_shape = [3,3]> (cr, w3)
    dr = Relu (d)
    e = Conv <kernel_shape = [3,3]> (dr, w4)
    er = Relu (e)
    f = Conv <kernel_shape = [3,3]> (er, w5)
    fr = Relu (f)
    g = Conv <kernel_shape = [1,1]> (fr, w6)
    gr = Relu (g)
    y = Conv <kernel_shape = [3,3]> (gr, w7) }"""


def test_fsrcnn_moves_no_more_than_the_depth_first_schedule_of_defines() -> None:
    """DeFiNES (HPCA 2023) on its Meta-prototype-like machine: 8.85 M elements, 205 M layer by layer."""
    shapes = ((56, 1, 5, 5), (12, 56, 1, 1), *((12, 12, 3, 3),) * 4, (56, 12, 1, 1), (16, 56, 3, 3))
    weights: dict[str, Any] = {f"w{at}": shape for at, shape in enumerate(shapes)}
    proto = model(FSRCNN, **weights)
    found, floor = moved(proto, DEFINES)
    assert found == floor == 554 * 974 + 540 * 960 * 16 + 15_992


def test_mobilenet_v1_moves_no_more_than_the_depth_first_schedule_of_defines() -> None:
    """DeFiNES on the same machine: 5.71 M elements, 39.2 M layer by layer."""
    found, floor = moved("zoo:mobilenet_v1", DEFINES)
    assert floor <= found <= 5_710_000
