import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from roofwright.targets import load_stack, load_target, stack_names, target_names
from roofwright.targets.document import FREE_SOURCES, HERE

FILES = sorted([*HERE.glob("*.toml"), *HERE.glob("stacks/*.toml")])
CONFIDENCE = ("high", "medium", "low", "derived", "measured")
NOT_THE_MACHINE_S = ("stack", "provenance", "name")


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any] | None]]:
    """(dotted key, number or leaf table, leaf table or None) of every number in a raw file."""
    if isinstance(value, dict) and "value" in value:
        yield key, value["value"], value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, f"{key}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, f"{key}.{i}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key, value, None


def numbers(value: Any, key: str = "") -> Iterator[str]:
    """Dotted keys of every number in a decoded target."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if key or field.name not in NOT_THE_MACHINE_S:
                yield from numbers(getattr(value, field.name), f"{key}.{field.name}" if key else field.name)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from numbers(item, f"{key}.{name}")
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from numbers(item, f"{key}.{getattr(item, 'name', i)}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_number_of_every_file_has_a_source_and_a_confidence(path: Path) -> None:
    document = tomllib.loads(path.read_text())
    sources = document.pop("sources", {})
    for key, _, leaf in leaves(document):
        assert leaf is not None, f"{key} is a bare number"
        assert set(leaf) == {"value", "source", "confidence"}, key
        assert leaf["confidence"] in CONFIDENCE, key
        label = leaf["source"]
        assert label in sources or label.startswith(FREE_SOURCES), key
        assert len(sources.get(label, label).split()) >= 3, f"{key}: {label} says too little"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_label_is_used(path: Path) -> None:
    document = tomllib.loads(path.read_text())
    sources = document.pop("sources", {})
    used = {leaf["source"] for _, _, leaf in leaves(document) if leaf is not None}
    texts = "".join(used)
    assert [label for label in sources if label not in used and f"({label})" not in texts] == []


def test_a_label_inside_a_derivation_is_spelled_out() -> None:
    source = load_target("tpuv2").provenance["memories.hbm.bytes_per_s"].source
    assert source.startswith("derived: 700 GB/s per chip (Jouppi et al.")
    assert "arXiv:1907.10701" in source


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_estimate_is_never_called_certain(path: Path) -> None:
    for key, _, leaf in leaves(tomllib.loads(path.read_text())):
        if leaf is not None and leaf["source"].startswith("estimate: "):
            assert leaf["confidence"] in ("low", "medium"), key


@pytest.mark.parametrize("name", target_names())
def test_the_provenance_of_a_target_covers_exactly_its_numbers(name: str) -> None:
    target = load_target(name)
    assert set(target.provenance) == set(numbers(target))


@pytest.mark.parametrize("name", stack_names())
def test_the_provenance_of_a_stack_covers_exactly_its_numbers(name: str) -> None:
    stack = load_stack(name)
    found = {
        key
        for f in dataclasses.fields(stack)
        if f.name != "provenance"
        for key in numbers(getattr(stack, f.name), f.name)
    }
    assert set(stack.provenance) == found
