"""What can go wrong, each kind with the exit code of the command line."""

from typing import ClassVar

_LONGEST_NAME = 120


def printable(name: object) -> str:
    """A name from a model as it may be shown: control characters escaped, at most 120 characters."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    cut = text[: _LONGEST_NAME + 1]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in cut)
    return safe if len(safe) <= _LONGEST_NAME else safe[: _LONGEST_NAME - 3] + "..."


class RoofwrightError(Exception):
    """Something that the user can act on; its message is one line that names the thing and what was expected."""

    exit_code: ClassVar[int] = 1


class UsageError(RoofwrightError):
    """A wrong flag, argument or name."""

    exit_code = 2


class InvalidModelError(RoofwrightError):
    """A model that cannot be read or breaks the ONNX rules."""

    exit_code = 3


class UnsafeModelError(RoofwrightError):
    """A model that reaches outside its own folder, or lies about its data."""

    exit_code = 3


class UnsupportedError(RoofwrightError):
    """A request that cannot be met for this model or target."""

    exit_code = 4


class VerificationError(RoofwrightError):
    """The optimized model does not compute what the original computes; `report` has what is known of it."""

    exit_code = 5

    def __init__(self, message: str, report: object = None) -> None:
        """Say what differs; `report` is the whole report where there is one."""
        super().__init__(message)
        self.report = report


class ResourceLimitError(RoofwrightError):
    """More time, memory or size than is allowed."""

    exit_code = 6


class WriteError(RoofwrightError):
    """An output that cannot be written."""

    exit_code = 7


class InvariantError(RoofwrightError):
    """A pass left the graph broken: a bug, not the user's fault."""

    exit_code = 1
