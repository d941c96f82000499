"""A machine with fewer cores at work."""

import pytest

from roofwright.targets import load_target, with_cores

WHOLE = load_target("cortex_a72")  # four cores


@pytest.mark.parametrize(("cores", "drawn"), [(1, 0.5), (2, 1.0), (3, 1.0), (4, 1.0)])
def test_caches_shrink_with_the_cores_and_one_core_draws_half_the_memory(cores: int, drawn: float) -> None:
    part = with_cores(WHOLE, cores)
    assert part.engines[0].count == cores
    assert part.memories[0].capacity_bytes == WHOLE.memories[0].capacity_bytes * cores // 4
    assert part.memories[1].capacity_bytes == WHOLE.memories[1].capacity_bytes  # shared
    rates = [new.bytes_per_s / old.bytes_per_s for new, old in zip(part.memories, WHOLE.memories, strict=True)]
    assert rates == [cores / 4, cores / 4, drawn]


def test_all_cores_are_the_machine() -> None:
    assert with_cores(WHOLE, 4) == WHOLE
