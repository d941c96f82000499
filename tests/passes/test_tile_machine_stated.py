"""Tilings along several loops, stated by hand: halos loaded again, operands re-fetched, partial sums spilled."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import onnx
import pytest

from roofwright.cost_model import Costing, GraphModel, Loop, Tiling
from roofwright.graph import read, run_model
from roofwright.passes import Options, optimize_graph
from roofwright.passes.scheduling.buffers import bare, with_buffers
from tests.builders import feeds, model
from tests.machine.machine import Machine, Outcome
from tests.machine.targets import TARGETS

LOOPS: tuple[Loop, ...] = ("rows", "out_channels", "in_channels")
TARGET = TARGETS["array-1m"]


def _conv(attributes: str, groups: int = 1, height: int = 9) -> onnx.ModelProto:
    text = f"""agraph (float[2,12,{height},7] x, float[2,8,9,7] r) => (float[2,8,9,7] y) {{
        a = Conv <kernel_shape = [3,3], {attributes}, group = {groups}> (x, w, b)
        c = Add (a, r)
        y = Relu (c) }}"""
    return model(text, w=(8, 12 // groups, 3, 3), b=(8,))


def _gemm() -> onnx.ModelProto:
    return model("agraph (float[13,30] x) => (float[13,18] y) { y = Gemm (x, w, b) }", w=(30, 18), b=(18,))


def _products() -> onnx.ModelProto:
    return model("agraph (float[3,10,12] x, float[3,12,9] z) => (float[3,10,9] y) { y = MatMul (x, z) }")


MODELS = {
    "overlapping": _conv("pads = [1,1,1,1]"),
    "dilated": _conv("pads = [2,1,2,1], dilations = [2,1]"),
    "strided": _conv("pads = [1,1,1,1], strides = [2,1]", height=18),
    "grouped": _conv("pads = [1,1,1,1]", groups=2),
    "gemm": _gemm(),
    "products": _products(),
}


def _run(name: str, tiling: Tiling) -> tuple[Costing, Outcome]:
    graph, report = optimize_graph(read(MODELS[name]), TARGET, Options(check=False))
    assert report.schedule is not None
    start = bare(report.schedule)
    stated = replace(start, kernels=(replace(start.kernels[0], tilings=(tiling,)),))
    costing = Costing.of(GraphModel.of(graph), TARGET, stated)
    schedule, homeless = with_buffers(stated, costing, [])
    assert not homeless
    machine = Machine(graph, TARGET, schedule)
    return machine.costing, machine.run(feeds(MODELS[name]))


def _tilings(name: str) -> list[Tiling]:
    rng = np.random.default_rng(5)
    extents = {"gemm": (13, 18, 30), "products": (10, 9, 12), "grouped": (18, 4, 6)}.get(name, (18, 8, 12))
    found = []
    for order in permutations(LOOPS):
        sizes = {loop: int(rng.integers(1, extent + 1)) for loop, extent in zip(LOOPS, extents, strict=True)}
        if name not in ("gemm", "products") and sizes["rows"] > 9:
            sizes["rows"] = 18  # whole images
        found.append(Tiling(level="scratch", order=order, tile={loop: sizes[loop] for loop in order}))
    return found


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("name", MODELS)
def test_stated_tilings_run_and_move_what_is_priced(name: str, at: int) -> None:
    tiling = _tilings(name)[at]
    copies = {"grouped": 2, "products": 3}.get(name)
    if copies is not None:
        tiling = replace(tiling, order=("repeat", *tiling.order), tile={"repeat": 1, **tiling.tile})
    costing, outcome = _run(name, tiling)
    for output, value in run_model(MODELS[name], feeds(MODELS[name])).items():
        np.testing.assert_allclose(outcome.outputs[output], value, atol=1e-4, rtol=1e-4)
    moved, ran = costing.moved, outcome.kernels[0]
    assert outcome.peak_bytes <= costing.estimate().on_chip_bytes
    assert ran.tiles == costing.cut.tiles[0]
    assert ran.weight_bytes == moved.weight_bytes[0]
    assert ran.output_bytes == moved.output_bytes[0]
    assert ran.input_bytes == moved.input_bytes[0]


def test_partial_sums_are_spilled_where_the_reduction_is_outside() -> None:
    tile: dict[Loop, int] = {"out_channels": 8, "in_channels": 5, "rows": 3}
    costing, outcome = _run("overlapping", Tiling(level="scratch", order=tuple(tile), tile=tile))
    results = 2 * 8 * 9 * 7 * 4
    assert outcome.kernels[0].spilled_bytes == 2 * results
    assert costing.moved.output_bytes[0] == 3 * results
