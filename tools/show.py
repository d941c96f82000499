"""`roofwright show MODEL`: the schedule that an optimized model carries."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from roofwright.cost_model import Kernel, Schedule, to_json
from roofwright.graph import InvalidModelError, printable, read
from roofwright.passes import read_schedule
from roofwright.tools.report.units import size


def run(*, model: str, as_json: bool) -> None:
    """Print the schedule as a table, or as JSON.

    Raises:
        InvalidModelError: the model carries no schedule.
    """
    schedule = read_schedule(read(model))
    if schedule is None:
        raise InvalidModelError(f"{printable(model)}: carries no schedule; expected an output of optimize")
    if as_json:
        print(to_json(schedule, indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{len(schedule.kernels)} kernels for {schedule.target}, batch {schedule.batch}")
    for name, value in schedule.dims.items():
        console.print(f"priced at {escape(name)} = {value}")
    console.print(_table(schedule))


def _table(schedule: Schedule) -> Table:
    table = Table(
        "kernel", "nodes", "engine", "tiles", "on chip", "stays", "prefetched during", box=None, pad_edge=False
    )
    for kernel in schedule.kernels:
        ops = " ".join(node.op for node in kernel.nodes)
        where = f"{kernel.engine} {kernel.algorithm}".strip()
        held = sum(buffer.total_bytes for buffer in kernel.buffers)
        stays = ", ".join(f"{printable(b.tensor)} until {b.until}" for b in kernel.resident)
        ahead = sorted({part.during for part in kernel.prefetch})
        table.add_row(
            f"{kernel.index} {escape(printable(kernel.nodes[0].output))}",
            escape(ops),
            where,
            _tiles(kernel),
            size(held) if held else "",
            escape(stays),
            ", ".join(map(str, ahead)),
        )
    return table


def _tiles(kernel: Kernel) -> str:
    return "; ".join(
        f"{tiling.level}: " + " x ".join(f"{loop} {tiling.tile[loop]}" for loop in tiling.order)
        for tiling in kernel.tilings
    )
