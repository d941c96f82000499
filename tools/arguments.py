"""What the command line accepts: how values are spelt, and the options of `optimize`. Imports nothing heavy."""

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(s|ms|us|ns|)", re.ASCII | re.IGNORECASE)
_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_LARGEST_DIM = 2**31 - 1
Shapes = dict[str, tuple[int, ...]]


class Aliased(click.Option):
    """An option with further names that are accepted, but not listed: what users of neighbouring tools type."""

    def __init__(self, names: Sequence[str], *, aliases: Sequence[str] = (), **settings: Any) -> None:
        """Take the option's own names, its `aliases`, and click's settings."""
        super().__init__([*names, *aliases], **settings)
        self.shown = [name for name in self.opts if name not in aliases]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The help line, with the option's own names only."""
        every, self.opts = self.opts, self.shown
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """The name in messages."""
        return f"'{self.shown[-1]}'"


def whole(text: str, largest: int = _LARGEST_DIM) -> int | None:
    """A number from 1 to `largest` in plain digits; None for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(largest))):
        return None
    return int(text) if 1 <= int(text) <= largest else None


def size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Bytes from `1M`, `16K`, `2GiB` (all binary) or a plain number."""
    if value is None:
        return None
    found = _SIZE.fullmatch(value.strip())
    if not found:
        raise click.BadParameter(f"{value!r} is no size; expected a number with an optional K, M or G")
    return int(float(found[1]) * _BINARY[found[2].upper()])


def duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Seconds from `7ms`, `0.007` or `7e-3s`."""
    if value is None:
        return None
    found = _DURATION.fullmatch(value.strip())
    seconds = float(found[1]) * _SECONDS[found[2].lower()] if found else 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{value!r} is no time; expected a number above 0 with an optional s, ms or us")
    return seconds


def dims(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, int]:
    """`NAME=SIZE`, each name once."""
    found: dict[str, int] = {}
    for value in values:
        name, text = value.rpartition("=")[::2]
        number = whole(text)
        if not name or number is None:
            raise click.BadParameter(f"{value!r} is no dimension; expected NAME=SIZE, SIZE from 1 to {_LARGEST_DIM}")
        if found.get(name, number) != number:
            raise click.BadParameter(f"{name!r} is given twice, as {found[name]} and as {number}")
        found[name] = number
    return found


def shapes(_: click.Context, __: click.Parameter, values: Sequence[str]) -> Shapes:
    """`NAME:1,3,224,224`, `NAME[1,3]` or `NAME:[1,3]`; without a name, the only input's (stored under '')."""
    found: Shapes = {}
    for value in values:
        name, text = _split_shape(value.strip())
        sizes = [whole(part.strip()) for part in text.split(",")]
        shape = tuple(number for number in sizes if number is not None)
        if len(shape) != len(sizes):
            raise click.BadParameter(f"{value!r} is no shape; expected NAME:1,3,224,224 with sizes of at least 1")
        if found.get(name, shape) != shape:
            raise click.BadParameter(f"the shape of {name or 'the input'} is given twice")
        found[name] = shape
    return found


def _split_shape(value: str) -> tuple[str, str]:
    """(name, sizes): a name may contain ':' and '[', so both are split at the last one."""
    if value.endswith("]"):
        name, _, text = value[:-1].rpartition("[")
        return name.removesuffix(":"), text
    name, _, text = value.rpartition(":")
    return name, text


