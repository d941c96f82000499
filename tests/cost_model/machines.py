"""Small machines of every kind, for tests of the engine models."""

import dataclasses

from roofwright.targets import Engine, Link, Memory, Simd, Stack, Systolic, Target, Window
from roofwright.targets.spec import Geometry

ALL_WORK = ("matmul", "conv", "depthwise", "recurrent", "elementwise", "special", "reduce", "pool", "move")


def stack(**issue_efficiency: float) -> Stack:
    """A stack that adds nothing; keys of `issue_efficiency` with a dot are given as kind__dtype."""
    shares = {k.replace("__", "."): v for k, v in issue_efficiency.items()}
    return Stack(
        name="none",
        title="no software at all",
        launch_s=0.0,
        dispatch_s=0.0,
        handover_s=0.0,
        call_s=0.0,
        issue_efficiency=shares,
        gemm_tiles={},
        fuses=(),
        composites=(),
        constants={},
        provenance={},
    )


def memory(name: str, capacity_bytes: int, bytes_per_s: float, managed: str = "explicit") -> Memory:
    """A level that holds everything."""
    return Memory(
        name=name,
        capacity_bytes=capacity_bytes,
        bytes_per_s=bytes_per_s,
        efficiency=1.0,
        managed="cache" if managed == "cache" else "explicit",
        holds=("activations", "weights"),
        latency_s=0.0,
        setup_s=0.0,
    )


def machine(engine: Engine, memories: tuple[Memory, ...] = (), software: Stack | None = None) -> Target:
    """One engine in front of some memories."""
    return Target(
        name="m",
        title="m",
        summary="m",
        engines=(engine,),
        memories=memories or (memory("dram", 2**33, 1e11),),
        link=Link(name="link", bytes_per_s=1e10, latency_s=0.0),
        power=None,
        assume={},
        stack=software or stack(),
        price_usd_per_hour=None,
        provenance={},
    )


def array(rows: int, cols: int, count: int = 1, clock_hz: float = 1.0, **changes: object) -> Engine:
    """A systolic engine: int8 at one MAC per cell, int16 at a quarter."""
    geometry = Systolic(
        rows=rows,
        cols=cols,
        dataflow="weight_stationary",
        weight_double_buffer=True,
        row_granule=1,
        conv_rows="window",
        depthwise_packing=True,
        accumulator_bytes=None,
        weight_fifo_bytes=None,
    )
    macs = {"int8": float(rows * cols), "int16": rows * cols / 4}
    return _engine("systolic", dataclasses.replace(geometry, **changes), count, clock_hz, macs)  # type: ignore[arg-type]  # test helper


def window_unit(lanes: int = 100, clock_hz: float = 1.0) -> Engine:
    """A 3 x 3 unit in float16."""
    return _engine("window", Window(kernel_h=3, kernel_w=3, lanes=lanes), 1, clock_hz, {"float16": 9.0 * lanes})


def cores(count: int = 1, bits: int = 512, clock_hz: float = 1.0, **changes: object) -> Engine:
    """CPU cores with two vector ports; float32, and int8 with four products per lane."""
    geometry = Simd(vector_bits=bits, channel_granule=4, tile_unit=None, overlaps_memory=True)
    macs = {"float32": bits / 16, "int8": bits / 4}
    return _engine("simd", dataclasses.replace(geometry, **changes), count, clock_hz, macs)  # type: ignore[arg-type]  # test helper


def _engine(kind: str, geometry: Geometry, count: int, clock_hz: float, macs: dict[str, float]) -> Engine:
    return Engine(
        name="unit",
        kind=kind,  # type: ignore[arg-type]  # one of the literals
        count=count,
        clock_hz=clock_hz,
        macs_per_clock=macs,
        lanes_per_clock={"float32": 32.0},
        special_per_clock=4.0,
        runs=ALL_WORK,  # type: ignore[arg-type]  # literals
        algorithms=("direct",),
        geometry=geometry,
    )
