"""Every precondition of every rewrite matters: without it some test fails."""

import ast
from pathlib import Path

import pytest

from tests.mutation.guards import guards, modules, without
from tests.mutation.run import survivors
from tests.mutation.tests_of import ROOT

SOURCE = """
def match(node):
    if node is None or node.op != "Relu":
        return None
    if node.shared:
        raise Decline("shared")
    if node.kept:
        note(node)
        return None
    return small(node) and exact(node) and node.op
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rewrite.py"
    path.write_text(SOURCE)
    return path


def test_a_precondition_is_an_operand_of_a_guard(source: Path) -> None:
    assert [guard.text for guard in guards(source)] == [
        "node is None",
        "node.op != 'Relu'",
        "node.shared",
        "small(node)",
        "exact(node)",
        "node.op",
    ]


def test_one_precondition_is_deleted_at_a_time(source: Path) -> None:
    texts = [ast.unparse(without(source, guard)) for guard in guards(source)]
    assert "if node.op != 'Relu':" in texts[0]
    assert "if node.shared:" in texts[0]
    assert "if node is None:" in texts[1]
    assert "if False:" in texts[2]
    assert "return small(node) and node.op" in texts[4]


@pytest.mark.slow
@pytest.mark.parametrize("module", list(modules(ROOT)), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_without_any_one_precondition_a_test_fails(module: Path) -> None:
    assert [str(guard) for guard in survivors(module)] == []
