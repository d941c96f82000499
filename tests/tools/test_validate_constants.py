"""The constants that the validation rests on are counted in docs/validation.md, and the count is complete."""

import re
from pathlib import Path

from roofwright.targets import load_stack, load_target, stack_names
from roofwright.tools.validate import constants, deepbench, mobile, run, transformers
from roofwright.tools.validate.constants import CODE, USED, markdown

ROOT = Path(__file__).resolve().parents[2]
READERS = [ROOT / "tools" / "validate" / f"{name}.py" for name in run.MODULES]


def test_the_page_holds_the_table() -> None:
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    part = page.split("<!-- constants: begin -->")[1].split("<!-- constants: end -->")[0]
    assert part.strip() == markdown(), "run: python -m roofwright.tools.validate.constants"


def test_every_stack_of_a_reader_is_counted() -> None:
    named = {name for path in READERS for name in re.findall(r'stack="([\w-]+)"', path.read_text(encoding="utf-8"))}
    named |= {stack for _, stack, _ in transformers._MACHINES.values()}
    named |= set(deepbench._STACKS.values())
    named |= {load_target(machine).stack.name for machine in deepbench.MACHINES.values()}
    named |= {load_target(name).stack.name for name in ("edgetpu", "tpuv1", *mobile._PIXELS.values())}
    assert named - {"ncnn"} == set(USED) - {"ncnn"}
    assert set(USED) <= set(stack_names())


def test_values_are_those_that_load() -> None:
    rows = [row for row in constants.constants() if row.home in USED and row.name.startswith("constants.")]
    assert len(rows) > 20
    for row in rows:
        assert row.value == f"{load_stack(row.home).constants[row.name.removeprefix('constants.')]:g}"


def test_constants_of_code_exist_and_are_explained() -> None:
    rows = {(row.home, row.name): row for row in constants.constants()}
    for home, name, *_ in CODE:
        row = rows[home, name.lstrip("_").lower()]
        assert float(row.value.replace(",", "")) > 0
        assert row.source
        assert row.tables


def test_a_constant_that_a_stack_replaces_is_not_the_parents() -> None:
    touched = {(row.home, row.name): row.tables for row in constants.constants()}
    assert "ShuffleNet V2" not in touched["cudnn7", "launch_s"]
    assert "ShuffleNet V2" in touched["cuda8", "constants.launches_per_group"]
