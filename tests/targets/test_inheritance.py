from pathlib import Path

import pytest

from roofwright.targets import load_target
from roofwright.targets.errors import TargetError
from roofwright.targets.leaves import merge
from tests.targets.files import NUMBER, SOURCE, write

CLOCK = f"[engines.core]\nclock_hz = {{ value = 2e9, {NUMBER}\n"


def test_a_child_states_only_what_differs(tmp_path: Path) -> None:
    base = load_target(write(tmp_path))
    child = load_target(write(tmp_path, f'inherit = "toy.toml"\n{CLOCK}\n{SOURCE}', "fast.toml"))
    assert child.name == "fast"
    assert child.title == base.title
    assert child.engines[0].clock_hz == 2e9
    assert child.engines[0].macs_per_clock == base.engines[0].macs_per_clock
    assert child.memories == base.memories


def test_a_label_means_what_its_own_file_says(tmp_path: Path) -> None:
    write(tmp_path)
    child = load_target(write(tmp_path, f'inherit = "toy.toml"\n{CLOCK}\n[sources]\nsheet = "another"', "fast.toml"))
    assert child.provenance["engines.core.clock_hz"].source == "another"
    assert child.provenance["engines.core.count"].source == "a data sheet"


def test_shipped_targets_are_inherited_by_name(tmp_path: Path) -> None:
    price = 'price_usd_per_hour = { value = 1.5, source = "derived: my contract", confidence = "high" }'
    child = load_target(write(tmp_path, f'inherit = "v100"\n{price}\n', "v100.toml"))
    assert child.price_usd_per_hour == 1.5
    assert child.engines == load_target("v100").engines


def test_a_machine_of_one_s_own_may_inherit_the_host(tmp_path: Path) -> None:
    child = load_target(write(tmp_path, f'inherit = "host"\n[engines.cores]\n{CLOCK.splitlines()[1]}\n{SOURCE}'))
    assert child.engines[0].clock_hz == 2e9
    assert child.engines[0].count == load_target("host").engines[0].count


def test_none_takes_an_inherited_entry_away(tmp_path: Path) -> None:
    child = load_target(write(tmp_path, 'inherit = "v100"\n[engines]\ntensor = "none"\n[assume]\nbfloat16 = "none"\n'))
    assert [engine.name for engine in child.engines] == ["sm"]
    assert "bfloat16" not in child.assume


def test_a_leaf_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path)
    macs = f"[engines.core]\nmacs_per_clock = {{ value = {{ int8 = 32 }}, {NUMBER}\n{SOURCE}"
    child = load_target(write(tmp_path, f'inherit = "toy.toml"\n{macs}', "int8.toml"))
    assert child.engines[0].macs_per_clock == {"int8": 32}


def test_cycles_are_refused(tmp_path: Path) -> None:
    write(tmp_path, 'inherit = "b.toml"', "a.toml")
    write(tmp_path, 'inherit = "a.toml"', "b.toml")
    with pytest.raises(TargetError, match=r"inherit: cyclic, a\.toml -> b\.toml -> a\.toml"):
        load_target(tmp_path / "a.toml")
    with pytest.raises(TargetError, match="inherit: cyclic"):
        load_target(write(tmp_path, 'inherit = "me.toml"', "me.toml"))


@pytest.mark.parametrize("reference", ["../toy.toml", "/etc/toy.toml", "sub/toy.toml", "..", "", "a\\\\b.toml"])
def test_files_elsewhere_cannot_be_inherited(tmp_path: Path, reference: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write(tmp_path)
    with pytest.raises(TargetError, match=r"child\.toml: inherit: expected a name or a file beside this one"):
        load_target(write(inner, f'inherit = "{reference}"', "child.toml"))


def test_a_link_out_of_the_folder_cannot_be_inherited(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link.toml").symlink_to(write(tmp_path))
    with pytest.raises(TargetError, match="leads out of the folder"):
        load_target(write(inner, 'inherit = "link.toml"', "child.toml"))


def test_unknown_and_ill_typed_parents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"toy\.toml: inherit: unknown target 'tpuv9'; did you mean 'tpuv"):
        load_target(write(tmp_path, 'inherit = "tpuv9"'))
    with pytest.raises(TargetError, match="inherit: expected a name or a file"):
        load_target(write(tmp_path, "inherit = 3"))


def test_merging_keeps_the_order_of_the_base_unless_the_child_names_all() -> None:
    base = {"l1": {"a": 1}, "dram": {"a": 2}}
    assert list(merge(base, {"dram": {"a": 3}, "l2": {"a": 4}})) == ["l1", "dram", "l2"]
    assert list(merge(base, {"l1": {}, "l2": {"a": 4}, "dram": {}})) == ["l1", "l2", "dram"]
    assert merge(base, {"dram": {"a": 3}})["dram"] == {"a": 3}
    assert base == {"l1": {"a": 1}, "dram": {"a": 2}}
