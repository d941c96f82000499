"""The part of JSON Schema that our schemas use."""

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def errors(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "$") -> Iterator[str]:
    """Everything that is wrong with `value`, as 'place: what'."""
    if "$ref" in schema:
        yield from errors(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, place)
        return
    if "const" in schema and value != schema["const"]:
        yield f"{place}: expected {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is none of {schema['enum']}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    kind = next((kind for kind in kinds if _is(value, kind)), None)
    if kinds and kind is None:
        yield f"{place}: expected {' or '.join(kinds)}, found {value!r:.40}"
    elif kind == "array":
        for position, item in enumerate(value):
            yield from errors(item, schema["items"], root, f"{place}[{position}]")
    elif kind == "object":
        yield from _object_errors(value, schema, root, place)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _object_errors(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], place: str) -> Iterator[str]:
    known, rest = schema.get("properties", {}), schema["additionalProperties"]
    yield from (f"{place}: {key} is missing" for key in schema.get("required", ()) if key not in value)
    for key, item in value.items():
        if key in known:
            yield from errors(item, known[key], root, f"{place}.{key}")
        elif rest is False:
            yield f"{place}: {key} is unknown"
        else:
            yield from errors(item, rest, root, f"{place}.{key}")
