"""The zoo's networks, every one small enough to run many times; the weights are those of the full ones, cut down."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs

from roofwright.graph import clone, read
from roofwright.graph.zoo import (
    bert,
    decoder,
    inception_v1,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    resnet,
    shufflenet_v1,
    shufflenet_v2,
    squeezenet,
    unet,
    vgg,
)

MAIN_TARGETS = ("tpuv1", "tpuv2", "v100", "kirin970", "host")
SMALL: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "bert": lambda: bert(layers=1, hidden=128, head_count=2, vocabulary=500, sequence=32),
    "decoder": lambda: decoder(layers=1, hidden=128, head_count=2, vocabulary=500, sequence=32),
    "inception_v1": lambda: inception_v1(size=64),
    "mobilenet_v1": lambda: mobilenet_v1(width=0.25, size=64),
    "mobilenet_v2": lambda: mobilenet_v2(width=0.35, size=64),
    "mobilenet_v3_large": lambda: mobilenet_v3(version="large", size=64),
    "mobilenet_v3_small": lambda: mobilenet_v3(version="small", size=64),
    "resnet18": lambda: resnet(depth=18, size=64),
    "resnet50": lambda: resnet(depth=50, size=64),
    "shufflenet_v1": lambda: shufflenet_v1(width=0.5, size=64),
    "shufflenet_v2": lambda: shufflenet_v2(width=0.5, size=64),
    "squeezenet": lambda: squeezenet(size=64),
    "unet": lambda: unet(size=188),
    "vgg16": lambda: vgg(depth=16, size=32),
}


@cache
def _read(name: str) -> gs.Graph:
    return read(SMALL[name]())


def graph(name: str) -> gs.Graph:
    """A copy of a small network of the zoo."""
    return clone(_read(name))


def saved(name: str, folder: Path) -> Path:
    """The file of a small network, written into `folder`."""
    path = folder / f"{name}.onnx"
    onnx.save(SMALL[name](), path)
    return path
