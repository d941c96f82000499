"""Delete one precondition at a time and see whether a test notices: `python -m tests.mutation.run [MODULE ...]`.

A module's tests are the file of its name, or else all of its room (for what rewrites share). Every mutant runs in a
forked process that has only the libraries loaded.
"""

import ast
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutation.guards import Guard, guards, modules, without

ROOT = Path(__file__).parents[2]
LIMIT_S = 300
_LIBRARIES = ("numpy", "onnx", "onnx_graphsurgeon", "pytest")  # onnxruntime does not survive a fork


def tests_of(module: Path) -> list[str]:
    """The test files that must notice a change in `module`."""
    room = ROOT / "tests" / "passes" / module.parent.name
    own = sorted(room.glob(f"test_{module.stem}.py")) + sorted(room.glob(f"test_{module.stem}_*.py"))
    return [str(path) for path in own] or [str(room)]


def survivors(module: Path, chosen: Sequence[Guard] | None = None) -> Iterator[Guard]:
    """Preconditions whose deletion no test notices."""
    if _notices(module, ast.parse(module.read_text("utf-8"))):
        raise RuntimeError(f"{module}: its tests fail as it is")
    for guard in guards(module) if chosen is None else chosen:
        if _notices(module, without(module, guard)):
            continue
        yield guard


def _notices(module: Path, tree: ast.Module) -> bool:
    """Whether the tests fail with the module's source exchanged; running into the time limit counts."""
    for library in _LIBRARIES:
        importlib.import_module(library)
    child = os.fork()
    if not child:
        os._exit(_run(module, tree))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def _run(module: Path, tree: ast.Module) -> int:
    """In a process of its own: install the changed module, run its tests; 0 where they pass."""
    import pytest

    signal.alarm(LIMIT_S)
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    name = ".".join(("roofwright", *module.relative_to(ROOT).with_suffix("").parts))
    spec = importlib.util.find_spec(name)
    assert spec is not None
    changed = importlib.util.module_from_spec(spec)
    sys.modules[name] = changed
    try:
        exec(compile(tree, str(module), "exec"), changed.__dict__)
    except Exception:
        return 1
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests_of(module)]))


def main(arguments: Sequence[str]) -> int:
    """Print survivors module by module; the number of them is the exit code (at most 100)."""
    chosen = [Path(argument).resolve() for argument in arguments] or list(modules(ROOT))
    left = 0
    for module in chosen:
        alive, every = list(survivors(module)), len(guards(module))
        left += len(alive)
        print(f"{module.relative_to(ROOT)}: {every - len(alive)} of {every} noticed", *alive, sep="\n    ", flush=True)
    return min(left, 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
