import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model.schedule import SCHEMA, Kernel, NodeRef, Placement, Schedule, ScheduleError
from roofwright.cost_model.schedule_json import from_json, json_schema, to_json
from tests.cost_model.test_schedule import full

DOCUMENT = Path(__file__).parents[2] / "docs" / "schedule.schema.json"


def test_every_field_survives_the_round_trip() -> None:
    assert from_json(to_json(full())) == full()
    assert from_json(to_json(full(), indent=2)) == full()


def test_keys_are_sorted_and_defaults_left_out() -> None:
    text = to_json(full())
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    data = json.loads(text)
    assert data["schema"] == SCHEMA
    assert "strip_rows" not in data["kernels"][0]
    assert data["kernels"][1]["prefetch"] == [{"bytes": 150, "during": 0, "tensor": "w1"}]


@given(st.lists(st.tuples(st.text(min_size=1), st.integers(1, 10**12), st.integers(1, 3)), max_size=8))
def test_any_names_and_sizes_survive(rows: list[tuple[str, int, int]]) -> None:
    kernels = []
    for i, (name, size, copies) in enumerate(rows):
        buffer = Placement(tensor=name, level="l", offset_bytes=size, bytes=size, copies=copies)
        node = NodeRef(output=f"{i}{name}", op=name)
        kernels.append(Kernel(index=i, nodes=(node,), engine=name, buffers=(buffer,)))
    schedule = Schedule(target="t", batch=1, kernels=tuple(kernels))
    assert from_json(to_json(schedule)) == schedule


def changed(path: list[Any], value: Any) -> str:
    data = json.loads(to_json(full()))
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "schedule: not JSON"),
        ("[]", "schedule: schema is None, expected 'roofwright.schedule/1'"),
        (changed(["schema"], "roofwright.schedule/9"), "schema is 'roofwright.schedule/9'"),
        (changed(["batch"], True), "schedule.batch: expected an integer, found true"),
        (changed(["batch"], 1.5), "schedule.batch: expected an integer, found 1.5"),
        (changed(["kernels"], 3), "schedule.kernels: expected a list, found 3"),
        (changed(["dims"], []), r"schedule.dims: expected an object, found \[\]"),
        (changed(["kernels", 0], "k"), r"schedule.kernels\[0\]: expected an object"),
        (changed(["kernels", 0, "speed"], 1), r"schedule.kernels\[0\]: unknown key 'speed'"),
        (changed(["kernels", 0, "nodes", 0], {"op": "Relu"}), r"kernels\[0\].nodes\[0\]: key 'output' is missing"),
        (changed(["kernels", 1, "halo"], "none"), r"kernels\[1\].halo: expected one of recompute, rows, both"),
        (changed(["kernels", 0, "tilings", 0, "tile"], {"h": 1}), r"tilings\[0\].tile: expected one of repeat, rows"),
        (
            changed(["kernels", 1, "prefetch", 0, "during"], 1),
            r"kernels\[1\]: kernel 1 \(t1\): w1 is prefetched during",
        ),
    ],
)
def test_anything_else_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ScheduleError, match=message) as error:
        from_json(text)
    assert "\n" not in str(error.value)


def test_the_published_schema_is_current() -> None:
    assert json.loads(DOCUMENT.read_text(encoding="utf-8")) == json_schema()


def conforms(data: Any, rule: dict[str, Any], root: dict[str, Any]) -> bool:
    """The few JSON Schema keywords that the document uses."""
    if "$ref" in rule:
        return conforms(data, root["$defs"][rule["$ref"].rpartition("/")[2]], root)
    if "anyOf" in rule:
        return any(conforms(data, option, root) for option in rule["anyOf"])
    if "enum" in rule or "const" in rule:
        return data in rule.get("enum", [rule.get("const")])
    kinds: dict[str, type] = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}
    kind: Any = kinds[rule["type"]]
    if not isinstance(data, kind):
        return False
    if rule["type"] == "array":
        return all(conforms(item, rule["items"], root) for item in data)
    if rule["type"] != "object" or "properties" not in rule:
        return rule["type"] != "object" or all(conforms(v, rule["additionalProperties"], root) for v in data.values())
    known = rule["properties"]
    return set(rule["required"]) <= set(data) <= set(known) and all(
        conforms(v, known[k], root) for k, v in data.items()
    )


def test_the_schema_accepts_what_is_written_and_refuses_what_is_not_read() -> None:
    schema = json_schema()
    assert conforms(json.loads(to_json(full())), schema, schema)
    for path, value in (
        (["batch"], "1"),
        (["kernels", 0, "speed"], 1),
        (["kernels", 1, "halo"], "x"),
        (["schema"], "y"),
    ):
        assert not conforms(json.loads(changed(path, value)), schema, schema), path
