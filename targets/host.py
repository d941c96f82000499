"""The target `host`: what `host.toml` knows of instruction sets, joined with what this machine says of itself.

`host.toml` is an ordinary target file with two further tables. `isa` holds, best first, what one core does per clock
with each instruction set; the first whose `machines` and `needs` fit is merged into the engine `cores`.
`cache_bytes_per_clock` turns cache levels into bandwidth. Both are taken out here; a machine's own TOML may inherit
"host" and state what it knows better.
"""

from collections.abc import Mapping
from typing import Any

from roofwright.targets.errors import TargetError
from roofwright.targets.leaves import Document, merge
from roofwright.targets.machine import Cache, Machine, probe

_READ = "read from this machine at run time"


def complete(document: Document) -> Document:
    """The document of `host.toml` joined with this machine's facts."""
    return joined(document, probe())


def joined(document: Document, machine: Machine) -> Document:
    """`document` without its helper tables, with the engine and memories of `machine`."""
    plain = {key: value for key, value in document.items() if key not in ("isa", "cache_bytes_per_clock")}
    core = merge(plain["engines"]["cores"], _isa(document["isa"], machine))
    facts: Document = {"count": _leaf(machine.cores)}
    if machine.clock_hz is not None:
        facts["clock_hz"] = _leaf(machine.clock_hz)
    core = merge(core, facts)
    rates = document["cache_bytes_per_clock"]
    clock_hz = core["clock_hz"]["value"]
    memories = {name: _cache(name, rates[name], clock_hz, machine) for name in rates}
    ram = {"capacity_bytes": _leaf(machine.ram_bytes)} if machine.ram_bytes else {}
    return merge(plain, {"engines": {"cores": core}, "memories": {**memories, "dram": ram}})


def _isa(table: Mapping[str, Any], machine: Machine) -> Document:
    """What one core does with the best instruction set that it has."""
    for isa in table.values():
        known = machine.architecture in isa["machines"] or not isa["machines"]
        if known and machine.flags.issuperset(isa["needs"]):
            return dict(isa["cores"])
    raise TargetError(f"host: no entry of isa fits {machine.architecture}")


def _cache(name: str, rate: Mapping[str, Any], clock_hz: float, machine: Machine) -> Document | str:
    """Size and bandwidth of one level over all cores; "none" where the caches are known and this one is absent."""
    speed = {
        "value": machine.cores * clock_hz * rate["value"],
        "source": f"derived: {rate['value']} bytes per clock and core; {rate['source']}",
        "confidence": "low",
    }
    if not machine.caches:
        return {"bytes_per_s": speed}
    cache = next((c for c in machine.caches if f"l{c.level}" == name), None)
    return "none" if cache is None else {"capacity_bytes": _leaf(_total_bytes(cache, machine)), "bytes_per_s": speed}


def _total_bytes(cache: Cache, machine: Machine) -> int:
    """All copies of a cache that the threads of this process reach."""
    return cache.capacity_bytes * -(-machine.threads // cache.threads)


def _leaf(value: float) -> Document:
    return {"value": value, "source": _READ, "confidence": "measured"}
