"""Blocks: which kernels run as one, and that it never costs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofwright.cost_model import GraphModel, Schedule, check_capacity, estimate
from roofwright.graph import read
from roofwright.passes import Options, optimize_graph
from roofwright.passes.base import Context
from roofwright.passes.scheduling import FuseBlocks, Kernels, PlaceTensors, PrefetchWeights, Tiles
from roofwright.targets import Target, load_target
from tests.scheduling import modelled, scheduled, scratchpad, with_memory

PAIR = modelled(
    "g (float[1,16,32,32] x) => (float[1,16,32,32] y) {"
    " a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, u)  b = Relu (a)"
    " y = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (b, w) }",
    u=(32, 16, 3, 3),
    w=(16, 32, 3, 3),
)
SKIP = modelled(
    "g (float[1,16,32,32] x) => (float[1,16,32,32] y) {"
    " a = Conv <kernel_shape = [1,1]> (x, u)  b = Relu (a)"
    " c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 64> (b, v)  d = Relu (c)"
    " e = Conv <kernel_shape = [1,1]> (d, w)  y = Add (e, x) }",
    u=(64, 16, 1, 1),
    v=(64, 1, 3, 3),
    w=(16, 64, 1, 1),
)
SQUEEZE = modelled(
    "g (float[1,16,32,32] x) => (float[1,16,32,32] y) {"
    " a = Conv <kernel_shape = [1,1]> (x, u)"
    " c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 64> (a, v)"
    " p = GlobalAveragePool (c)  q = Sigmoid (p)  d = Mul (c, q)"
    " y = Conv <kernel_shape = [1,1]> (d, w) }",
    u=(64, 16, 1, 1),
    v=(64, 1, 3, 3),
    w=(16, 64, 1, 1),
)
TRUNK = modelled(
    "g (float[1,16,32,32] x) => (float[1,48,32,32] y) {"
    " a = Conv <kernel_shape = [1,1]> (x, u)  b = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, v)"
    " m = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (x)  y = Concat <axis = 1> (a, b, m) }",
    u=(16, 16, 1, 1),
    v=(16, 16, 3, 3),
)
ATTENTION = modelled(
    "g (float[4,256,32] q, float[4,32,256] k, float[4,256,32] v) => (float[4,256,32] y) {"
    " s = MatMul (q, k)  p = Softmax (s)  y = MatMul (p, v) }"
)
NETS = {"pair": PAIR, "skip": SKIP, "squeeze": SQUEEZE, "trunk": TRUNK, "attention": ATTENTION}
SLOW = 2e8  # bytes per second: transfers are what counts


def fused(graph: GraphModel, target: Target) -> tuple[Schedule, Schedule]:
    """The schedule before and after the pass."""
    before = scheduled(graph, target, Kernels(), Tiles(), PlaceTensors(), PrefetchWeights())
    ctx = Context(target=target, model=graph, schedule=before)
    after = FuseBlocks().run(None, ctx).schedule  # type: ignore[arg-type]  # the context has the model
    return before, after or before


def ops(schedule: Schedule) -> list[str]:
    return ["+".join(node.op for node in kernel.nodes) for kernel in schedule.kernels]


def moved(graph: GraphModel, target: Target, schedule: Schedule) -> float:
    return float(estimate(graph, target, schedule).moved.total_bytes.sum())


def test_a_block_with_its_skip_moves_input_weights_and_result() -> None:
    target = scratchpad(96 << 10, SLOW)
    before, after = fused(SKIP, target)
    assert ops(after) == ["Conv+Relu+Conv+Relu+Conv+Add"]
    assert moved(SKIP, target, after) == 4 * (2 * 16 * 32 * 32 + 2 * 16 * 64 + 64 * 9) < moved(SKIP, target, before)


def test_strips_have_full_width_where_that_fits() -> None:
    (kernel,) = fused(PAIR, scratchpad(96 << 10, SLOW))[1].kernels
    assert (kernel.halo, kernel.strip_columns) == ("both", None)
    assert 1 <= (kernel.strip_rows or 0) < 32


def test_narrow_strips_make_columns_again_where_lines_do_not_fit() -> None:
    wide = modelled(
        "g (float[1,8,32,512] x) => (float[1,8,32,512] y) {"
        " a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, u)"
        " b = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (a, v)"
        " y = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (b, w) }",
        u=(16, 8, 3, 3),
        v=(16, 16, 3, 3),
        w=(8, 16, 3, 3),
    )
    target = scratchpad(128 << 10, SLOW)
    before, after = fused(wide, target)
    assert any(kernel.halo == "rows" and kernel.strip_columns for kernel in after.kernels)
    assert moved(wide, target, after) < moved(wide, target, before)


def test_a_reduction_of_a_whole_map_splits_a_block_in_two_phases() -> None:
    target = scratchpad(384 << 10, SLOW)
    _, after = fused(SQUEEZE, target)
    assert not any("GlobalAveragePool" in kernel and "+" in kernel for kernel in ops(after))
    floor = estimate(SQUEEZE, target, after).bound.off_chip_bytes
    assert moved(SQUEEZE, target, after) == floor  # what the pool reads stays for the Mul behind it


def test_branches_read_their_common_input_once() -> None:
    target = scratchpad(48 << 10, SLOW)
    _, after = fused(TRUNK, target)
    assert len(after.kernels) == 1
    assert moved(TRUNK, target, after) == estimate(TRUNK, target, after).bound.off_chip_bytes


def test_attention_never_stores_its_scores() -> None:
    target = scratchpad(192 << 10, SLOW)
    _, after = fused(ATTENTION, target)
    assert ops(after) == ["MatMul+Softmax+MatMul"]
    assert moved(ATTENTION, target, after) == 4 * 4 * 4 * 256 * 32


def test_where_everything_moves_once_already_nothing_is_done() -> None:
    target = scratchpad(4 << 20, SLOW)
    before, after = fused(PAIR, target)
    assert after is before


@pytest.mark.parametrize("machine", ["tpuv2", "kirin970"])
@pytest.mark.parametrize("size", ["0,4,8,8", "1,4,0,8", "1,4,8,0"])
def test_an_empty_tensor_is_cut_into_no_strips(size: str, machine: str) -> None:
    text = f"g (float[{size}] x) => (float[{size}] y) {{ a = Conv (x, w)  b = Relu (a)  y = Conv (b, w) }}"
    _, schedule = fused(modelled(text, w=(4, 4, 1, 1)), load_target(machine))
    assert [kernel.strip_rows for kernel in schedule.kernels] == [None] * len(schedule.kernels)


def test_a_cache_is_left_alone() -> None:
    target = with_memory(scratchpad(64 << 10, SLOW), managed="cache")
    assert fused(SKIP, target)[1] == fused(SKIP, target)[0]


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(NETS)),
    capacity=st.integers(12, 20).map(lambda power: 2**power),
    rate=st.integers(26, 34).map(lambda power: float(2**power)),
    setup_s=st.sampled_from([0.0, 1e-7]),
)
def test_it_fits_and_never_loses(name: str, capacity: int, rate: float, setup_s: float) -> None:
    target = scratchpad(capacity, rate)
    target = replace(target, memories=(target.memories[0], replace(target.memories[1], setup_s=setup_s)))
    before, after = fused(NETS[name], target)
    check_capacity(after, target)
    first, second = (estimate(NETS[name], target, schedule).latency_s for schedule in (before, after))
    assert second <= first


def test_more_on_chip_memory_never_moves_more() -> None:
    """O8 along capacities: figures of the whole planning, for a block that outgrows its memory."""
    targets = [scratchpad(1 << power, SLOW) for power in range(14, 21)]
    found = [moved(SKIP, target, fused(SKIP, target)[1]) for target in targets]
    assert found == sorted(found, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tpuv1", "tpuv2"])
@pytest.mark.parametrize(
    "name", ["mobilenet_v1", "mobilenet_v2", "squeezenet", "resnet18", "resnet50", "shufflenet_v2"]
)
def test_networks_that_fit_send_no_activation_to_memory(name: str, target: str) -> None:
    machine = load_target(target)
    graph, report = optimize_graph(read(f"zoo:{name}"), machine, Options(check=False))
    now = estimate(GraphModel.of(graph), machine, report.schedule)
    kernels, kept = now.kernels, now.costing.held.kept
    made = {operand.name for kernel in kernels for operand in kernel.writes}
    for kernel, here in zip(kernels, kept, strict=True):
        assert all(o.name in here for o in kernel.reads if o.name in made)
        assert all(o.name in here or o.name in now.costing.outputs for o in kernel.writes)
    ends = sum(now.costing.bytes_of(o) for k in kernels for o in k.reads if not o.constant and o.name not in made)
    assert np.sum(now.moved.input_bytes) == ends
