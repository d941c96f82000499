"""Delete one precondition at a time and see whether a test notices: `python -m tests.mutation.run [MODULE ...]`."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutation.guards import Guard, guards, modules
from tests.mutation.tests_of import ROOT


def survivors(module: Path, chosen: Sequence[Guard] | None = None) -> Iterator[Guard]:
    """Preconditions whose deletion no test notices.

    Raises:
        RuntimeError: the module's tests fail as it is.
    """
    waiting = list(guards(module) if chosen is None else chosen)
    while waiting:
        first, *verdicts = _verdicts(module, waiting)
        if first != "sound":
            raise RuntimeError(f"{module}: its tests fail as it is: {first}")
        yield from (guard for guard, verdict in zip(waiting, verdicts, strict=False) if verdict == "survived")
        waiting = waiting[len(verdicts) + 1 :]  # the one without a verdict took the process with it: noticed


def _verdicts(module: Path, chosen: Sequence[Guard]) -> list[str]:
    command = [sys.executable, "-m", "tests.mutation.trial", str(module), *(guard.label for guard in chosen)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, text=True)
    return done.stdout.splitlines() or [f"exit code {done.returncode}"]


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
