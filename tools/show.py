"""`roofwright show MODEL`: the schedule that an optimized model carries."""

import sys

from roofwright.cost_model import Kernel, Schedule, to_json
from roofwright.graph import InvalidModelError, printable, read
from roofwright.passes import read_schedule
from roofwright.tools.report.page import Page, shortened
from roofwright.tools.report.units import size

_NAME_WIDTH = 40
_HEADER = ("", "kernel", "engine", "tiles", "on chip", "prefetched during", "nodes; what stays on chip, until when")


def run(*, model: str, as_json: bool) -> None:
    """Print the schedule as a table, or as JSON.

    Raises:
        InvalidModelError: the model carries no schedule.
    """
    schedule = read_schedule(read(model))
    if schedule is None:
        raise InvalidModelError(f"{printable(model)}: carries no schedule; expected an output of optimize")
    if as_json:
        sys.stdout.write(to_json(schedule, indent=1) + "\n")
        return
    page = Page()
    page.paragraph(f"{len(schedule.kernels)} kernels for {printable(schedule.target)}, batch {schedule.batch}")
    for name, value in schedule.dims.items():
        page.paragraph(f"priced at {printable(name)} = {value}")
    for dtype, held in schedule.assume.items():
        page.paragraph(
            f"{printable(dtype)} stored as {printable(held.storage)}, multiplied as {printable(held.multiply)}"
        )
    page.lines.append("")
    page.table(_rows(schedule), "rlllrll", header=True)
    page.print()


def _rows(schedule: Schedule) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [_HEADER]
    for kernel in schedule.kernels:
        held = sum(buffer.total_bytes for buffer in kernel.buffers)
        ahead = sorted({part.during for part in kernel.prefetch})
        rows.append(
            (
                str(kernel.index),
                shortened(printable(kernel.nodes[0].output), _NAME_WIDTH),
                printable(f"{_engines(kernel)} {kernel.algorithm}".strip()),
                _tiles(kernel),
                size(held) if held else "",
                ", ".join(map(str, ahead)),
                _contents(kernel),
            )
        )
    return rows


def _engines(kernel: Kernel) -> str:
    """`npu 5 + gpu 3`: where it runs, and how many rows each engine does."""
    return " + ".join(f"{share.engine} {share.rows}" for share in kernel.shares) or kernel.engine


def _contents(kernel: Kernel) -> str:
    stays = ", ".join(f"{shortened(printable(b.tensor), _NAME_WIDTH)} until {b.until}" for b in kernel.resident)
    return printable(" ".join(node.op for node in kernel.nodes)) + (f"; {stays}" if stays else "")


def _tiles(kernel: Kernel) -> str:
    return _strips(kernel) or "; ".join(
        f"{printable(tiling.level)} " + " x ".join(f"{tiling.tile[loop]} {loop}" for loop in tiling.order)
        for tiling in kernel.tilings
        if tiling.order
    )


def _strips(kernel: Kernel) -> str:
    """`strips of 7 rows, 2 behind on vpu`: their size, and where nodes that lag run."""
    if kernel.strip_rows is None and kernel.strip_channels is None:
        return ""
    wide = f" x {kernel.strip_columns} columns" if kernel.strip_columns else ""
    behind = dict.fromkeys((node.lag, node.engine or kernel.engine) for node in kernel.nodes if node.lag)
    size = f"{kernel.strip_rows} rows{wide}" if kernel.strip_rows else f"{kernel.strip_channels} channels"
    return ", ".join([f"strips of {size}", *(f"{lag} behind on {on}" for lag, on in behind)])
