"""Whole networks of the zoo, at reduced resolution, run tile by tile and strip by strip on every scratchpad machine."""

import pytest

from roofwright.targets import load_target, target_names
from tests.machine.networks import NETWORKS, ran
from tests.machine.targets import TARGETS

EXPLICIT = [
    name for name in target_names() if (level := load_target(name).on_chip) is not None and level.managed == "explicit"
]


@pytest.mark.slow
@pytest.mark.parametrize("target", EXPLICIT)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_run_on_every_machine_with_a_scratchpad(name: str, target: str) -> None:
    ran(NETWORKS[name](size=64), load_target(target))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_networks_run_where_the_scratchpad_is_tight(name: str) -> None:
    assert len(ran(NETWORKS[name](size=64), TARGETS["array-64k"]).strips) > 0
