import dataclasses
from pathlib import Path

import pytest

from roofwright.targets import Simd, Target, load_stack, load_target, stack_names, target_names
from roofwright.targets.errors import TargetError
from tests.shared import TRUTH, needs_truth
from tests.targets.files import MINIMAL, NUMBER, spoiled, write

COMMON = ("float64", "float32", "float16", "bfloat16", "int8", "uint8")


def multiplied(target: Target, dtype: str) -> str:
    return target.assume[dtype].multiply if dtype in target.assume else dtype


@pytest.mark.parametrize("name", target_names())
def test_every_shipped_target_loads(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.stack.name in stack_names()
    assert target.device_memory.bytes_per_s > 0
    assert target.title
    assert target.summary


@pytest.mark.parametrize("name", stack_names())
def test_every_shipped_stack_loads(name: str) -> None:
    assert load_stack(name).name == name


@pytest.mark.parametrize("name", target_names())
def test_every_target_runs_elementwise_work_and_float32_and_int8(name: str) -> None:
    target = load_target(name)
    dtypes = {d for e in target.engines for d in e.macs_per_clock}
    assert {multiplied(target, dtype) for dtype in COMMON} - {"float64"} <= dtypes
    for work in ("matmul", "conv", "depthwise", "recurrent", "elementwise", "special", "reduce", "pool", "move"):
        assert any(work in engine.runs for engine in target.engines), work


@needs_truth
def test_every_machine_of_the_specifications_is_a_target() -> None:
    import json

    machines = json.loads((TRUTH / "hardware_specs.json").read_text())["targets"]
    assert set(machines) <= set(target_names())


def test_the_issue_names_are_targets() -> None:
    assert {"tpuv1", "tpuv2", "v100", "k80", "kirin970", "host"} <= set(target_names())


@pytest.mark.parametrize(("alias", "name"), [("v100_sxm2", "v100"), ("k80_die", "k80"), ("kirin970_npu", "kirin970")])
def test_an_alias_is_the_same_machine_under_another_name(alias: str, name: str) -> None:
    assert dataclasses.replace(load_target(alias), name=name) == load_target(name)


def test_a_target_is_loaded_from_a_path(tmp_path: Path) -> None:
    path = write(tmp_path)
    target = load_target(path)
    assert load_target(str(path)) == target
    assert target.name == "toy"
    assert target.power is None
    assert target.price_usd_per_hour is None
    (core,) = target.engines
    assert isinstance(core.geometry, Simd)
    assert core.geometry.tile_unit is None
    assert core.peak_macs_per_s("float32") == 16e9
    assert target.stack == load_stack("compiled")
    assert target.provenance["engines.core.macs_per_clock.float32"].source == "a data sheet"
    assert target.provenance["memories.dram.efficiency"].confidence == "high"


def test_a_stack_can_be_named_in_place_of_the_target_s_own(tmp_path: Path) -> None:
    assert load_target("v100").stack.name == "cudnn7"
    assert load_target("v100", stack="pytorch-eager").stack.name == "pytorch-eager"
    mine = write(tmp_path, 'inherit = "compiled"\ntitle = "Mine"\n', "mine.toml")
    assert load_target("tpuv2", stack=mine).stack.title == "Mine"


def test_a_stack_beside_the_target_is_named_by_its_file(tmp_path: Path) -> None:
    write(tmp_path, 'inherit = "compiled"\ntitle = "Mine"\n', "mine.toml")
    target = load_target(write(tmp_path, spoiled('"compiled"', '"mine.toml"')))
    assert (target.stack.name, target.stack.title) == ("mine", "Mine")


def test_names_and_paths_are_told_apart() -> None:
    with pytest.raises(TargetError, match="unknown target 'tpuv22'; did you mean 'tpuv2'"):
        load_target("tpuv22")
    with pytest.raises(
        TargetError, match=r"expected a name that `roofwright targets` lists, or the path of a \.toml file"
    ):
        load_target("xyzzy")
    with pytest.raises(TargetError, match=r"tpuv2\.toml: cannot be read: No such file"):
        load_target("tpuv2.toml")
    with pytest.raises(TargetError, match=r"unknown stack 'xyzzy'; expected one of .*hiai.*, or the path"):
        load_stack("xyzzy")
    with pytest.raises(TargetError, match="unknown stack 'cudnn77'; did you mean 'cudnn7'"):
        load_stack("cudnn77")


def test_the_order_of_levels_is_innermost_first() -> None:
    assert [m.name for m in load_target("tpuv4").memories] == ["vmem", "cmem", "hbm"]
    on_chip = load_target("tpuv4").on_chip
    assert on_chip is not None
    assert on_chip.name == "cmem"


def test_the_minimal_file_uses_no_shipped_number() -> None:
    assert "inherit" not in MINIMAL


def test_a_file_that_says_nothing_of_transfers_has_one_at_a_time_on_one_way(tmp_path: Path) -> None:
    memory = load_target(write(tmp_path)).device_memory
    assert (memory.dma, memory.engines, memory.ports) == (None, 1, 1)
    said = f"[memories.dram.dma]\nengines = {{ value = 4, {NUMBER}\nports = {{ value = 2, {NUMBER}\n[link]"
    stated = load_target(write(tmp_path, MINIMAL.replace("[link]", said)))
    assert (stated.device_memory.engines, stated.device_memory.ports) == (4, 2)


@pytest.mark.parametrize("name", target_names())
def test_what_moves_data_is_stated_with_its_source_wherever_a_program_does(name: str) -> None:
    target = load_target(name)
    key = f"memories.{target.device_memory.name}.dma"
    explicit = target.on_chip is not None and target.on_chip.managed == "explicit"
    assert explicit == (target.device_memory.dma is not None)
    assert explicit == (f"{key}.engines" in target.provenance and f"{key}.ports" in target.provenance)
