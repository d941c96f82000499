"""What was worked out once about things that do not change."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """The latest results, by kind and by the very objects they were made from (compared with `is`)."""

    def __init__(self, most: int = 128) -> None:
        """Keep `most` results; the oldest goes first."""
        self.most = most
        self._known: dict[tuple[Any, ...], tuple[Sequence[object], Any]] = {}
        self._alike: dict[Any, Any] = {}

    def once(self, kind: str, things: Sequence[object], make: Callable[[], T]) -> T:
        """What `make` returned when it was first asked for with these things, which must not change."""
        key = (kind, *map(id, things))
        if key not in self._known:
            self._known[key] = (things, make())  # the things stay alive, so their identities stay theirs
            if len(self._known) > self.most:
                del self._known[next(iter(self._known))]
        found: T = self._known[key][1]
        return found

    def same(self, thing: T) -> T:
        """The first thing seen that equals this one, so that what was made from either is found again."""
        found: T = self._alike.setdefault(thing, thing)
        if len(self._alike) > self.most:
            del self._alike[next(iter(self._alike))]
        return found
