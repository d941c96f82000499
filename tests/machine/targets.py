"""Small machines with scratchpads so tight that tiles, residents, prefetches and searched tilings really occur."""

from dataclasses import replace

from roofwright.targets import Engine, Target
from tests.cost_model.machines import array, cores, machine, memory, stack

KIB = 1024
_FUSES = ("bias", "activation", "residual", "elementwise")


def _target(name: str, engine: Engine, scratch_kib: int, *, weights: bool = True, bytes_per_s: float = 1e9) -> Target:
    fast = replace(engine, clock_hz=1e8, macs_per_clock={"float32": 64.0})
    scratch = memory("scratch", scratch_kib * KIB, 1e11)
    scratch = scratch if weights else replace(scratch, holds=("activations",))
    made = machine(fast, (scratch, memory("dram", 2**30, bytes_per_s)), replace(stack(), fuses=_FUSES))
    return replace(made, name=name)


TARGETS = {
    target.name: target
    for target in (
        _target("array-64k", array(8, 8), 64),
        _target("cores-16k", cores(), 16, bytes_per_s=2e8),
        _target("cores-64k-fast", cores(), 64, bytes_per_s=1e10),
        _target("array-1m", array(16, 16), 1024),
        _target("streamed-weights-96k", array(8, 8), 96, weights=False),
    )
}
