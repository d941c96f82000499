"""rich's console as our commands use it: no guessing at numbers, and a closed pipe is the caller's business."""

from typing import Any, NoReturn

from rich.console import Console as RichConsole


class Console(RichConsole):
    """A console that leaves BrokenPipeError to the command line instead of ending the process."""

    def __init__(self, **settings: Any) -> None:
        """As rich's, without highlighting; long lines are left whole."""
        super().__init__(**{"highlight": False, "soft_wrap": True, **settings})

    def on_broken_pipe(self) -> NoReturn:
        """Called by rich where nobody reads any more."""
        raise BrokenPipeError
