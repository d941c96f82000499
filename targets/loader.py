"""Loading targets and stacks: by shipped name, or from a TOML file of the user."""

from pathlib import Path

from roofwright.targets.check import check_stack, check_target
from roofwright.targets.decode import Decoder
from roofwright.targets.document import HERE, locate, read_chain, relative, shipped_names
from roofwright.targets.errors import TargetError
from roofwright.targets.spec import Stack, Target

_STACKS = HERE / "stacks"


def target_names() -> tuple[str, ...]:
    """Names of the targets that come with the package, sorted."""
    return shipped_names(HERE)


def stack_names() -> tuple[str, ...]:
    """Names of the software stacks that come with the package, sorted."""
    return shipped_names(_STACKS)


def load_target(name_or_path: str | Path, *, stack: str | Path | None = None) -> Target:
    """Load one machine.

    Args:
        name_or_path: a shipped name, or the path of a TOML file.
        stack: a stack to run it with in place of the target's own, by name or path.

    Returns:
        The validated target.

    Raises:
        TargetError: unknown name, unreadable file, or a key that is unknown, missing, of a wrong type or out of range.
    """
    path = locate(name_or_path, HERE, "target")
    document = read_chain(path, HERE, "target")
    if "stack" not in document:
        raise TargetError(f"{path}: stack: missing key")
    own = relative(document.pop("stack"), path, "stack", _STACKS, "stack")
    decoder = Decoder(str(path))
    given = {
        "name": path.stem,
        "stack": load_stack(own if stack is None else stack),
        "provenance": decoder.provenance,
    }
    target = decoder.fields(Target, document, "", given)
    check_target(target, decoder.fail)
    return target


def load_stack(name_or_path: str | Path) -> Stack:
    """Load one software stack, by shipped name or path; TargetError where it cannot be used."""
    path = locate(name_or_path, _STACKS, "stack")
    decoder = Decoder(str(path))
    document = read_chain(path, _STACKS, "stack")
    stack = decoder.fields(Stack, document, "", {"name": path.stem, "provenance": decoder.provenance})
    check_stack(stack, decoder.fail)
    return stack
