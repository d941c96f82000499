"""The JSON form of a schedule: writer, strict reader and JSON Schema, all three derived from the dataclasses' types."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from roofwright.cost_model.schedule import SCHEMA, Schedule, ScheduleError


def to_json(schedule: Schedule, indent: int | None = None) -> str:
    """The schedule as text: sorted keys, and nothing that equals its default."""
    separators = (",", ":") if indent is None else None
    return json.dumps(_encode(schedule), sort_keys=True, indent=indent, separators=separators)


def from_json(text: str | bytes) -> Schedule:
    """The schedule that `to_json` wrote; anything else is a one-line `ScheduleError`."""
    try:
        data = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ScheduleError(f"schedule: not JSON ({error})") from None
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise ScheduleError(f"schedule: schema is {found!r}, expected {SCHEMA!r}")
    return cast(Schedule, _decode(Schedule, data, "schedule"))


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) that accepts what `from_json` reads, apart from the rules between fields."""
    definitions: dict[str, Any] = {}
    root = _schema_of(Schedule, definitions)
    definitions["Schedule"]["properties"]["schema"] = {"const": SCHEMA}
    definitions["Schedule"]["required"].append("schema")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA, "$defs": definitions, **root}


@cache
def _slots(cls: type) -> tuple[tuple[Field[Any], Any], ...]:
    """Fields of a dataclass with their resolved types."""
    hints = get_type_hints(cls)
    return tuple((f, hints[f.name]) for f in fields(cls))


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        pairs = ((f, getattr(value, f.name)) for f, _ in _slots(cast(type, type(value))))
        return {f.name: _encode(v) for f, v in pairs if f.name == "schema" or not _is_default(f, v)}
    if isinstance(value, Mapping):
        return {key: _encode(v) for key, v in value.items()}
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    return value


def _is_default(spec: Field[Any], value: Any) -> bool:
    if spec.default_factory is not MISSING:
        return bool(value == spec.default_factory())
    return spec.default is not MISSING and bool(value == spec.default)


def _decode(kind: Any, data: Any, where: str) -> Any:
    """`data` as a value of type `kind`; `where` is the path that messages name."""
    if is_dataclass(kind):
        return _decode_object(cast(type, kind), data, where)
    if kind in (int, str):
        if type(data) is not kind:
            raise ScheduleError(f"{where}: expected {_NAMES[kind]}, found {_shown(data)}")
        return data
    return _decode_generic(get_origin(kind), get_args(kind), data, where)


def _decode_generic(origin: Any, args: tuple[Any, ...], data: Any, where: str) -> Any:
    if origin is Literal:
        if data not in args:
            raise ScheduleError(f"{where}: expected one of {', '.join(map(str, args))}, found {_shown(data)}")
        return data
    if origin in (Union, UnionType):
        return None if data is None else _decode(next(a for a in args if a is not NoneType), data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise ScheduleError(f"{where}: expected a list, found {_shown(data)}")
        return tuple(_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if not isinstance(data, dict):
        raise ScheduleError(f"{where}: expected an object, found {_shown(data)}")
    return {_decode(args[0], key, where): _decode(args[1], item, f"{where}.{key}") for key, item in data.items()}


def _decode_object(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ScheduleError(f"{where}: expected an object, found {_shown(data)}")
    slots = _slots(cls)
    unknown = sorted(set(data) - {f.name for f, _ in slots})
    if unknown:
        raise ScheduleError(f"{where}: unknown key {unknown[0]!r}")
    for spec, _ in slots:
        if spec.name not in data and spec.default is MISSING and spec.default_factory is MISSING:
            raise ScheduleError(f"{where}: key {spec.name!r} is missing")
    values = {f.name: _decode(kind, data[f.name], f"{where}.{f.name}") for f, kind in slots if f.name in data}
    try:
        return cls(**values)
    except ScheduleError as error:
        raise ScheduleError(f"{where}: {error}") from None


_NAMES = {int: "an integer", str: "a string"}


def _shown(data: Any) -> str:
    text = json.dumps(data)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _schema_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if is_dataclass(kind):
        return _schema_of_object(cast(type, kind), definitions)
    if kind in (int, str):
        return {"type": "integer" if kind is int else "string"}
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, UnionType):
        return {"anyOf": [_schema_of(a, definitions) if a is not NoneType else {"type": "null"} for a in args]}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(args[0], definitions)}
    keys, values = (_schema_of(a, definitions) for a in args)
    return {"type": "object", "propertyNames": keys, "additionalProperties": values}


def _schema_of_object(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}
        slots = _slots(cls)
        definitions[cls.__name__] = {
            "type": "object",
            "description": (cls.__doc__ or "").partition("\n")[0],
            "properties": {f.name: _schema_of(kind, definitions) for f, kind in slots},
            "required": [f.name for f, _ in slots if f.default is MISSING and f.default_factory is MISSING],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{cls.__name__}"}
