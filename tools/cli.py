"""The command line: `optimize`, and `roofwright` with it and every further command as a subcommand.

Nothing heavy is imported here: a command's module is loaded when the command runs. On failure stderr carries exactly one
line, and the exit code says what kind of failure it is.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click

from roofwright import __version__

EXIT_CODES = """\b
Exit codes: 0 success (also: nothing to do), 1 internal error, 2 usage, 3 input unreadable, invalid or unsafe,
4 not possible for this model or target, 5 verification failed, 6 resource limit, 7 cannot write, 130 interrupted."""


def _command(module: str) -> Callable[..., None]:
    """The `run` function of a command's module, imported when it is called."""

    def run(**arguments: Any) -> None:
        import_module(f"roofwright.tools.{module}").run(**arguments)

    return run


def _size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Bytes from `1M`, `16K`, `2G` (binary) or a plain number."""
    if value is None:
        return None
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    digits, factor = (value[:-1], scale[value[-1].upper()]) if value[-1:].upper() in scale else (value, 1)
    if not digits.isdigit():
        raise click.BadParameter(f"{value!r} is no size; expected a number with an optional K, M or G")
    return int(digits) * factor


def _dims(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, int]:
    found = {}
    for value in values:
        name, equals, size = value.rpartition("=")
        if not equals or not name or not size.isdigit() or int(size) < 1:
            raise click.BadParameter(f"{value!r} is no dimension; expected NAME=SIZE with SIZE at least 1")
        found[name] = int(size)
    return found


def _batch(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "auto":
        return value
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is no batch; expected a number of at least 1, or auto")
    return int(value)


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(name.strip() for name in value.split(",") if name.strip())


OPTIMIZE: list[Callable[[Any], Any]] = [
    click.argument("model"),
    click.argument("out", required=False),
    click.option("-o", "--output", metavar="OUT", help="Where to write the optimized model."),
    click.option("--target", default="host", show_default=True, help="Machine: a name, or a target file (TOML)."),
    click.option("--stack", help="Software stack, where not the target's own: a name, or a stack file."),
    click.option("--dry-run", is_flag=True, help="Run everything, write only reports."),
    click.option("--force", is_flag=True, help="Allow OUT to be MODEL itself."),
    click.option(
        "--batch", callback=_batch, metavar="N|auto", help="Samples per request; auto: the smallest that pays."
    ),
    click.option("--max-latency", type=click.FloatRange(min=0, min_open=True), help="Limit of --batch auto, seconds."),
    click.option(
        "--max-memory", callback=_size, metavar="SIZE", help="Limit of --batch auto: peak memory of the model."
    ),
    click.option(
        "--dim", "dims", multiple=True, callback=_dims, metavar="NAME=N", help="Price a symbolic dimension at N."
    ),
    click.option("--passes", callback=_names, metavar="A,B", help="Exactly these passes, in this order."),
    click.option("--skip-passes", callback=_names, metavar="A,B", help="Leave these passes out."),
    click.option(
        "--numerics",
        type=click.Choice(["exact", "rounding", "approx"]),
        default="rounding",
        show_default=True,
        help="The most that a rewrite may change results.",
    ),
    click.option(
        "--fold-size-threshold", callback=_size, default="1M", show_default=True, help="Largest folded constant."
    ),
    click.option("--assume", type=click.Choice(["target", "none"]), default="target", help="Dtypes the target lacks."),
    click.option("--resident-weights", is_flag=True, help="Weights stay on chip between requests where they fit."),
    click.option("--no-check", "check", flag_value=False, default=True, help="Do not compare with the original."),
    click.option("--strict", is_flag=True, help="Unplaced ops, failed passes and unverified results are errors."),
    click.option("--report", metavar="FILE.json", help="Write the full report."),
    click.option("--schedule", metavar="FILE.json", help="Write the schedule as a file of its own."),
    click.option("-v", "--verbose", is_flag=True, help="Every layer and near miss; a traceback on internal errors."),
    click.option("-q", "--quiet", is_flag=True, help="No report on stdout."),
]


def _optimize_command(name: str) -> click.Command:
    command: Any = _command("optimize")
    command.__doc__ = "Rewrite an ONNX model toward the roof of one machine, and report before and after."
    for decorate in reversed(OPTIMIZE):
        command = decorate(command)
    made: click.Command = click.command(name=name, epilog=EXIT_CODES)(command)
    made.params.append(_version_option())
    return made


def _version_option() -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            click.echo(f"{ctx.find_root().info_name} {__version__}")
            ctx.exit()

    return click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show the version."
    )


@click.group(epilog=EXIT_CODES)
def _group() -> None:
    """Compiler passes that move an ONNX graph toward the roof of one named machine."""


_group.params.append(_version_option())
_group.add_command(_optimize_command("optimize"))


@_group.command()
@click.argument("name", required=False)
def targets(name: str | None) -> None:
    """List the machines, or describe one with the source of every number."""
    _command("targets")(name=name)


@_group.command()
@click.argument("name", required=False)
def passes(name: str | None) -> None:
    """List the passes in their default order, or explain one."""
    _command("passes")(name=name)


@_group.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="The schedule as JSON.")
def show(model: str, as_json: bool) -> None:
    """Print the schedule that an optimized model carries."""
    _command("show")(model=model, as_json=as_json)


@_group.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--plots", metavar="DIR", help="Write a scatter plot per table.")
def validate(folder: str, plots: str | None) -> None:
    """Hold the cost model against measurements on real hardware."""
    _command("validation")(folder=folder, plots=plots)


def optimize() -> None:
    """Entry point of `optimize`."""
    _main(_optimize_command("optimize"), "optimize")


def main() -> None:
    """Entry point of `roofwright`."""
    _main(_group, "roofwright")


def _main(command: click.Command, name: str) -> None:
    try:
        command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail(name, "interrupted", 130)
    except click.ClickException as error:
        _fail(name, error.format_message(), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # the last line of defence: one line, whatever happened
        _fail_on(error, name)


def _fail_on(error: Exception, name: str) -> None:
    code = getattr(error, "exit_code", None)
    if code is not None:
        _fail(name, str(error), code)
    if "-v" in sys.argv or "--verbose" in sys.argv:
        raise error
    _fail(name, f"internal error ({type(error).__name__}: {error}); -v shows where", 1)


def _fail(name: str, message: str, code: int) -> None:
    line = " ".join(message.split())
    print(f"{name}: error: {line}", file=sys.stderr)
    sys.exit(code)
