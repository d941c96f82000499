"""Readers of the ShuffleNet V2 paper: equal work at different speed (Tables 1-4), and 34 networks (Table 8).

Networks ran layer by layer on a GTX 1080 Ti (stack `cudnn7-layerwise`) and on one core of a Snapdragon 810 (stack
`tflite`, its epilogues apart and without Winograd: the authors' own kernels are of the same kind).
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np
import onnx

from roofwright.cost_model import GraphModel
from roofwright.graph import zoo
from roofwright.targets import Target, load_target, with_cores
from roofwright.tools.validate import nets_searched, nets_shuffle
from roofwright.tools.validate.base import Comparison, Reader, Result, Table, Tally
from roofwright.tools.validate.models import model_of, nearest, with_views
from roofwright.tools.validate.price import Priced, network_s

_SIZE = 56
_BLOCKS = 10
_GAP = 1.10  # measured ratio from which two variants count as different
_GPU_BATCH = 8  # of Table 8
_WIDTHS = (1, 2, 4)
_DEVICES = {"gtx1080ti": "gpu", "sd810_1thread": "arm"}


def machines() -> dict[str, Target]:
    """The GPU, and one ARM core with direct kernels only; neither fuses anything."""
    arm = with_cores(load_target("cortex_a57", stack="tflite"), 1)
    direct = dataclasses.replace(arm.engines[0], algorithms=("direct",))
    apart = dataclasses.replace(arm.stack, fuses=())
    arm = dataclasses.replace(arm, engines=(direct, *arm.engines[1:]), stack=apart)
    return {"gpu": load_target("gtx1080ti", stack="cudnn7-layerwise"), "arm": arm}


def _ratio(variant: str, channels: list[int]) -> onnx.ModelProto:
    return nets_shuffle.ratio(_SIZE, _BLOCKS, *channels)


def _grouped(variant: str, channels: int) -> onnx.ModelProto:
    return nets_shuffle.grouped(_SIZE, _BLOCKS, channels, int(_number(variant)))


def _fragments(variant: str, channels: int) -> onnx.ModelProto:
    return nets_shuffle.fragments(_SIZE, _BLOCKS, channels, int(_number(variant)), parallel="parallel" in variant)


def _bottlenecks(variant: str, channels: int) -> onnx.ModelProto:
    relu, shortcut = (word in variant and f"no {word}" not in variant for word in ("relu", "shortcut"))
    return nets_shuffle.bottlenecks(_SIZE, _BLOCKS, channels, relu=relu, shortcut=shortcut)


_GUIDELINES: Mapping[str, Callable[[str, Any], onnx.ModelProto]] = {
    "G1": _ratio,
    "G2": _grouped,
    "G3": _fragments,
    "G4": _bottlenecks,
}


def _number(text: str) -> str:
    found = re.search(r"\d+", text)
    if not found:
        raise ValueError(f"no number in {text!r}")
    return found[0]


def _widened(channels: Any, width: int) -> Any:
    if isinstance(channels, list):
        return [width * c for c in channels]
    return width * int(_number(str(channels))) if isinstance(channels, str) else width * channels


def read_guidelines(table: Table) -> list[Result]:
    """Order of the variants of each guideline, at each width, on each device."""
    table.require("guideline", "variant", "device", "channels_x1", "speed_x1", "speed_x2", "speed_x4")
    targets = machines()
    points: dict[tuple[str, str, int], list[tuple[str, float, float]]] = {}
    for row in table.records():
        target = targets[_DEVICES[row["device"]]]
        for width in _WIDTHS:
            built = _GUIDELINES[row["guideline"]](row["variant"], _widened(row["channels_x1"], width))
            seconds = network_s(with_views(model_of(built)), target).seconds
            key = (row["guideline"], row["device"], width)
            points.setdefault(key, []).append((row["variant"], 1 / row[f"speed_x{width}"], seconds))
    return [_ordered(table.name, device, points) for device in _DEVICES]


def _ordered(table: str, device: str, points: Mapping[tuple[str, str, int], list[tuple[str, float, float]]]) -> Tally:
    right, misses = 0, []
    for (guideline, where, width), variants in points.items():
        for (one, one_s, one_predicted), (two, two_s, two_predicted) in combinations(variants, 2):
            if where != device or max(one_s / two_s, two_s / one_s) <= _GAP:
                continue
            if (one_s > two_s) == (one_predicted > two_predicted):
                right += 1
            else:
                misses.append(f"{guideline} x{width}: {one} against {two}")
    what = "order of variants with a measured gap above 10 %"
    return Tally(table, device, "guidelines", what, right, right + len(misses), tuple(misses))


@cache
def build(name: str, macs: float, batch: int) -> GraphModel | None:
    """The network of a row of Table 8; None where the name is of no known family."""
    for pattern, family in _FAMILIES.items():
        found = re.search(pattern, name)
        if found:
            return with_views(model_of(family(found, macs)(batch=batch)))
    return None


_Family = Callable[[re.Match[str], float], Callable[..., onnx.ModelProto]]


def _wide(builder: Callable[..., onnx.ModelProto]) -> _Family:
    """Width from the name."""
    return lambda found, macs: partial(builder, width=float(found[1]), weights=False)


def _by_size(builder: Callable[..., onnx.ModelProto]) -> _Family:
    """Width from the name, input size from the stated multiply-accumulates."""

    def family(found: re.Match[str], macs: float) -> Callable[..., onnx.ModelProto]:
        wide = partial(builder, width=float(found[1]), weights=False)
        return partial(wide, size=nearest(lambda size: wide(size=size), macs, range(128, 225, 32)))

    return family


def _by_channels(builder: Callable[..., onnx.ModelProto], options: range) -> _Family:
    return lambda found, macs: partial(builder, nearest(builder, macs, options))


def _condensed(groups: int) -> Callable[..., onnx.ModelProto]:
    return partial(nets_shuffle.densenet_like, groups=groups)


_FAMILIES: Mapping[str, _Family] = {
    r"^ShuffleNet v2 (\d[\d.]*)x$": _wide(zoo.shufflenet_v2),
    r"^ShuffleNet v1 (\d[\d.]*)x": _wide(zoo.shufflenet_v1),
    r"^(\d[\d.]*) MobileNet v1": _by_size(zoo.mobilenet_v1),
    r"^(\d[\d.]*) MobileNet v2": _by_size(zoo.mobilenet_v2),
    r"^IGCV3-D(?: \((\d[\d.]*)\))?": lambda found, macs: partial(nets_searched.igcv3, float(found[1] or 1)),
    r"IGCV2": _by_channels(nets_shuffle.igcv2, range(8, 129, 8)),
    r"CondenseNet \(G=C=8\)": _by_channels(_condensed(8), range(8, 161, 8)),
    r"CondenseNet": _by_channels(_condensed(4), range(8, 161, 8)),
    r"DenseNet": _by_channels(nets_shuffle.densenet_like, range(4, 161, 2)),
    r"Xception": _by_channels(nets_shuffle.xception_like, range(16, 513, 8)),
}


def read_networks(table: Table) -> list[Result]:
    """Whole networks on the GPU (batches of 8) and on the ARM core (batches of 1)."""
    table.require("network", "mflops_macs", "gpu_batches_per_s", "arm_images_per_s")
    targets = machines()
    runs: dict[str, list[tuple[str, Priced, float]]] = {"gpu": [], "arm": []}
    for row in table.records():
        for machine, batch, column in (("gpu", _GPU_BATCH, "gpu_batches_per_s"), ("arm", 1, "arm_images_per_s")):
            model = build(row["network"], row["mflops_macs"] * 1e6, batch)
            if model is not None and row[column]:
                priced = network_s(model, targets[machine])
                runs[machine].append((row["network"], priced, 1 / row[column]))
    return [_networks(table.name, targets[machine].name, rows) for machine, rows in runs.items()]


def _networks(table: str, machine: str, rows: list[tuple[str, Priced, float]]) -> Comparison:
    predicted = np.array([priced.seconds for _, priced, _ in rows])
    measured = np.array([seconds for _, _, seconds in rows])
    labels, reasons = tuple(name for name, _, _ in rows), tuple(priced.reason for _, priced, _ in rows)
    return Comparison(table, machine, "network fp32", predicted, measured, labels, reasons)


READERS: dict[str, Reader] = {
    "shufflenetv2_guidelines.json": read_guidelines,
    "shufflenetv2_table8.json": read_networks,
}
