"""Nothing is forgotten: every standard operator has a rule or a reason, and every rule survives onnx's own examples."""

import re
import warnings
from math import prod
from pathlib import Path

import pytest
from onnx import defs
from onnx.backend.test.case.test_case import TestCase

from roofwright.cost_model.graph_work import NodeWork, graph_work
from roofwright.cost_model.ops.control import CONTROL
from roofwright.cost_model.ops.registry import NOT_MODELLED, RULES
from roofwright.graph import TensorInfo, infer, read

STANDARD = sorted({schema.name for schema in defs.get_all_schemas() if schema.domain == ""})


@pytest.mark.parametrize("op", STANDARD)
def test_every_standard_operator_is_spoken_for(op: str) -> None:
    assert sum(op in table for table in (RULES, CONTROL, NOT_MODELLED)) == 1


def test_the_tables_name_no_operator_that_does_not_exist() -> None:
    every = {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}
    assert {*RULES, *CONTROL, *NOT_MODELLED} <= every
    assert all(NOT_MODELLED.values())


def test_every_operator_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cost-model-ops.md").read_text()
    words = set(re.findall(r"\w+", page))
    assert {*RULES, *CONTROL, *NOT_MODELLED} <= words


def _size(known: TensorInfo) -> int:
    return prod(dim for dim in known.shape or () if isinstance(dim, int))


def _is_sound(entry: NodeWork, infos: dict[str, TensorInfo]) -> bool:
    work = entry.work
    if work.kind == "not_modelled":
        return bool(work.reason) and "do not fit" not in work.reason and not work.reads and not work.macs
    if work.kind == "view":
        return not (work.reads or work.writes or work.macs or work.lane_ops or work.special_ops)
    sizes = {name: _size(known) for name, known in infos.items() if known.is_static}
    whole = all(0 <= o.elements <= sizes.get(o.name, o.elements) for o in (*work.reads, *work.writes))
    names = [o.name for o in work.reads]
    return whole and min(work.macs, work.lane_ops, work.special_ops) >= 0 and len(set(names)) == len(names)


def _examples(expanded: bool) -> list[TestCase]:
    """onnx's examples of single nodes, or those whose node is replaced by its function body."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the examples overflow and divide by zero on purpose
        from onnx.backend.test.case import node

        return [case for case in node.collect_testcases(None) if ("_expanded" in case.name) is expanded]


def _count(case: TestCase) -> list[NodeWork]:
    assert case.model is not None
    graph = read(case.model)
    infos = infer(graph, {})
    works = graph_work(graph, infos)
    assert sum(not entry.scope for entry in works) == len(graph.nodes), case.name
    bad = [entry for entry in works if not _is_sound(entry, infos)]
    assert not bad, f"{case.name}: {bad[0].op}: {bad[0].work}"
    return works


def test_examples_of_every_operator() -> None:
    counted: dict[str, bool] = {}
    for case in _examples(expanded=False):
        for entry in _count(case):
            counted[entry.op] = counted.get(entry.op, False) or entry.work.kind != "not_modelled"
    assert len(counted) > 180
    assert [op for op, modelled in counted.items() if not modelled and op in RULES] == []


@pytest.mark.slow
def test_examples_as_function_bodies() -> None:
    cases = _examples(expanded=True)
    assert len(cases) > 300
    for case in cases:
        _count(case)
