"""Which tests must notice a change in a module."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def tests_of(module: Path) -> list[str]:
    """The test files of the module's name, or else (for what rewrites share) those of the modules that import it."""
    room = ROOT / "tests" / module.parent.relative_to(ROOT)
    found: set[str] = set()
    waiting, seen = [module], {module}
    while waiting:
        path = waiting.pop()
        own = [str(test) for name in ("{}.py", "{}_*.py") for test in room.glob("test_" + name.format(path.stem))]
        found.update(own)
        users = set() if own else _users(path) - seen
        seen |= users
        waiting += users
    return sorted(found) or [str(room)]


def _users(module: Path) -> set[Path]:
    name = ".".join(("roofwright", *module.relative_to(ROOT).with_suffix("").parts))
    return {path for path in module.parent.glob("*.py") if f"from {name} import" in path.read_text("utf-8")}
