"""The command line: `optimize`, and `roofwright` with it and every further command as a subcommand.

Nothing heavy is imported here: a command's module is loaded when the command runs. On failure stderr carries exactly
one line, and the exit code says what kind of failure it is.
"""

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from roofwright import __version__
from roofwright.tools.arguments import OPTIMIZE

EXIT_CODES = """\b
Exit codes: 0 success (also: nothing to do), 1 internal error, 2 usage, 3 input unreadable, invalid or unsafe,
4 not possible for this model or target, 5 verification failed, 6 resource limit, 7 cannot write, 130 interrupted."""

_STDOUT_ERRORS = (errno.ENOSPC, errno.EIO, errno.EBADF)  # a full disk or a closed stream behind stdout


def _command(module: str) -> Callable[..., None]:
    """The `run` function of a command's module, imported when it is called."""

    def run(**arguments: Any) -> None:
        import_module(f"roofwright.tools.{module}").run(**arguments)

    return run


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


class _Commands(click.Group):
    """A group that answers a missing or misspelt command with what there is."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the closest match."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            close = get_close_matches(args[0], self.commands, 1)
            hint = f"did you mean {close[0]}?" if close else f"expected {_listed(self)}"
            raise click.UsageError(f"no command is called {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


def _listed(group: click.Group) -> str:
    return f"one of {', '.join(group.commands)} (--help explains)"


@click.group(cls=_Commands, epilog=EXIT_CODES, invoke_without_command=True)
@click.pass_context
def _group(ctx: click.Context) -> None:
    """Compiler passes that move an ONNX graph toward the roof of one named machine."""
    if ctx.invoked_subcommand is None:
        raise click.UsageError(f"no command given; expected {_listed(_group)}")


_group.params.append(_version_option())
_group.add_command(_optimize_command("optimize"))


@_group.command()
@click.argument("name", required=False)
def targets(name: str | None) -> None:
    """List the machines, or describe one with the source of every number."""
    _command("targets")(name=name)


@_group.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="The list, or the one pass, as JSON.")
def passes(name: str | None, as_json: bool) -> None:
    """List the passes in their default order, or explain one."""
    _command("passes")(name=name, as_json=as_json)


@_group.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="The schedule as JSON.")
def show(model: str, as_json: bool) -> None:
    """Print the schedule that an optimized model carries."""
    _command("show")(model=model, as_json=as_json)


@_group.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--plots", metavar="DIR", help="Write a scatter plot per table into this folder.")
def validate(folder: str, plots: str | None) -> None:
    """Hold the cost model against measurements on real hardware."""
    _command("validation")(folder=folder, plots=plots)


def optimize(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `optimize`; `arguments` are those of the process where None."""
    _main(_optimize_command("optimize"), "optimize", arguments)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `roofwright`; `arguments` are those of the process where None."""
    _main(_group, "roofwright", arguments)


def _main(command: click.Command, name: str, arguments: Sequence[str] | None) -> NoReturn:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        gc.disable()  # the process is ours and short-lived: looking for cycles took a tenth of its time
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    try:
        # Not click's own main(): on an interrupt and on a closed pipe it prints and exits by itself.
        with _terminated(), command.make_context(name, given[:]) as context:
            command.invoke(context)
            _flush()
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail(name, "interrupted", 130)
    except click.ClickException as error:
        _fail(name, error.format_message(), 2)
    except BrokenPipeError:  # whoever read stdout has seen enough; what was to be written is written
        _silence()
    except MemoryError:
        _fail(name, "out of memory", 6)
    except Exception as error:  # the last line of defence: one line, whatever happened
        _fail_on(error, name, given)
    sys.exit(0)


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM leaves through the `finally` blocks, so that no half-written file stays behind."""

    def leave(*_: object) -> NoReturn:
        sys.exit(128 + signal.SIGTERM)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: nothing to do
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _silence() -> None:
    """Let stdout lead nowhere, so that the interpreter's last flush has nothing to complain about."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail_on(error: Exception, name: str, given: Sequence[str]) -> NoReturn:
    code = getattr(error, "exit_code", None)
    if isinstance(error, OSError) and error.filename is None and error.errno in _STDOUT_ERRORS:
        _silence()
        _fail(name, f"stdout: cannot be written: {error.strerror or error}", 7)
    if code is not None:
        _fail(name, str(error), code)
    if "-v" in given or "--verbose" in given:
        raise error
    _fail(name, f"internal error ({type(error).__name__}: {error}); -v shows where", 1)


def _fail(name: str, message: str, code: int) -> NoReturn:
    line = " ".join(message.split())
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
    if sys.stderr is not None:
        print(f"{name}: error: {safe}", file=sys.stderr)
    sys.exit(code)
