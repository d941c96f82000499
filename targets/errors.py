"""The one error of this room: a target or stack file that cannot be used."""

from difflib import get_close_matches

_LONGEST_NAME = 120


class TargetError(Exception):
    """A target or stack that is unknown, unreadable or invalid; the message is one line that names file and key."""

    exit_code = 2


def shown(value: object) -> str:
    """A value from a file as it may stand in a one-line message: escaped and cut."""
    text = ascii(value)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."


def closest(word: object, known: list[str]) -> str:
    """A hint for a misspelt word: '; did you mean ...?', or nothing where no known word is near."""
    near = get_close_matches(str(word), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
