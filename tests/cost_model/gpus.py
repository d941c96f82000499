"""Small GPUs for tests of the simt models: round numbers, a stack whose every constant is known."""

import dataclasses
from collections.abc import Mapping

from roofwright.cost_model.simt_machine import Machine, machine
from roofwright.targets import Engine, Simt, Target
from tests.cost_model import machines
from tests.cost_model.machines import ALL_WORK

TILES: Mapping[str, tuple[tuple[int, int, int], ...]] = {"simt": ((64, 64, 8), (32, 32, 8)), "tensor": ((64, 64, 32),)}


def engine(unit: tuple[int, int, int] | None = None, **changes: object) -> Engine:
    """10 multiprocessors of 64 float32 lanes at 1 GHz, or with tensor cores of 512 float16 MACs per clock."""
    geometry = Simt(
        unit=unit,
        channel_granule={"float16": 8} if unit else {},
        shared_bytes=96 * 1024,
        register_bytes=256 * 1024,
        l2_bytes_per_clock=32.0,
    )
    made = Engine(
        name="tensor" if unit else "sm",
        kind="simt",
        count=10,
        clock_hz=1e9,
        macs_per_clock={"float16": 512.0} if unit else {"float32": 64.0},
        lanes_per_clock={"float32": 64.0},
        special_per_clock=16.0,
        runs=ALL_WORK,  # type: ignore[arg-type]  # a tuple of the literals
        algorithms=("direct",) if unit else ("direct", "winograd_2x2", "winograd_4x4"),
        geometry=geometry,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # named fields of Engine


def target(*engines: Engine, l2_bytes: int = 1 << 20, dram_bytes_per_s: float = 1e11, **constants: float) -> Target:
    """A GPU with an L2 of 320 GB/s in front of a device memory."""
    used = engines or (engine(),)
    memories = (
        machines.memory("l2", l2_bytes, 3.2e11, "cache"),
        machines.memory("dram", 2**33, dram_bytes_per_s, "cache"),
    )
    stack = dataclasses.replace(machines.stack(), gemm_tiles=TILES, constants=constants)
    return dataclasses.replace(machines.machine(used[0], memories, stack), engines=used)


def gpu(made: Target, dtype: str = "float32") -> Machine:
    """The machine that kernels of the first engine see."""
    geometry = made.engines[0].geometry
    assert isinstance(geometry, Simt)
    return machine(made.engines[0], geometry, made, dtype)
