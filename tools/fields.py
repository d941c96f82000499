"""A field's value as people read it: the unit is taken from the end of the field's name."""

import math
from collections.abc import Mapping
from typing import Any

_DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))
_BINARY = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
_UNITS = (  # the longest ending first
    ("usd_per_hour", "USD/h"),
    ("bytes_per_clock", "B/clock"),
    ("bytes_per_s", "B/s"),
    ("per_clock", "/clock"),
    ("joule_per_mac", "J/MAC"),
    ("joule_per_byte", "J/B"),
    ("flops", "OP/s"),
    ("_hz", "Hz"),
    ("_bits", "bits"),
    ("limit_w", "W"),
    ("idle_w", "W"),
    ("_s", "s"),
)


def spoken(name: str, value: Any) -> str:
    """A field's value as text, e.g. ("clock_hz", 7e8) -> "700 MHz", ("capacity_bytes", 16777216) -> "16 MiB"."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {spoken(name, item)}" for key, item in value.items()) or "none"
    if isinstance(value, tuple):
        return _listed(value)
    if isinstance(value, (int, float)):
        return _number(name, value)
    return str(value)


def _listed(items: tuple[Any, ...]) -> str:
    if not items:
        return "none"
    if all(isinstance(item, tuple) for item in items):
        return ", ".join(_listed(item) for item in items)
    return (" x " if all(isinstance(item, int) for item in items) else ", ").join(str(item) for item in items)


def _number(name: str, value: float) -> str:
    if math.isinf(value):
        return "unlimited"
    if name.endswith("bytes"):
        return _scaled(value, _BINARY)
    unit = next((unit for ending, unit in _UNITS if name.endswith(ending)), "")
    if unit in ("USD/h", "B/clock", "/clock", "bits", "W", ""):
        return f"{value:.5g} {unit}".replace(" /", "/").strip()
    if unit.startswith("J/"):
        return f"{value * 1e12:.4g} p{unit}"
    return _scaled(value, _DECIMAL, unit)


def _scaled(value: float, steps: tuple[tuple[float, str], ...], unit: str = "") -> str:
    size, prefix = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    if value == 0:
        size, prefix = 1, "B" if steps is _BINARY else ""
    return f"{value / size:.4g} {prefix}{unit}"
