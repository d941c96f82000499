"""A schedule in words: one line per kernel, then what it holds where."""

from collections.abc import Iterator

from roofwright.cost_model import Kernel, NodeRef, Schedule, Tiling


def summary(schedule: Schedule | None) -> str:
    """Kernels in order: operators, engine, algorithm and tiles per level, what stays on chip, what is loaded early."""
    if schedule is None:
        return "no schedule\n"
    return "\n".join(line for kernel in schedule.kernels for line in _lines(kernel)) + "\n"


def _lines(kernel: Kernel) -> Iterator[str]:
    ops = " + ".join(node.op + _behind(kernel, node) for node in kernel.nodes)
    algorithm = f" ({kernel.algorithm})" if kernel.algorithm else ""
    yield f"{kernel.index} {ops} on {kernel.engine}{algorithm}{''.join(_tiles(tiling) for tiling in kernel.tilings)}"
    if kept := [f"{b.tensor} until {b.until} ({b.bytes} B at {b.offset_bytes})" for b in kernel.resident]:
        yield f"    keeps {', '.join(kept)}"
    if loads := [f"{p.bytes} B of {p.tensor} during {p.during}" for p in kernel.prefetch]:
        yield f"    early {', '.join(loads)}"


def _behind(kernel: Kernel, node: NodeRef) -> str:
    return f" [{node.lag} behind on {node.engine or kernel.engine}]" if node.lag else ""


def _tiles(tiling: Tiling) -> str:
    return f"; {tiling.level}: " + ", ".join(f"{loop} {tiling.tile[loop]}" for loop in tiling.order)
