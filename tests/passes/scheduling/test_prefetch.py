"""Weights that travel early: never into bytes that are taken, never for a loss."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import Schedule, peak_bytes
from roofwright.passes.base import Context
from roofwright.passes.scheduling import Kernels, PlaceTensors, PrefetchWeights, Tiles
from roofwright.targets import Target
from tests.scheduling import costed, modelled, scheduled, scratchpad, with_memory

# Long computations (the rows) beside weights of 64 KiB each: the port is idle while they run.
NET = modelled(
    "g (float[2048,128] x) => (float[2048,128] y) { a = MatMul(x, u)  b = MatMul(a, v)  y = MatMul(b, w) }",
    u=(128, 128),
    v=(128, 128),
    w=(128, 128),
)
FAST = 64e9  # bytes per second: 16 MAC per byte moved, so that computation is longer than transfers


def prepared(target: Target) -> Schedule:
    return scheduled(NET, target, Kernels(), Tiles(), PlaceTensors())


def test_weights_of_the_next_kernel_travel_during_this_one() -> None:
    target = scratchpad(8 << 20, FAST)
    before, after = prepared(target), scheduled(NET, target)
    loads = [(k.index, p.tensor, p.during) for k in after.kernels for p in k.prefetch]
    assert loads == [(1, "v", 0), (2, "w", 1)]  # each as late as it can be, so that it waits on chip shortest
    assert [p.bytes for k in after.kernels for p in k.prefetch] == [65536, 65536]
    first, second = (costed(NET, target, s).estimate() for s in (before, after))
    # Inputs lie on chip and weights stream: all that waited is the first slice of each kernel.
    waited = sum(65536 / tiles / FAST for tiles in first.cut.tiles[1:].tolist())
    assert abs(first.device_s - second.device_s - waited) < 1e-12
    assert second.off_chip_bytes == first.off_chip_bytes


def test_the_window_limits_how_far_ahead() -> None:
    target = scratchpad(8 << 20, FAST)
    near = scheduled(NET, target, Kernels(), Tiles(), PlaceTensors(), PrefetchWeights(window=1))
    assert [(k.index, p.during) for k in near.kernels for p in k.prefetch] == [(1, 0), (2, 1)]


def test_the_first_kernel_has_nobody_before_it() -> None:
    assert scheduled(NET, scratchpad(8 << 20, FAST)).kernels[0].prefetch == ()


def test_a_port_that_is_never_idle_carries_nothing_early() -> None:
    slow = scheduled(NET, scratchpad(8 << 20, 1e6), Kernels(), Tiles(), PrefetchWeights())
    assert not any(kernel.prefetch for kernel in slow.kernels)


def test_a_cache_is_left_alone() -> None:
    target = with_memory(scratchpad(8 << 20), managed="cache")
    ctx = Context(target=target, model=NET).with_schedule(scheduled(NET, target, Kernels(), Tiles()))
    assert PrefetchWeights().run(None, ctx).schedule is None  # type: ignore[arg-type]  # the context has the model


def test_weights_that_have_no_place_are_not_loaded_early() -> None:
    target = with_memory(scratchpad(8 << 20, FAST), holds=("activations",))
    assert not any(kernel.prefetch for kernel in scheduled(NET, target).kernels)


@given(
    capacity=st.integers(16, 23).map(lambda power: 2**power),
    rate=st.integers(30, 38).map(lambda power: float(2**power)),
    setup_s=st.sampled_from([0.0, 1e-7]),
)
def test_it_fits_and_never_loses(capacity: int, rate: float, setup_s: float) -> None:
    target = scratchpad(capacity, rate)
    target = replace(target, memories=(target.memories[0], replace(target.memories[1], setup_s=setup_s)))
    before, after = prepared(target), scheduled(NET, target)
    assert all(total <= capacity for total in peak_bytes(after, "sram"))
    first, second = (costed(NET, target, s).estimate().latency_s for s in (before, after))
    assert second <= first * (1 + 1e-9)
