"""What the command line accepts: how values are spelt, and the options of `optimize`. Imports nothing heavy."""

import re
from collections.abc import Callable, Sequence
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
    click.option("--max-memory", callback=size, metavar="SIZE", help="Limit of --batch auto: the model's peak memory."),
    click.option("--passes", callback=names, metavar="A,B", help="Exactly these passes, in this order."),
    click.option(
        "--skip-passes",
        cls=Aliased,
        aliases=("--skip-optimization", "--skip-fusion-patterns"),
        callback=names,
        metavar="A,B",
        help="Leave these passes out.",
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
    click.option("--no-check", "check", flag_value=False, default=True, help="Do not compare with the original."),
    click.option("--strict", is_flag=True, help="Unplaced ops, failed passes and unverified results are errors."),
    click.option("--report", metavar="FILE.json", help="Write the full report; - is stdout."),
    click.option("--schedule", metavar="FILE.json", help="Write the schedule as a file of its own; - is stdout."),
    click.option("-v", "--verbose", is_flag=True, help="Every layer and near miss; a traceback on internal errors."),
    click.option("-q", "--quiet", is_flag=True, help="No report on stdout."),
]
