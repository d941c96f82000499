"""What must hold between the fields of a description, beyond the type and range of each."""

from collections.abc import Callable, Mapping
from typing import NoReturn, get_args

from roofwright.targets.errors import closest, shown
from roofwright.targets.spec import Engine, Geometry, Stack, Target

Fail = Callable[[str, str], NoReturn]

ALGORITHMS = ("direct", "winograd_2x2", "winograd_4x4")
FUSES = ("bias", "activation", "residual", "elementwise")
COMPOSITES = (
    *("Attention", "Gelu", "GroupNormalization", "HardSwish", "LayerNormalization", "Mish"),
    *("RMSNormalization", "RotaryEmbedding", "Swish"),
)
DTYPES = (
    *("float64", "float32", "tf32", "float16", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2"),
    *("float8e5m2fnuz", "float4e2m1", "int64", "uint64", "int32", "uint32", "int16", "uint16", "int8", "uint8"),
    *("int4", "uint4", "bool"),
)
_WAYS = ("loads", "stores")
_MULTIPLIES = ("matmul", "conv", "depthwise", "recurrent")
_KINDS = tuple(cls.__name__.lower() for cls in get_args(Geometry))
_STACK_KINDS = (*_KINDS, "tensor")  # the tensor cores of a "simt" engine have kernels of their own


def check_target(target: Target, fail: Fail) -> None:
    """Hold a decoded target to the rules between its fields; `fail(key, problem)` raises."""
    if not target.engines:
        fail("engines", "expected at least one engine")
    if not target.memories:
        fail("memories", "expected at least the device memory")
    for engine in target.engines:
        _check_engine(engine, fail)
    _check_memories(target, fail)
    _check_assume(target, fail)
    _check_power(target, fail)


def check_stack(stack: Stack, fail: Fail) -> None:
    """Hold a decoded stack to the rules between its fields; `fail(key, problem)` raises."""
    for name in stack.fuses:
        _known(name, FUSES, "fuses", fail)
    for name in stack.composites:
        _known(name, COMPOSITES, "composites", fail)
    for group in ("issue_efficiency", "gemm_tiles"):
        for name in getattr(stack, group):
            _known(name.split(".")[0], _STACK_KINDS, f"{group}.{name}", fail)


def _check_engine(engine: Engine, fail: Fail) -> None:
    key = f"engines.{engine.name}"
    granules = getattr(engine.geometry, "channel_granule", None)
    tables = {"macs_per_clock": engine.macs_per_clock, "lanes_per_clock": engine.lanes_per_clock}
    tables["geometry.channel_granule"] = granules if isinstance(granules, Mapping) else {}
    for table, rates in tables.items():
        for dtype in rates:
            _known(dtype, DTYPES, f"{key}.{table}.{dtype}", fail)
    if not engine.runs:
        fail(f"{key}.runs", "expected at least one class of work")
    if any(op in _MULTIPLIES for op in engine.runs) and not engine.macs_per_clock:
        fail(f"{key}.macs_per_clock", "an engine that runs matrix work needs at least one dtype")
    if "elementwise" in engine.runs and not engine.lanes_per_clock:
        fail(f"{key}.lanes_per_clock", "an engine that runs elementwise work needs at least one dtype")
    if "special" in engine.runs and engine.special_per_clock is None:
        fail(f"{key}.special_per_clock", "an engine that runs special functions needs their rate")
    for name in engine.algorithms:
        _known(name, ALGORITHMS, f"{key}.algorithms", fail)


def _check_memories(target: Target, fail: Fail) -> None:
    for what in ("activations", "weights"):
        if not any(what in memory.holds for memory in target.memories):
            fail("memories", f"no level holds {what}")
    for memory in target.memories:
        if memory.ports > len(_WAYS):
            fail(f"memories.{memory.name}.dma.ports", f"expected 1 or {len(_WAYS)}, found {memory.ports}")


def _check_assume(target: Target, fail: Fail) -> None:
    multiplied = {dtype for engine in target.engines for dtype in engine.macs_per_clock}
    lanes = {dtype for e in target.engines if "elementwise" in e.runs for dtype in e.lanes_per_clock}
    for dtype, how in target.assume.items():
        _known(dtype, DTYPES, f"assume.{dtype}", fail)
        _known(how.storage, DTYPES, f"assume.{dtype}.storage", fail)
        if how.multiply not in multiplied:
            fail(f"assume.{dtype}.multiply", f"no engine multiplies {shown(how.multiply)}")
        if "float" in how.storage and how.storage not in lanes:
            fail(f"assume.{dtype}.storage", f"no engine does elementwise work on {shown(how.storage)}")


def _check_power(target: Target, fail: Fail) -> None:
    if target.power is None:
        return
    levels = tuple(memory.name for memory in target.memories)
    for dtype in target.power.joule_per_mac:
        _known(dtype, DTYPES, f"power.joule_per_mac.{dtype}", fail)
    for name in target.power.joule_per_byte:
        _known(name, levels, f"power.joule_per_byte.{name}", fail)
    for memory in levels:
        if memory not in target.power.joule_per_byte:
            fail(f"power.joule_per_byte.{memory}", "missing key")
    for engine in target.engines:
        for dtype in engine.macs_per_clock:
            if dtype not in target.power.joule_per_mac:
                fail(f"power.joule_per_mac.{dtype}", "missing key")
    if target.power.idle_w >= target.power.limit_w:
        fail("power.idle_w", "must be less than limit_w")


def _known(name: str, known: tuple[str, ...], key: str, fail: Fail) -> None:
    if name not in known:
        hint = closest(name, list(known)) or f"; expected one of {', '.join(known)}"
        fail(key, f"{shown(name)} is not known{hint}")
