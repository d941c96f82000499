import os
import platform
from pathlib import Path

import pytest

from roofwright.targets import Simd, load_target
from roofwright.targets.document import HERE, read
from roofwright.targets.host import joined
from roofwright.targets.machine import Cache, Machine, probe

CPUINFO = """processor\t: 0
model name\t: Imaginary CPU @ 3.10GHz
cpu MHz\t\t: 1234.567
flags\t\t: fpu avx2 fma
"""


def fake(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def linux(root: Path, cpus: int) -> Path:
    fake(root, {"proc/cpuinfo": CPUINFO, "proc/meminfo": "MemTotal:  1000 kB\nMemFree: 1 kB\n"})
    for cpu in range(cpus):
        base = f"sys/devices/system/cpu/cpu{cpu}"
        fake(root, {f"{base}/topology/thread_siblings_list": f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}\n"})
    for index, (level, kind, size, shared) in enumerate(
        [("1", "Data", "48K", "0-1"), ("1", "Instruction", "32K", "0-1"), ("2", "Unified", "2048K", "0-1")]
    ):
        folder = f"sys/devices/system/cpu/cpu0/cache/index{index}"
        names = {"level": level, "type": kind, "size": size, "shared_cpu_list": shared}
        fake(root, {f"{folder}/{name}": text + "\n" for name, text in names.items()})
    return root


def test_the_host_says_what_it_is_of_itself() -> None:
    host = load_target("host")
    (cores,) = host.engines
    assert isinstance(cores.geometry, Simd)
    assert 1 <= cores.count <= (os.cpu_count() or 1)
    assert 1e8 < cores.clock_hz < 1e10
    assert cores.peak_macs_per_s("float32") >= 1e8
    assert host.device_memory.capacity_bytes > 1 << 26
    assert host.provenance["engines.cores.count"].source == "read from this machine at run time"
    assert host == load_target("host")
    sizes = [level.capacity_bytes for level in host.memories]
    assert sizes == sorted(sizes)


def test_a_machine_is_read_from_proc_and_sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    machine = probe(linux(tmp_path, 4))
    assert machine.flags == {"fpu", "avx2", "fma"}
    assert (machine.threads, machine.cores) == (4, 2)
    assert machine.clock_hz == 3.1e9
    assert machine.caches == (Cache(1, 48 * 1024, 2), Cache(2, 2048 * 1024, 2))
    assert machine.ram_bytes == 1000 * 1024


def test_the_frequency_driver_beats_the_name_and_the_running_clock(tmp_path: Path) -> None:
    root = linux(tmp_path, 64)
    cpu = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    fake(root, {f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq": "4200000\n"})
    assert probe(root).clock_hz == 4.2e9
    fake(root, {f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq": "junk"})
    fake(root, {"proc/cpuinfo": "cpu MHz : 2599.998\n"})
    assert probe(root).clock_hz == 2.6e9


def test_a_container_s_quota_caps_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    root = linux(tmp_path, 8)
    assert probe(root).cores == 4
    fake(root, {"sys/fs/cgroup/cpu.max": "200000 100000\n"})
    assert probe(root).cores == 2
    fake(root, {"sys/fs/cgroup/cpu.max": "50000 100000\n"})
    assert probe(root).cores == 1
    fake(root, {"sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert probe(root).cores == 4


def test_without_linux_the_documented_values_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.setattr(platform, "machine", lambda: "ARM64")
    assert probe(tmp_path) == Machine("arm64", frozenset(), 1, 1, None, (), None)


@pytest.mark.parametrize(
    ("architecture", "flags", "isa"),
    [
        ("x86_64", {"avx512f", "avx512_vnni", "amx_tile", "amx_int8", "amx_bf16", "avx2", "fma"}, "amx"),
        ("x86_64", {"avx512f", "avx512_vnni", "avx2", "fma"}, "avx512_vnni"),
        ("x86_64", {"avx512f", "avx2", "fma"}, "avx512"),
        ("amd64", {"avx2", "fma"}, "avx2"),
        ("x86_64", {"avx2"}, "sse"),
        ("aarch64", {"asimd", "asimddp"}, "asimddp"),
        ("aarch64", {"asimd"}, "generic"),
        ("riscv64", set(), "generic"),
    ],
)
def test_the_best_instruction_set_is_chosen(architecture: str, flags: set[str], isa: str) -> None:
    document = read(HERE / "host.toml")
    machine = Machine(architecture, frozenset(flags), 4, 4, None, (), None)
    core = joined(document, machine)["engines"]["cores"]
    assert core["macs_per_clock"] == document["isa"][isa]["cores"]["macs_per_clock"]
    assert core["clock_hz"]["confidence"] == "low"


def test_caches_are_summed_over_cores_and_absent_levels_are_left_out() -> None:
    caches = (Cache(1, 32 << 10, 1), Cache(2, 1 << 20, 4))
    machine = Machine("x86_64", frozenset({"avx2", "fma"}), 8, 8, 2e9, caches, 1 << 30)
    memories = joined(read(HERE / "host.toml"), machine)["memories"]
    assert memories["l1"]["capacity_bytes"]["value"] == 8 * (32 << 10)
    assert memories["l2"]["capacity_bytes"]["value"] == 2 << 20
    assert memories["l3"] == "none"
    assert memories["l1"]["bytes_per_s"]["value"] == 8 * 2e9 * 64
    assert memories["dram"]["capacity_bytes"]["value"] == 1 << 30


def test_the_last_entry_fits_every_machine() -> None:
    document = read(HERE / "host.toml")
    assert list(document["isa"])[-1] == "generic"
    assert document["isa"]["generic"]["machines"] == document["isa"]["generic"]["needs"] == []
