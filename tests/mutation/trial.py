"""One module's mutants, one after the other, in one process: `python -m tests.mutation.trial MODULE PLACE...`.

Tests run once as they are, to see which of them reach which guard. Then, for each guard at PLACE, the functions of the
module get the code that they have without it, and only the tests that reach it run. A verdict per line goes to stdout:
"noticed" or "survived", after a first "sound". A mutant may take the process with it: the caller goes on behind it.
"""

import ast
import gc
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.guards import Guard, guards, reporting, without
from tests.mutation.tests_of import ROOT, tests_of

LIMIT_S = 30  # per test
MOST_BYTES = 16 << 30  # of address space: a mutant may grow a list for ever


class _TooLong(BaseException):
    """Not an Exception, so that no handler under test takes it for an answer."""


class _Exchange:
    """The functions of a module, whose code can be exchanged and put back."""

    def __init__(self, module: Path) -> None:
        self.file = str(module)
        importlib.import_module(".".join(("roofwright", *module.relative_to(ROOT).with_suffix("").parts)))
        files = (self.file, os.path.realpath(self.file))
        self.functions = [
            held for held in gc.get_objects() if isinstance(held, FunctionType) and _home(held.__code__) in files
        ]
        self.codes = [held.__code__ for held in self.functions]
        self.reached: set[int] = set()
        for held in self.functions:
            held.__globals__["_reached"] = self.reached

    def install(self, tree: ast.Module) -> None:
        """Every function gets the code it has in `tree`."""
        found = {(code.co_qualname, code.co_firstlineno): code for code in _codes(compile(tree, self.file, "exec"))}
        for held, code in zip(self.functions, self.codes, strict=True):
            held.__code__ = found.get((code.co_qualname, code.co_firstlineno), code)

    def restore(self) -> None:
        """Every function gets its own code again."""
        for held, code in zip(self.functions, self.codes, strict=True):
            held.__code__ = code


def _home(code: CodeType) -> str:
    return os.path.realpath(code.co_filename)


def _codes(code: CodeType) -> Iterator[CodeType]:
    waiting = [code]
    while waiting:
        held = waiting.pop()
        yield held
        waiting += [constant for constant in held.co_consts if isinstance(constant, CodeType)]


class Trial:
    """A pytest plugin that runs the collected tests its own way."""

    def __init__(self, module: Path, chosen: Sequence[Guard], tell: Callable[[str], None]) -> None:
        self.module, self.chosen, self.tell = module, chosen, tell

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Once to see who reaches what, then guard by guard."""
        if session.testsfailed:
            self.tell("broken: not every test file could be read")
            return True
        exchange = _Exchange(self.module)
        exchange.install(reporting(self.module))
        readers: dict[int, list[Any]] = {}
        for item in session.items:
            exchange.reached.clear()
            if not _passes(item):
                self.tell(f"broken {item.nodeid}")
                return True
            for place in exchange.reached:
                readers.setdefault(place, []).append(item)
        self.tell("sound")
        for guard in self.chosen:
            exchange.install(without(self.module, guard))
            alive = all(_passes(item) for item in _first_of_each(readers.get(guard.place[0], [])))
            exchange.restore()
            self.tell("survived" if alive else "noticed")
        return True


def _first_of_each(items: Sequence[Any]) -> list[Any]:
    """Another order: the n-th variants of all tests together, since a mutant is mostly noticed by any variant."""
    turns: dict[str, int] = {}
    ranked = []
    for item in items:
        case = item.nodeid.rsplit("-", 1)[0]
        turns[case] = turns.get(case, -1) + 1
        ranked.append((turns[case], item))
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]


def _passes(item: Any) -> bool:
    signal.alarm(LIMIT_S)
    try:
        item._initrequest()  # fixtures anew, as plugins that rerun tests do
        reports = runtestprotocol(item, log=False, nextitem=None)
    except _TooLong:
        return False
    finally:
        signal.alarm(0)
    return all(report.passed or report.skipped for report in reports)


def _stop(number: int, frame: Any) -> None:
    raise _TooLong


def main(arguments: Sequence[str]) -> int:
    """Run the trial; stdout is for verdicts alone."""
    module, places = Path(arguments[0]), set(arguments[1:])
    chosen = [guard for guard in guards(module) if guard.label in places]
    signal.signal(signal.SIGALRM, _stop)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    verdicts = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)

    def tell(line: str) -> None:
        print(line, file=verdicts, flush=True)

    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", *tests_of(module)]
    return int(pytest.main(options, plugins=[Trial(module, chosen, tell)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