def batch(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """A number of samples, or `auto`."""
    number = None if value is None else whole(value)
    if value in (None, "auto"):
        return value
    if number is None:
        raise click.BadParameter(f"{value!r} is no batch; expected a number of at least 1, or auto")
    return number


def names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names separated by commas."""
    if value is None:
        return None
    found = tuple(name.strip() for name in value.split(",") if name.strip())
    if not found:
        raise click.BadParameter("no pass is named; expected names with commas between (see `roofwright passes`)")
    return found


def whole_number(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """A number from 0."""
    if value is None or value == "0":
        return None if value is None else 0
    number = whole(value)
    if number is None:
        raise click.BadParameter(f"{value!r} is no number of at least 0")
    return number


def files(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """`NAME:FILE.npy`, split at the last colon; without a name, the only input's (stored under '')."""
    found: dict[str, str] = {}
    for value in values:
        name, _colon, place = value.rpartition(":")
        if not place.endswith(".npy"):
            raise click.BadParameter(f"{value!r} is no array; expected NAME:FILE.npy")
        if name in found:
            raise click.BadParameter(f"the array of {name or 'the input'} is given twice")
        found[name] = place
    return found


def _passes(**arguments: Any) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that does what `roofwright passes` does, with the option's value in the place of None."""

    def show(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is None or ctx.resilient_parsing:
            return
        import_module("roofwright.tools.passes").run(
            **{key: (value if given is None else given(value)) for key, given in arguments.items()}
        )
        ctx.exit()

    return show


OPTIMIZE: list[Callable[[Any], Any]] = [
    click.argument("model"),
    click.argument("out", required=False),
    click.option("-o", "--output", metavar="OUT", help="Where to write the optimized model."),
    click.option("--target", default="host", show_default=True, help="Machine: a name, or a target file (TOML)."),
    click.option("--stack", help="Software stack, where not the target's own: a name, or a stack file."),
    click.option("--dry-run", is_flag=True, help="Run everything, write only --report and --schedule."),
    click.option("--force", is_flag=True, help="Allow OUT to be MODEL itself."),
    click.option(
        "--overwrite-input-shape",
        "input_shapes",
        cls=Aliased,
        aliases=("--input-shape", "--input-shapes", "--override-input-shapes"),
        multiple=True,
        callback=shapes,
        metavar="NAME:1,3,224,224",
        help="Pin an input's symbolic dimensions to numbers, everywhere in the model.",
    ),
    click.option(
        "--dim", "dims", multiple=True, callback=dims, metavar="NAME=N", help="Price a symbolic dimension at N."
    ),
    click.option("--batch", callback=batch, metavar="N|auto", help="Samples per request; auto: the fewest that pay."),
    click.option("--max-latency", callback=duration, metavar="TIME", help="Limit of --batch auto, e.g. 7ms."),
    click.option(
        "--max-memory",
        callback=size,
        metavar="SIZE",
        help="Peak memory of the model when it runs: write as many strips as that takes; or limit of --batch auto.",
    ),
    click.option(
        "--optimize-for",
        type=click.Choice(["latency", "memory"]),
        default="latency",
        show_default=True,
        help="memory: write spatial strips as nodes where a run then needs much less.",
    ),
    click.option(
        "--emit",
        type=click.Choice(["metadata", "functions"]),
        default="metadata",
        show_default=True,
        help="The schedule as notes on nodes, or each kernel as a model-local function.",
    ),
    click.option("--passes", callback=names, metavar="A,B", help="Exactly these passes, in this order."),
    click.option(
        "--skip-passes",
        cls=Aliased,
        aliases=("--skip-optimization", "--skip-fusion-patterns"),
        callback=names,
        metavar="A,B",
        help="Leave these passes out.",
    ),
    click.option("--enable-pass", "enable", callback=names, metavar="A,B", help="Run these passes on request, too."),
    click.option(
        "--list-passes",
        is_flag=False,
        flag_value="table",
        type=click.Choice(["table", "json"]),
        is_eager=True,
        expose_value=False,
        callback=_passes(name=lambda _: None, as_json=lambda value: value == "json"),
        metavar="[=json]",
        help="List the passes in their default order and leave.",
    ),
    click.option(
        "--explain-pass",
        is_eager=True,
        expose_value=False,
        callback=_passes(name=None, as_json=lambda _: False),
        metavar="NAME",
        help="Say what a pass does and when it declines, and leave.",
    ),
    click.option(
        "--numerics",
        type=click.Choice(["exact", "rounding", "approx"]),
        default="rounding",
        show_default=True,
        help="The most that a rewrite may change results.",
    ),
    click.option(
        "--fold-size-threshold",
        callback=size,
        default="1M",
        show_default=True,
        metavar="SIZE",
        help="Largest folded constant.",
    ),
    click.option(
        "--assume",
        type=click.Choice(["target", "none"]),
        default="target",
        show_default=True,
        help="What a dtype that the target lacks is run as; none: it is not run.",
    ),
    click.option("--resident-weights", is_flag=True, help="Weights stay on chip between requests where they fit."),
    click.option(
        "--check",
        callback=whole_number,
        default="1",
        show_default=True,
        metavar="N",
        help="Compare with the original on N input sets of each kind.",
    ),
    click.option("--no-check", is_flag=True, help="Do not compare with the original."),
    click.option(
        "--check-input",
        "check_inputs",
        cls=Aliased,
        aliases=("--input-data-path",),
        multiple=True,
        callback=files,
        metavar="NAME:FILE.npy",
        help="An array to compare on, instead of made-up ones.",
    ),
    click.option(
        "--seed", callback=whole_number, default="0", show_default=True, metavar="N", help="Of the made-up inputs."
    ),
    click.option("--strict", is_flag=True, help="Unplaced ops, failed passes and unverified results are errors."),
    click.option("--report", metavar="FILE.json", help="Write the full report; - is stdout."),
    click.option("--schedule", metavar="FILE.json", help="Write the schedule as a file of its own; - is stdout."),
    click.option("--trace", metavar="FILE.json", help="Write the timeline for Perfetto or Chrome; - is stdout."),
    click.option("--explain", is_flag=True, help="List every rewrite with its nodes and gain, and every near miss."),
    click.option("--graph-diff", is_flag=True, help="Operators before and after; with -v the nodes line by line."),
    click.option("--dump-ir", metavar="DIR", help="Write the graph after every pass that changed it, numbered."),
    click.option("--print-after", multiple=True, metavar="PASS", help="Print the graph's text after a pass."),
    click.option("--print-after-all", is_flag=True, help="Print the graph's text after every pass that changed it."),
    click.option(
        "--pass-limit", callback=whole_number, metavar="N", help="Apply only the first N rewrites of the graph."
    ),
    click.option(
        "--bisect", is_flag=True, help="Find the rewrite that first breaks the model; write repro.onnx and repro.json."
    ),
    click.option("-v", "--verbose", is_flag=True, help="Every layer and near miss; a traceback on internal errors."),
    click.option("-q", "--quiet", is_flag=True, help="No report on stdout."),
]
