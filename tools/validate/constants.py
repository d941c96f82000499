"""What the validation rests on beside the machines' files: every constant of a stack or of a workload, counted.

python -m roofwright.tools.validate.constants      prints the tables of docs/validation.md, which a test compares
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any, Literal

Origin = Literal["set", "estimate", "derived", "cited"]

# stack -> tables priced with it
USED: Mapping[str, tuple[str, ...]] = {
    "compiled": ("TPU v1",),
    "cuda8": ("DeepBench",),
    "cudnn5": ("DeepBench", "K80, P100"),
    "cudnn7": ("DeepBench",),
    "cudnn7-layerwise": ("ShuffleNet V2",),
    "miopen": ("DeepBench",),
    "ncnn": ("DeepBench", "ncnn"),
    "onnxruntime-cpu": ("DeepBench",),
    "pytorch-container": ("ResNet-50",),
    "pytorch-eager": ("HAT",),
    "pytorch-eager-cpu": ("HAT",),
    "tf-gpu-training": ("V100 training",),
    "tf-tpu-training": ("TPU v2",),
    "tflite": ("DeepBench", "Pixel", "ShuffleNet V2"),
    "tflite-edgetpu": ("Edge TPU",),
}
# (module, constant, origin, where it comes from, tables): what is written in code instead of a stack's file
CODE: tuple[tuple[str, str, Origin, str, str], ...] = (
    ("cost_model.residency", "CACHE_SHARE", "estimate", "what conflicts and other traffic leave of it", "all networks"),
    ("cost_model.simd", "_TILE_ROWS", "derived", "accumulators that hide the latency of two ports", "all on CPUs"),
    ("cost_model.simd", "_WINOGRAD_CHANNELS", "estimate", "fewer leave nothing to block", "all on CPUs"),
    ("cost_model.library", "_DENSE_MEMORY_SHARE", "estimate", "of the bandwidth, under dense work", "DeepBench"),
    (
        "targets.cores",
        "_SATURATING_CORES",
        "estimate",
        "draw all of a memory's bandwidth",
        "ncnn, Pixel, ShuffleNet V2",
    ),
    (
        "tools.validate.transformers",
        "_ENCODER_CALLS",
        "estimate",
        "attention 35, feed-forward 12, less 6 products",
        "HAT",
    ),
    ("tools.validate.transformers", "_DECODER_CALLS", "estimate", "the same of a decoder layer", "HAT"),
    ("tools.validate.transformers", "_STEP_CALLS", "estimate", "the same of a token outside the layers", "HAT"),
    ("tools.validate.networks_gpu", "_ELEMENTWISE_PASSES", "derived", "once forward, twice backward", "K80, P100"),
    ("tools.validate.networks_gpu", "_UPDATE_BYTES", "derived", "momentum: five values of 4 bytes", "K80, P100"),
    ("tools.validate.tpuv1_apps", "_WIDER", "set", "CNN1's channels, revised after a comparison", "TPU v1"),
    ("tools.validate.tpuv1_apps", "_CNN1_SIDE", "set", "CNN1's matrices, revised after a comparison", "TPU v1"),
    ("tools.validate.tpuv1_apps", "_CNN1_PART", "set", "CNN1's images at a time, after 4, 8, 16, 32", "TPU v1"),
)


@dataclass(frozen=True)
class Constant:
    """One constant: where it stands, its value, how it was found, and the tables that it touches."""

    home: str
    name: str
    value: str
    origin: Origin
    source: str
    tables: str


def constants() -> list[Constant]:
    """Those of stacks, then those of code."""
    found = [constant for stack in sorted(_documents()) for constant in _of_stack(stack)]
    for home, name, origin, source, tables in CODE:
        value = getattr(import_module(f"roofwright.{home}"), name)
        found.append(Constant(home, name.lstrip("_").lower(), _text(value), origin, source, tables))
    return found


def markdown() -> str:
    """A count by origin, and a row per constant."""
    rows = constants()
    origins: tuple[Origin, ...] = ("set", "estimate", "derived", "cited")
    homes = list(dict.fromkeys(row.home for row in rows))
    lines = ["| where | " + " | ".join(origins) + " |", "|---|" + "---|" * len(origins)]
    for home in homes:
        counts = [sum(row.home == home and row.origin == origin for row in rows) for origin in origins]
        lines.append(f"| `{home}` | " + " | ".join(str(count or "") for count in counts) + " |")
    totals = [sum(row.origin == origin for row in rows) for origin in origins]
    lines.append("| **all** | " + " | ".join(f"**{count}**" for count in totals) + " |")
    lines += ["", "| constant | value | origin | from | touches |", "|---|---|---|---|---|"]
    lines += [f"| `{r.home}` {r.name} | {r.value} | {r.origin} | {r.source} | {r.tables} |" for r in rows]
    return "\n".join(lines)


@cache
def _documents() -> dict[str, dict[str, Any]]:
    folder = files("roofwright.targets") / "stacks"
    paths = [path for path in folder.iterdir() if path.name.endswith(".toml")]
    return {path.name.removesuffix(".toml"): tomllib.loads(path.read_text(encoding="utf-8")) for path in paths}


def _of_stack(stack: str) -> Iterator[Constant]:
    document = _documents()[stack]
    named = document.get("sources", {})
    for key, value, source in _leaves(document):
        tables = sorted({table for user, uses in USED.items() if _reaches(user, stack, key) for table in uses})
        if value and tables:  # zero is the absence of a cost; what no table uses is not validated by any
            text = named.get(source, source)
            yield Constant(stack, key, _text(value), _origin(text), text, ", ".join(tables))


def _leaves(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, str]]:
    """(dotted key, value, source) of every stated number; a table of numbers counts each of them."""
    found = []
    for key, entry in table.items():
        if not isinstance(entry, dict) or key == "sources":
            continue
        if "value" not in entry:
            found += [(name, value, source) for name, value, source in _leaves(entry, f"{prefix}{key}.")]
        elif isinstance(entry["value"], dict):
            found += [(f"{prefix}{key}.{name}", value, entry["source"]) for name, value in entry["value"].items()]
        else:
            found.append((f"{prefix}{key}", entry["value"], entry["source"]))
    return found


def _reaches(user: str, stack: str, key: str) -> bool:
    """Whether the user's figure of that name is the stack's."""
    while user != stack:
        document = _documents()[user]
        if "inherit" not in document or key in {name for name, *_ in _leaves(document)}:
            return False
        user = document["inherit"]
    return True


def _origin(source: str) -> Origin:
    if "set by hand" in source or source.startswith("set "):
        return "set"
    if source.startswith("estimate"):
        return "estimate"
    return "derived" if source.startswith("derived") else "cited"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join("x".join(map(str, tile)) for tile in value)
    return f"{value:g}"


if __name__ == "__main__":
    print(markdown())
