"""The accounting identity: causes telescope to the total, for the network and for every kernel."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import CAUSES, Evaluations

SECONDS = st.lists(st.floats(0, 1e3, allow_subnormal=False), min_size=3, max_size=3).map(np.array)
EVALUATIONS = st.builds(
    Evaluations,
    ideal_s=SECONDS,
    shaped_s=SECONDS,
    busy_s=SECONDS,
    roofline_s=SECONDS,
    timeline_s=SECONDS,
    overhead_s=SECONDS,
    link_s=st.floats(0, 10),
    request_s=st.floats(0, 10),
)


@given(EVALUATIONS)
def test_causes_and_the_ideal_sum_to_the_total(made: Evaluations) -> None:
    totals = made.totals()
    assert abs(totals[0] + sum(made.causes().values()) - totals[-1]) <= 1e-12 * max(totals)


@given(EVALUATIONS)
def test_causes_of_a_kernel_sum_to_its_seconds(made: Evaluations) -> None:
    found = made.ideal_s + sum(made.by_kernel().values())
    steps = (made.ideal_s, made.shaped_s, made.busy_s, made.roofline_s, made.timeline_s, found)
    scale = max(float(np.max(step)) for step in steps)
    assert np.all(np.abs(found - made.timeline_s - made.overhead_s) <= 1e-12 * scale)


@given(EVALUATIONS)
def test_kernels_causes_sum_to_the_networks_but_for_link_and_request(made: Evaluations) -> None:
    network, kernels = made.causes(), made.by_kernel()
    for name, _ in CAUSES:
        apart = {"input": made.link_s, "overhead": made.request_s}.get(name, 0.0)
        assert abs(float(kernels[name].sum()) + apart - network[name]) <= 1e-9 * max(1.0, *made.totals())


def test_each_cause_is_the_step_of_its_name() -> None:
    one = np.array([1.0])
    made = Evaluations(one, 2 * one, 4 * one, 8 * one, 7 * one, 0.5 * one, 3.0, 0.25)
    assert list(made.causes().items()) == [
        ("special unit", 1.0),
        ("parallelism", 2.0),
        ("memory", 4.0),
        ("overlap", -1.0),
        ("input", 3.0),
        ("overhead", 0.75),
    ]
    assert made.totals() == (1.0, 2.0, 4.0, 8.0, 7.0, 10.0, 10.75)
