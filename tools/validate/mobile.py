"""Readers of whole networks on phones, boards and the Edge TPU.

Devices are shipped targets; `threads` of them work. A device without a target is left out. Converters fold batch
normalization into weights.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np
import onnx

from roofwright.cost_model import GraphModel
from roofwright.graph import zoo
from roofwright.targets import Target, load_target, with_cores
from roofwright.tools.validate import nets_classic, nets_searched
from roofwright.tools.validate.base import Comparison, Reader, Result, Table
from roofwright.tools.validate.models import model_of
from roofwright.tools.validate.price import Priced, network_s

_Point = tuple[str, Priced, float]  # label, prediction, measured seconds
_Build = Callable[[], onnx.ModelProto]

# device of the table -> (target, engine that runs it)
_NCNN_DEVICES: Mapping[str, tuple[str, str]] = {
    "rpi3bplus": ("cortex_a53", "cores"),
    "rpi4": ("cortex_a72", "cores"),
    "rpi5_a76": ("cortex_a76", "cores"),
    "sd810": ("cortex_a57", "cores"),
    "sd821": ("snapdragon821", "cores"),
    "sd835": ("snapdragon835", "cores"),
    "rk3399": ("rk3399", "cores"),
    "rk3588": ("rk3588", "cores"),
    "kirin970": ("kirin970", "cpu"),
}
_LITTLE_CORES = 1  # `powersave` of a run on the small cores, which the targets do not describe
_PIXELS = {"pixel1": "snapdragon821", "pixel2": "snapdragon835", "pixel3": "snapdragon845"}
_EDGE_SYSTEMS = ("x86_64 + USB3", "dev board")


def _zoo(function: Callable[..., onnx.ModelProto], **options: object) -> _Build:
    return partial(function, weights=False, **options)


_NETWORKS: Mapping[str, _Build] = {
    "alexnet": nets_classic.alexnet,
    "blazeface": nets_classic.blazeface,
    "efficientnet_b0": partial(nets_searched.searched, "efficientnet_b0"),
    "efficientnetv2_b0": nets_searched.efficientnet_v2_b0,
    "googlenet": _zoo(zoo.inception_v1),
    "mnasnet": partial(nets_searched.searched, "mnasnet"),
    "mobilenet": _zoo(zoo.mobilenet_v1),
    "mobilenet_ssd": nets_classic.ssd_v1,
    "mobilenet_v2": _zoo(zoo.mobilenet_v2),
    "mobilenet_v3": _zoo(zoo.mobilenet_v3),
    "mobilenet_yolo": nets_classic.yolo_on_mobilenet,
    "proxylessnasnet": partial(nets_searched.searched, "proxylessnasnet"),
    "regnety_400m": nets_searched.regnety_400m,
    "resnet18": _zoo(zoo.resnet, depth=18),
    "resnet50": _zoo(zoo.resnet, depth=50, version="1"),
    "shufflenet": _zoo(zoo.shufflenet_v1),
    "shufflenet_v2": _zoo(zoo.shufflenet_v2),
    "squeezenet": _zoo(zoo.squeezenet, version="1.1", size=227),
    "vgg16": _zoo(zoo.vgg, depth=16),
    "yolov4-tiny": nets_classic.yolo_v4_tiny,
}
_EDGE_NETWORKS: Mapping[str, _Build] = {
    "inception_v1_224": _zoo(zoo.inception_v1),
    "inception_v4_299": nets_classic.inception_v4,
    "inception_v4": nets_classic.inception_v4,
    "mobilenet_v1_1.0_224": _zoo(zoo.mobilenet_v1),
    "mobilenet_v2_1.0_224": _zoo(zoo.mobilenet_v2),
    "ssd_mobilenet_v1_coco": partial(nets_classic.ssd_v1, 300, 91),
    "ssd_mobilenet_v2_coco": partial(nets_classic.ssd_v2, 300, 91),
    "ssd_mobilenet_v2_face": partial(nets_classic.ssd_v2, 320, 2),
}
_FOLDED = ("BatchNormalization",)
_EDGE_FOLDED = (*_FOLDED, "LRN")  # TensorFlow's Inception v1 is normalized by batches, not locally


def _comparison(table: str, machine: str, kind: str, points: list[_Point]) -> Comparison:
    predicted = np.array([priced.seconds for _, priced, _ in points])
    measured = np.array([seconds for _, _, seconds in points])
    labels, reasons = tuple(label for label, _, _ in points), tuple(priced.reason for _, priced, _ in points)
    return Comparison(table, machine, kind, predicted, measured, labels, reasons)


def _grouped(table: str, points: Mapping[tuple[str, str], list[_Point]]) -> list[Result]:
    return [_comparison(table, machine, kind, rows) for (machine, kind), rows in points.items() if rows]


@cache
def _model(build: _Build, folded: tuple[str, ...] = _FOLDED) -> GraphModel:
    return model_of(build(), folded)


def _multiplied(target: Target, dtype: str) -> str:
    """float16 where the first engine multiplies it and the graph is float32 (ncnn's default)."""
    return "float16" if dtype == "float32" and "float16" in target.engines[0].macs_per_clock else dtype


def _ncnn_target(device: str, threads: int) -> Target | None:
    if device not in _NCNN_DEVICES:
        return None
    name, engine_name = _NCNN_DEVICES[device]
    target = load_target(name, stack="ncnn")
    engine = target.engine(engine_name)
    return with_cores(dataclasses.replace(target, engines=(engine,)), min(threads, engine.count))


def read_ncnn(table: Table) -> list[Result]:
    """Ncnn on CPUs; `*_int8` networks have int8 weights and values."""
    table.require("device", "threads", "powersave", "gpu_device", "model", "min_ms")
    points: dict[tuple[str, str], list[_Point]] = {}
    for row in table.records(gpu_device=-1):
        name, dtype = row["model"].removesuffix("_int8"), "int8" if row["model"].endswith("_int8") else "float32"
        target = _ncnn_target(row["device"], row["threads"])
        if target is None or name not in _NETWORKS or row["powersave"] == _LITTLE_CORES:
            continue
        priced = network_s(_model(_NETWORKS[name]), target, _multiplied(target, dtype))
        label = f"{row['model']}, {row['threads']} threads"
        points.setdefault((target.name, f"ncnn {dtype}"), []).append((label, priced, row["min_ms"] / 1e3))
    return _grouped(table.name, points)


@cache
def _pixel_network(name: str) -> _Build | None:
    parts = name.split("_")
    if parts[0] == "v3" and parts[2] == "minimalistic":
        return _zoo(zoo.mobilenet_v3, version=parts[1], minimalistic=True)
    if parts[0] == "v3":
        return _zoo(zoo.mobilenet_v3, version=parts[1], width=float(parts[2]))
    if parts[:2] == ["mobilenet", "v2"]:
        return _zoo(zoo.mobilenet_v2, width=float(parts[2]), size=int(parts[3]))
    return None


def read_pixel(table: Table) -> list[Result]:
    """TFLite on one big core of three phones."""
    table.require("network", "precision", "device", "ms")
    points: dict[tuple[str, str], list[_Point]] = {}
    for row in table.records():
        build = _pixel_network(row["network"])
        if build is None or row["device"] not in _PIXELS:
            continue
        target = with_cores(load_target(_PIXELS[row["device"]], stack="tflite"), 1)
        dtype = "int8" if row["precision"] == "int8" else "float32"
        point = (f"{row['network']} {row['precision']}", network_s(_model(build), target, dtype), row["ms"] / 1e3)
        points.setdefault((target.name, "tflite, one core"), []).append(point)
    return _grouped(table.name, points)


def read_edge_tpu(table: Table) -> list[Result]:
    """Networks on the Edge TPU over USB 3 and on its own board; post-processing on the host is not modelled."""
    table.require("system", "model", "ms")
    target, points = load_target("edgetpu"), []
    for row in table.records():
        if row["system"] in _EDGE_SYSTEMS and row["model"] in _EDGE_NETWORKS:
            priced = network_s(_model(_EDGE_NETWORKS[row["model"]], _EDGE_FOLDED), target)
            points.append((f"{row['model']}, {row['system']}", priced, row["ms"] / 1e3))
    return [_comparison(table.name, target.name, "network int8", points)] if points else []


READERS: dict[str, Reader] = {
    "ncnn_networks.json": read_ncnn,
    "mobilenet_pixel.json": read_pixel,
    "edgetpu_coral.json": read_edge_tpu,
}
