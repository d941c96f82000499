"""Readers of the ShuffleNet V2 paper: equal work at different speed (Tables 1-4), and 34 networks (Table 8).

Networks ran layer by layer on a GTX 1080 Ti (stack `cudnn7-layerwise`) and on one core of a Snapdragon 810 (stack
`neon-layerwise`; its own kernels, without Winograd).
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from roofwright.targets import Target, load_target
from roofwright.tools.validate import nets_mobile, nets_shuffle
from roofwright.tools.validate.base import Comparison, Reader, Result, Table, Tally
from roofwright.tools.validate.nets import Map, Net
from roofwright.tools.validate.price import Priced, network_s, with_cores

_SIZE = 56
_BLOCKS = 10
_GAP = 1.10  # measured ratio from which two variants count as different
_GPU_BATCH = 8  # of Table 8
_WIDTHS = (1, 2, 4)
_DEVICES = {"gtx1080ti": "gpu", "sd810_1thread": "arm"}


def machines() -> dict[str, Target]:
    """The GPU, and one ARM core with direct kernels only."""
    arm = with_cores(load_target("cortex_a57", stack="neon-layerwise"), 1)
    direct = dataclasses.replace(arm.engines[0], algorithms=("direct",))
    gpu = load_target("gtx1080ti", stack="cudnn7-layerwise")
    return {"gpu": gpu, "arm": dataclasses.replace(arm, engines=(direct, *arm.engines[1:]))}


def _ratio(net: Net, variant: str, channels: list[int]) -> None:
    """G1: two 1x1 convolutions c1 -> c2 -> c1."""
    narrow, wide = channels
    for _ in range(_BLOCKS):
        net.conv(net.conv(Map(_SIZE, _SIZE, narrow), wide, norm=False), narrow, norm=False)


def _grouped(net: Net, variant: str, channels: int) -> None:
    """G2: pointwise group convolutions; the variant ends in the number of groups."""
    groups = int(_number(variant))
    for _ in range(_BLOCKS):
        net.conv(Map(_SIZE, _SIZE, channels), channels, groups=groups, norm=False)


def _fragments(net: Net, variant: str, channels: int) -> None:
    """G3: 1, 2 or 4 pointwise convolutions in a row, or side by side on slices and concatenated."""
    pieces = int(_number(variant))
    x = Map(_SIZE, _SIZE, channels)
    for _ in range(_BLOCKS):
        if "parallel" in variant:
            net.concat(*(net.conv(x, channels, norm=False) for _ in range(pieces)))
            continue
        for _ in range(pieces):
            net.conv(x, channels, norm=False)


def _bottleneck(net: Net, variant: str, channels: str) -> None:
    """G4: 1x1, 3x3, 1x1 through a quarter of the channels, with or without ReLU and shortcut."""
    wide = int(_number(str(channels)))
    relu, shortcut = (word in variant and f"no {word}" not in variant for word in ("relu", "shortcut"))
    x = Map(_SIZE, _SIZE, wide)
    for _ in range(_BLOCKS):
        y = net.conv(net.conv(x, wide // 4, norm=False, act=relu), wide // 4, 3, norm=False, act=relu)
        y = net.conv(y, wide, norm=False, act=False)
        if shortcut:
            net.add(y)
        if relu:
            net.elementwise(y, "act", epilogue=True)


_GUIDELINES: Mapping[str, Callable[[Net, str, Any], None]] = {
    "G1": _ratio,
    "G2": _grouped,
    "G3": _fragments,
    "G4": _bottleneck,
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
            net = Net()
            _GUIDELINES[row["guideline"]](net, row["variant"], _widened(row["channels_x1"], width))
            seconds = network_s(net.layers, target, "float32").seconds
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


def build(name: str, macs: float, batch: int) -> Net | None:
    """The network of a row of Table 8; None where the name is of no known family."""
    for pattern, family in _FAMILIES.items():
        found = re.search(pattern, name)
        if found:
            return family(found, macs, batch)
    return None


def _plain(builder: Callable[[Net, float], Map]) -> Callable[[re.Match[str], float, int], Net]:
    def built(found: re.Match[str], macs: float, batch: int) -> Net:
        net = Net(batch)
        builder(net, float(found[1]))
        return net

    return built


def _by_size(builder: Callable[[Net, float, int], Map]) -> Callable[[re.Match[str], float, int], Net]:
    """Width from the name, input size from the stated multiply-accumulates."""

    def built(found: re.Match[str], macs: float, batch: int) -> Net:
        width = float(found[1])
        return nets_shuffle.sized(lambda net, size: builder(net, width, size), macs, range(128, 225, 32), batch)

    return built


def _by_channels(builder: Callable[[Net, int], Map], options: range) -> Callable[[re.Match[str], float, int], Net]:
    return lambda found, macs, batch: nets_shuffle.sized(builder, macs, options, batch)


_FAMILIES: Mapping[str, Callable[[re.Match[str], float, int], Net]] = {
    r"^ShuffleNet v2 (\d[\d.]*)x$": _plain(nets_shuffle.shufflenet_v2),
    r"^ShuffleNet v1 (\d[\d.]*)x": _plain(nets_shuffle.shufflenet_v1),
    r"^(\d[\d.]*) MobileNet v1": _by_size(nets_mobile.mobilenet_v1),
    r"^(\d[\d.]*) MobileNet v2": _by_size(nets_mobile.mobilenet_v2),
    r"^IGCV3-D(?: \((\d[\d.]*)\))?": lambda found, macs, batch: _igcv3(float(found[1] or 1), batch),
    r"IGCV2": _by_channels(nets_shuffle.igcv2, range(8, 129, 8)),
    r"CondenseNet \(G=C=8\)": _by_channels(lambda net, k: nets_shuffle.densenet_like(net, k, 8), range(8, 161, 8)),
    r"CondenseNet": _by_channels(lambda net, k: nets_shuffle.densenet_like(net, k, 4), range(8, 161, 8)),
    r"DenseNet": _by_channels(nets_shuffle.densenet_like, range(4, 161, 2)),
    r"Xception": _by_channels(nets_shuffle.xception_like, range(16, 513, 8)),
}


def _igcv3(width: float, batch: int) -> Net:
    net = Net(batch)
    nets_shuffle.igcv3(net, width)
    return net


def read_networks(table: Table) -> list[Result]:
    """Whole networks on the GPU (batches of 8) and on the ARM core (batches of 1)."""
    table.require("network", "mflops_macs", "gpu_batches_per_s", "arm_images_per_s")
    targets = machines()
    runs: dict[str, list[tuple[str, Priced, float]]] = {"gpu": [], "arm": []}
    for row in table.records():
        for machine, batch, column in (("gpu", _GPU_BATCH, "gpu_batches_per_s"), ("arm", 1, "arm_images_per_s")):
            net = build(row["network"], row["mflops_macs"] * 1e6, batch)
            if net is not None and row[column]:
                priced = network_s(net.layers, targets[machine], "float32")
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
