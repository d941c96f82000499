"""A small, complete target file, and ways to spoil it."""

from pathlib import Path

SOURCE = '[sources]\nsheet = "a data sheet"\n'
NUMBER = 'source = "sheet", confidence = "high" }'

MINIMAL = f"""
title = "Toy"
summary = "One vector core over one memory."
stack = "compiled"
price_usd_per_hour = "none"
power = "none"
assume = {{}}

[engines.core]
kind = "simd"
count = {{ value = 2, {NUMBER}
clock_hz = {{ value = 1e9, {NUMBER}
macs_per_clock = {{ value = {{ float32 = 8 }}, {NUMBER}
lanes_per_clock = {{ value = {{ float32 = 8 }}, {NUMBER}
special_per_clock = "none"
runs = ["matmul", "conv", "elementwise"]
algorithms = ["direct"]

[engines.core.geometry]
vector_bits = {{ value = 256, {NUMBER}
channel_granule = {{ value = 8, {NUMBER}
tile_unit = "none"
overlaps_memory = true

[memories.dram]
capacity_bytes = {{ value = 1_000_000, {NUMBER}
bytes_per_s = {{ value = 1e9, {NUMBER}
efficiency = {{ value = 0.5, {NUMBER}
managed = "cache"
holds = ["activations", "weights"]
latency_s = {{ value = 0.0, {NUMBER}
setup_s = {{ value = 0.0, {NUMBER}

[link]
name = "none"
bytes_per_s = {{ value = inf, {NUMBER}
latency_s = {{ value = 0.0, {NUMBER}

{SOURCE}"""


def write(folder: Path, text: str = MINIMAL, name: str = "toy.toml") -> Path:
    """The text as a file."""
    path = folder / name
    path.write_text(text)
    return path


def spoiled(old: str, new: str) -> str:
    """The minimal file with one piece replaced; the piece must stand in it."""
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1)
