"""Preconditions as the source spells them, and the source without one of them.

A precondition is an operand of a guard: of an `if` whose only statement declines, gives up or goes on to the next
candidate, or of the conjunction that a predicate returns.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Guard:
    """One precondition of a module.

    Attributes:
        line: where it stands.
        text: its source.
        place: statement (position in `ast.walk`) and operand.
    """

    line: int
    text: str
    place: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.line}: {self.text}"

    @property
    def label(self) -> str:
        """The place as one word."""
        return "{}.{}".format(*self.place)


def guards(path: Path) -> list[Guard]:
    """Every precondition of a module, in order."""
    tree = ast.parse(path.read_text("utf-8"))
    found = [
        Guard(operand.lineno, ast.unparse(operand), (at, which))
        for at, node in enumerate(ast.walk(tree))
        for which, operand in enumerate(_operands(node))
    ]
    return sorted(found, key=lambda guard: (guard.line, guard.place))


def without(path: Path, guard: Guard) -> ast.Module:
    """The module with that precondition deleted."""
    tree = ast.parse(path.read_text("utf-8"))
    at, which = guard.place
    node = next(node for position, node in enumerate(ast.walk(tree)) if position == at)
    kept = [operand for position, operand in enumerate(_operands(node)) if position != which]
    if isinstance(node, ast.If):
        node.test = _joined(ast.Or(), kept, default=False)
    if isinstance(node, ast.Return):
        node.value = _joined(ast.And(), kept, default=True)
    return ast.fix_missing_locations(tree)


def reporting(path: Path) -> ast.Module:
    """The module, with each statement that holds preconditions adding its position to the global set `_reached`."""
    tree = ast.parse(path.read_text("utf-8"))
    guarded = {id(node): at for at, node in enumerate(ast.walk(tree)) if _operands(node)}
    blocks = [
        block
        for node in ast.walk(tree)
        for name in ("body", "orelse", "finalbody")
        if isinstance(block := getattr(node, name, None), list)
    ]
    for block in blocks:
        for statement in [statement for statement in block if id(statement) in guarded]:
            tell = ast.parse(f"_reached.add({guarded[id(statement)]})").body[0]
            block.insert(next(i for i, held in enumerate(block) if held is statement), tell)
    return ast.fix_missing_locations(tree)


def _operands(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.If) and len(node.body) == 1 and not node.orelse and _gives_up(node.body[0]):
        return _split(node.test, ast.Or)
    if isinstance(node, ast.Return) and isinstance(node.value, ast.BoolOp):
        return _split(node.value, ast.And)
    return []


def _split(test: ast.expr, how: type[ast.boolop]) -> list[ast.expr]:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, how):
        return test.values
    return [] if how is ast.And else [test]


def _gives_up(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise):
        return isinstance(statement.exc, ast.Call) and ast.unparse(statement.exc.func) == "Decline"
    if isinstance(statement, ast.Return):
        empty = statement.value is None or (isinstance(statement.value, ast.Tuple) and not statement.value.elts)
        return empty or (isinstance(statement.value, ast.Constant) and statement.value.value in (None, False))
    return isinstance(statement, ast.Continue)


def _joined(how: ast.boolop, operands: list[ast.expr], *, default: bool) -> ast.expr:
    if len(operands) > 1:
        return ast.BoolOp(how, operands)
    return operands[0] if operands else ast.Constant(default)


def modules(root: Path) -> Iterator[Path]:
    """The modules that hold rewrites and what they share."""
    yield root / "passes" / "gains.py"
    for room in ("cleanup", "fusion", "layout", "quantization", "units"):
        yield from (path for path in sorted((root / "passes" / room).glob("*.py")) if path.name != "__init__.py")
