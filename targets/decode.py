"""Documents to dataclasses, driven by the dataclasses alone: a new field becomes a required key without code here.

Rules: a field is a key of the same name; an unknown key is an error, and so is a missing one unless its field has a
default; `X | None` is written "none" where it is absent; a tuple of dataclasses is a table whose keys are their names;
a union of dataclasses is told apart by the sibling key `kind`; every number stands in a leaf with source and
confidence.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from roofwright.targets.errors import TargetError, closest, shown
from roofwright.targets.leaves import LEAF_KEYS, NONE, is_leaf
from roofwright.targets.limits import violation
from roofwright.targets.spec import Provenance

T = TypeVar("T")


@dataclasses.dataclass
class Decoder:
    """Decodes one file and gathers the provenance of its numbers (`provenance`: dotted key -> Provenance)."""

    file: str
    provenance: dict[str, Provenance] = dataclasses.field(default_factory=dict)

    def fields(self, cls: type[T], table: object, key: str, given: Mapping[str, object]) -> T:
        """One dataclass from a table; `given` fields do not come from the file."""
        where = f"{key}." if key else ""
        hints = typing.get_type_hints(cls)
        slots = [f for f in dataclasses.fields(cls) if f.name not in given]  # type: ignore[arg-type]  # any dataclass
        names = [f.name for f in slots]
        table = self._table(table, key)
        for name in table:
            if name not in names:
                self.fail(f"{where}{name}", f"unknown key{closest(name, names)}")
        for slot in slots:
            if slot.name not in table and slot.default is dataclasses.MISSING:
                self.fail(f"{where}{slot.name}", "missing key")
        kind, stated = table.get("kind"), [name for name in names if name in table]
        values = {n: self._value(_geometry(hints[n], kind), table[n], f"{where}{n}", None) for n in stated}
        return cls(**values, **given)

    def fail(self, key: str, problem: str) -> typing.NoReturn:
        """Raise the one-line error of a key."""
        raise TargetError(f"{self.file}: {key}: {problem}")

    def _value(self, hint: Any, value: Any, key: str, origin: Provenance | None) -> Any:
        if is_leaf(value) and origin is None:
            origin, value = self._leaf(value, key), value["value"]
        if _optional(hint) is not None:
            return None if value == NONE else self._value(_optional(hint), value, key, origin)
        if dataclasses.is_dataclass(hint):
            return self.fields(typing.cast(type[object], hint), value, key, {})
        container = _CONTAINERS.get(get_origin(hint))
        if container is not None:
            return container(self, get_args(hint), value, key, origin)
        return self._number(hint, value, key, origin) if hint in (int, float) else self._plain(hint, value, key)

    def _leaf(self, leaf: dict[str, Any], key: str) -> Provenance:
        for name in leaf:
            if name not in LEAF_KEYS:
                self.fail(f"{key}.{name}", f"unknown key{closest(name, list(LEAF_KEYS))}")
        if "confidence" not in leaf:
            self.fail(f"{key}.confidence", "missing key")
        hint = typing.get_type_hints(Provenance)["confidence"]
        confidence = self._value(hint, leaf["confidence"], f"{key}.confidence", None)
        return Provenance(source=leaf["source"], confidence=confidence)

    def _number(self, hint: type, value: object, key: str, origin: Provenance | None) -> float:
        allowed = (int,) if hint is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, allowed):
            self.fail(key, f"expected {'a whole number' if hint is int else 'a number'}, found {shown(value)}")
        problem = violation(value, key)
        if problem:
            self.fail(key, f"{problem}, found {value}")
        if origin is None:
            self.fail(key, f"no source: write {{ value = {value}, source = ..., confidence = ... }}")
        self.provenance[key] = origin
        return hint(value)  # type: ignore[no-any-return]  # int or float

    def _plain(self, hint: type, value: object, key: str) -> object:
        if not isinstance(value, hint):
            self.fail(key, f"expected {_SPOKEN.get(hint, hint.__name__)}, found {shown(value)}")
        return value

    def _table(self, value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(key, f"expected a table, found {shown(value)}")
        return value

    def _mapping(self, args: tuple[Any, ...], value: object, key: str, origin: Provenance | None) -> object:
        items = {k: v for k, v in self._table(value, key).items() if v != NONE}
        return {k: self._value(args[1], v, f"{key}.{k}", origin) for k, v in items.items()}

    def _tuple(self, args: tuple[Any, ...], value: object, key: str, origin: Provenance | None) -> object:
        if dataclasses.is_dataclass(args[0]):
            items = {k: v for k, v in self._table(value, key).items() if v != NONE}
            cls = typing.cast(type[object], args[0])
            return tuple(self.fields(cls, v, f"{key}.{k}", {"name": k}) for k, v in items.items())
        if not isinstance(value, list):
            self.fail(key, f"expected a list, found {shown(value)}")
        hints = [args[0]] * len(value) if args[-1] is ... else list(args)
        if len(hints) != len(value):
            self.fail(key, f"expected {len(hints)} values, found {len(value)}")
        pairs = enumerate(zip(hints, value, strict=True))
        return tuple(self._value(hint, item, f"{key}.{i}", origin) for i, (hint, item) in pairs)

    def _literal(self, args: tuple[Any, ...], value: object, key: str, _origin: Provenance | None) -> object:
        if value not in args:
            hint = closest(value, list(args)) or f"; expected one of {', '.join(args)}"
            self.fail(key, f"{shown(value)} is not known{hint}")
        return value


_Container = Callable[[Decoder, tuple[Any, ...], Any, str, Provenance | None], object]
_CONTAINERS: dict[Any, _Container] = {
    Mapping: Decoder._mapping,
    tuple: Decoder._tuple,
    Literal: Decoder._literal,
}
_SPOKEN = {str: "a text", bool: "true or false"}


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else ()


def _optional(hint: Any) -> Any:
    rest = [member for member in _members(hint) if member is not type(None)]
    return rest[0] if len(rest) == 1 else None


def _geometry(hint: Any, kind: object) -> Any:
    """A union of dataclasses narrowed by the sibling key `kind`; any other hint as it is."""
    named = {str(m.__name__).lower(): m for m in _members(hint) if isinstance(m, type) and dataclasses.is_dataclass(m)}
    return named.get(str(kind), hint) if len(named) > 1 else hint
