"""What can be read of the machine this runs on: cores, instruction sets, clock, caches and memory.

Nothing is measured and nothing is run. Where a fact cannot be read (another operating system, a sandbox) it is None,
and the low-confidence value of `host.toml` stands.
"""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

_CPU = "sys/devices/system/cpu"
_STEP_HZ = 100e6  # a running clock is rounded, so that two runs describe the same machine


@dataclass(frozen=True)
class Cache:
    """One cache of the first core: its level, size, and how many hardware threads share it."""

    level: int
    capacity_bytes: int
    threads: int


@dataclass(frozen=True)
class Machine:
    """Facts about a machine; None or empty where they cannot be read.

    Attributes:
        architecture: as the operating system spells it, e.g. "x86_64".
        threads: hardware threads this process may use.
        cores: physical cores behind them, no more than a container's share of time allows.
    """

    architecture: str
    flags: frozenset[str]
    threads: int
    cores: int
    clock_hz: float | None
    caches: tuple[Cache, ...]
    ram_bytes: int | None


def probe(root: Path = Path("/")) -> Machine:
    """Read the machine; `root` is where `proc` and `sys` are mounted."""
    cpus = _allowed()
    info = _text(root / "proc/cpuinfo") or ""
    ram = re.search(r"MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo") or "")
    return Machine(
        architecture=platform.machine().lower(),
        flags=_flags(info),
        threads=len(cpus),
        cores=_cores(root, cpus),
        clock_hz=_clock_hz(root, cpus[0], info),
        caches=_caches(root, cpus[0]),
        ram_bytes=int(ram[1]) * 1024 if ram else None,
    )


def _allowed() -> list[int]:
    """Hardware threads of this process, in order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _flags(cpuinfo: str) -> frozenset[str]:
    line = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return frozenset(line[1].split()) if line else frozenset()


def _cores(root: Path, cpus: list[int]) -> int:
    """Distinct groups of sibling threads, capped by the container's quota of processor time."""
    siblings = [_text(root / f"{_CPU}/cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus]
    cores = len(set(siblings))
    quota = re.fullmatch(r"(\d+) (\d+)", _text(root / "sys/fs/cgroup/cpu.max") or "")
    return max(1, min(cores, int(quota[1]) // int(quota[2]))) if quota and int(quota[2]) else cores


def _clock_hz(root: Path, cpu: int, cpuinfo: str) -> float | None:
    """The highest clock: from the frequency driver, the model's name, or the clock it runs at."""
    khz = _text(root / f"{_CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq")
    if khz and khz.isdecimal() and int(khz):
        return int(khz) * 1e3
    named = re.search(r"^model name\s*:.*@ ([\d.]+)GHz", cpuinfo, re.MULTILINE)
    if named:
        return float(named[1]) * 1e9
    running = re.search(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo, re.MULTILINE)
    return max(round(float(running[1]) * 1e6 / _STEP_HZ), 1) * _STEP_HZ if running else None


def _caches(root: Path, cpu: int) -> tuple[Cache, ...]:
    """Data and unified caches of one core, innermost first."""
    found = []
    for folder in sorted((root / f"{_CPU}/cpu{cpu}/cache").glob("index*")):
        level, kind, size, shared = (_text(folder / name) for name in ("level", "type", "size", "shared_cpu_list"))
        bytes_ = re.fullmatch(r"(\d+)K", size or "")
        if kind != "Instruction" and level and level.isdecimal() and bytes_ and int(bytes_[1]):
            found.append(Cache(int(level), int(bytes_[1]) * 1024, _listed(shared or "0")))
    return tuple(sorted(found, key=lambda cache: cache.level))


def _listed(ranges: str) -> int:
    """How many numbers a kernel list such as "0-3,8-11" names."""
    spans = re.findall(r"(\d+)(?:-(\d+))?", ranges)
    return max(1, sum(int(last or first) - int(first) + 1 for first, last in spans))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
