"""Loop nests of every kind on GPU engines: invariants, and the vectorised path against one nest at a time."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofwright.cost_model import simt
from roofwright.cost_model.library import kernel_time
from roofwright.cost_model.simt_conv import Direction
from roofwright.cost_model.simt_machine import NEUTRAL
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from roofwright.targets import load_stack, load_target, stack_names
from tests.cost_model import gpus
from tests.cost_model.nests import loop_nests

V100 = load_target("v100")
CASES = [("sm", "float32"), ("tensor", "float16"), ("sm", "int8")]
LEAST = 36 / 144  # multiplications of F(4x4, 3x3) over those of the direct algorithm


def _time(nests: Nests, engine: str, dtype: str) -> simt.SimtTime:
    return simt.time(nests, V100.engine(engine), V100, dtype)


@given(st.lists(loop_nests(), min_size=1, max_size=12), st.sampled_from(CASES))
@settings(max_examples=60, deadline=None)
def test_all_at_once_equals_one_by_one(nests: list[LoopNest], case: tuple[str, str]) -> None:
    together = _time(Nests.of(nests), *case)
    for field in simt.SimtTime.__dataclass_fields__:
        alone = np.concatenate([getattr(_time(Nests.of([nest]), *case), field) for nest in nests])
        assert np.array_equal(getattr(together, field), alone), field


@given(loop_nests(), st.sampled_from(CASES), st.sampled_from(["forward", "data", "weights"]))
@settings(max_examples=120, deadline=None)
def test_invariants(nest: LoopNest, case: tuple[str, str], direction: Direction) -> None:
    times = simt.time(Nests.of([nest]), V100.engine(case[0]), V100, case[1], direction=direction)
    assert times.busy_s[0] >= times.padded_s[0] * (1 - 1e-12)
    assert times.busy_s[0] >= times.ideal_s[0] * LEAST
    assert times.off_chip_factor[0] >= 1
    assert 0 <= times.serial_s[0] <= times.busy_s[0]
    assert times.split_k[0] >= 1
    assert times.algorithm[0] != "unsupported"


@given(loop_nests(), st.sampled_from(CASES), st.floats(1.0, 4.0))
@settings(max_examples=60, deadline=None)
def test_a_faster_clock_is_never_slower(nest: LoopNest, case: tuple[str, str], clock: float) -> None:
    nests = Nests.of([nest])
    faster = [dataclasses.replace(e, clock_hz=e.clock_hz * clock) for e in V100.engines]
    quick = dataclasses.replace(V100, engines=tuple(faster), power=None)
    slow_s = kernel_time(nests, V100, case[1])[0]
    assert kernel_time(nests, quick, case[1])[0] <= slow_s * (1 + 1e-9)


def test_recurrent_steps_wait_for_each_other() -> None:
    once, often = (Nests.of([LoopNest(out_h=64, out_channels=512, in_channels=512, in_h=64, steps=s)]) for s in (1, 10))
    one, ten = _time(once, "sm", "float32"), _time(often, "sm", "float32")
    assert ten.busy_s[0] == pytest.approx(10 * one.busy_s[0] + 9 * V100.stack.launch_s)


def test_a_foreign_dtype_or_engine_is_impossible() -> None:
    assert np.isinf(_time(Nests.gemm(8, 8, 8), "tensor", "float32").busy_s).all()
    cpu = load_target("haswell_e5_2699v3")
    assert np.isinf(simt.time(Nests.gemm(8, 8, 8), cpu.engines[0], cpu, "float32").busy_s).all()


def test_no_nests_cost_nothing() -> None:
    assert len(_time(Nests.of([]), "sm", "float32").busy_s) == 0


def test_chunks_join_up(monkeypatch: pytest.MonkeyPatch) -> None:
    nests = Nests.gemm(np.arange(1, 40), 100, 300)
    whole = _time(nests, "sm", "float32")
    monkeypatch.setattr(simt, "_CHUNK", 7)
    assert np.array_equal(_time(nests, "sm", "float32").busy_s, whole.busy_s)


def test_a_gradient_of_a_product_is_a_product() -> None:
    made = gpus.target()
    m, n, k = 320, 128, 256
    cases: list[tuple[Direction, tuple[int, int, int]]] = [("data", (m, k, n)), ("weights", (k, n, m))]
    for direction, sides in cases:
        got = simt.time(Nests.gemm(m, n, k), made.engines[0], made, "float32", direction=direction)
        want = simt.time(Nests.gemm(*sides), made.engines[0], made, "float32")
        assert got.busy_s[0] == want.busy_s[0]


def test_partial_sums_beyond_the_cache_count_as_traffic() -> None:
    made = gpus.target(l2_bytes=1 << 14, gpu_split_depth=8.0)
    times = simt.time(Nests.gemm(64, 64, 80_000), made.engines[0], made, "float32")
    moved = 4 * (2 * 64 * 80_000 + 64 * 64)
    split = times.split_k[0]
    assert split > 1
    assert times.off_chip_factor[0] == pytest.approx(1 + 2 * split * 64 * 64 * 4 / moved)


def test_shipped_stacks_name_only_known_constants() -> None:
    named = {name for stack in stack_names() for name in load_stack(stack).constants if name.startswith("gpu_")}
    assert named <= set(NEUTRAL)
    assert "gpu_split_depth" in named
