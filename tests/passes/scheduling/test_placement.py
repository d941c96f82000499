"""What stays on chip and where: within the capacity at every kernel, as long as it is read, sharing no byte."""

from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import GraphModel, Schedule, peak_bytes
from roofwright.passes.base import Context
from roofwright.passes.scheduling import Kernels, PlaceTensors, Tiles
from roofwright.passes.scheduling.placement import candidates, choose
from tests.scheduling import costed, modelled, scheduled, scratchpad, with_memory

# Four kernels of 1,000 floats each; `a` is read again by the last one.
SKIP = modelled(
    "g (float[10,100] x) => (float[10,100] y) {"
    " a = Exp(x)  b = Softmax(a)  c = Softmax(b)  d = Softmax(c)  y = Add(d, a) }"
)
CHAIN = modelled(
    "g (float[64,256] x) => (float[64,16] y) { a = MatMul(x, u)  b = MatMul(a, v)  y = MatMul(b, w) }",
    u=(256, 128),
    v=(128, 64),
    w=(64, 16),
)


def placed(graph: GraphModel, capacity_bytes: int) -> Schedule:
    return scheduled(graph, scratchpad(capacity_bytes), Kernels(), Tiles(), PlaceTensors())


def residents(schedule: Schedule) -> dict[str, tuple[int, int]]:
    """Tensor -> first and last kernel."""
    return {b.tensor: (k.index, b.until or 0) for k in schedule.kernels for b in k.resident}


def test_everything_stays_where_there_is_room() -> None:
    assert residents(placed(SKIP, 1 << 20)) == {"a": (0, 4), "b": (1, 2), "c": (2, 3), "d": (3, 4)}


def test_nothing_stays_where_there_is_none() -> None:
    assert residents(placed(SKIP, 2048)) == {}


def test_the_tensor_that_saves_most_for_its_room_comes_first() -> None:
    target = scratchpad(1 << 20)
    found = candidates(costed(SKIP, target, scheduled(SKIP, target, Kernels())))
    saving = {resident.tensor: share for resident, share in found}
    # `a`: one store and two loads over five kernels; the others a store and a load over two.
    assert saving == {"a": 3 / 5, "b": 2 / 2, "c": 2 / 2, "d": 2 / 2}
    order = [resident.tensor for resident in choose(costed(SKIP, target, scheduled(SKIP, target, Kernels())), 1 << 20)]
    assert order == ["b", "c", "d", "a"]


def test_outputs_and_inputs_do_not_stay() -> None:
    graph = modelled("g (float[100] x) => (float[100] a, float[100] y) { a = Softmax(x)  y = Softmax(a) }")
    assert residents(placed(graph, 1 << 20)) == {}


def test_an_output_behind_a_view_does_not_stay() -> None:
    graph = modelled(
        "g (float[10,10] x) => (float[10,10] v, float[10,10] y) { a = Softmax(x)  v = Identity(a)  y = Softmax(a) }"
    )
    assert residents(placed(graph, 1 << 20)) == {}


def test_a_cache_is_left_alone() -> None:
    target = with_memory(scratchpad(1 << 20), managed="cache")
    ctx = Context(target=target, model=SKIP).with_schedule(scheduled(SKIP, target, Kernels()))
    assert PlaceTensors().run(None, ctx).schedule is None  # type: ignore[arg-type]  # the context has the model


def test_a_memory_for_weights_alone_keeps_no_tensors() -> None:
    target = with_memory(scratchpad(1 << 20), holds=("weights",))
    assert residents(scheduled(SKIP, target, Kernels(), Tiles(), PlaceTensors())) == {}


def test_records_say_what_stays() -> None:
    ctx = Context(target=scratchpad(1 << 20), model=SKIP)
    ctx = ctx.with_schedule(scheduled(SKIP, scratchpad(1 << 20), Kernels()))
    records = PlaceTensors().run(None, ctx).records  # type: ignore[arg-type]  # the context has the model
    assert {r.anchor for r in records if r.applied} == {"a", "b", "c", "d"}


@given(st.integers(10, 20).map(lambda power: 2**power), st.sampled_from([SKIP, CHAIN]))
def test_what_lives_together_fits(capacity: int, graph: GraphModel) -> None:
    schedule = placed(graph, capacity)  # building it checks addresses, `scheduled` the capacity
    assert all(total <= capacity for total in peak_bytes(schedule, "sram"))
    target = scratchpad(capacity)
    before, after = (costed(graph, target, s).estimate() for s in (None, schedule))
    assert after.latency_s <= before.latency_s * (1 + 1e-9)
    assert after.off_chip_bytes <= before.off_chip_bytes


@given(st.integers(10, 20).map(lambda power: 2**power))
def test_every_tensor_stays_until_its_last_reader(capacity: int) -> None:
    last = {"a": 4, "b": 2, "c": 3, "d": 4}
    assert all(until == last[name] for name, (_, until) in residents(placed(SKIP, capacity)).items())
