"""Readers of whole networks on GPUs: training of fully connected nets, ResNet-50 by batch, K80 and P100 training.

The machine comes from its target, what the framework adds (dispatch, input pipeline) from a stack. Training is forward,
both gradients, the elementwise layers once forward and twice backward, and the passes of the optimizer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.cost_model import GraphModel, NodeWork, Operand, Work
from roofwright.cost_model.library import kernels_of
from roofwright.cost_model.simt_conv import Direction
from roofwright.cost_model.units import Floats, Nests
from roofwright.graph import zoo
from roofwright.targets import Target, load_target
from roofwright.tools.validate.base import Comparison, Reader, Result, Table, Tally, load_all
from roofwright.tools.validate.models import model_of
from roofwright.tools.validate.nets_classic import alexnet
from roofwright.tools.validate.price import Priced, network_s

_DIRECTIONS: tuple[Direction, ...] = ("forward", "data", "weights")
_ELEMENTWISE_PASSES = 3  # forward, and a backward pass that reads the saved value and the gradient
_UPDATE_BYTES = 20  # of a float32 parameter: gradient read, weight and momentum read and written
_KNEE = 1.5  # the knee is the first batch whose latency exceeds that of batch 1 by this factor
_SMALL_BATCHES = 8  # up to here mixed precision was slower: dispatch of the casts
_DEVICES = {"P100": "p100_sxm2", "K80_die": "k80"}  # TensorFlow's names of a DGX-1's GPU and a die of a K80
_Record = Mapping[str, Any]


def load(folder: Path) -> list[Result]:
    """The results of whichever of the three tables are in the folder."""
    return load_all(folder, READERS)


def read_fully_connected(table: Table) -> list[Result]:
    """Training steps of fully connected nets on one V100, float16 on tensor cores."""
    table.require("layers", "nodes", "input", "output", "global_batch", "params", "ms_per_step")
    records = list(table.records())
    target = load_target("v100", stack="tf-gpu-training")
    device_s = np.array([_fully_connected_s(r, target) for r in records])
    input_s = np.array([r["global_batch"] for r in records]) * target.stack.constants["input_sample_s"]
    step_s = np.maximum(device_s, input_s) + target.stack.constants["step_s"]
    labels = tuple("{layers} layers of {nodes}, batch {global_batch}".format(**r) for r in records)
    reasons = tuple(f"device {1e3 * d:.2f}, input {1e3 * i:.2f} ms" for d, i in zip(device_s, input_s, strict=True))
    measured_s = np.array([r["ms_per_step"] for r in records], np.float64) / 1e3
    return [Comparison(table.name, "v100", "training step", step_s, measured_s, labels, reasons)]


def read_resnet50(table: Table) -> list[Result]:
    """Latency of ResNet-50 v1.5 by batch in float32 and mixed precision, the two knees, and which is faster."""
    table.require("model", "precision", "batch", "latency_avg_ms")
    records = list(table.records(model="resnet50v1.5"))
    target = load_target("v100", stack="pytorch-container")
    priced = [_resnet50(r["batch"], r["precision"], target) for r in records]
    predicted_s = np.array([p.seconds for p in priced])
    measured_s = np.array([r["latency_avg_ms"] for r in records], np.float64) / 1e3
    labels = tuple(f"{r['precision']}, batch {r['batch']}" for r in records)
    reasons = tuple(p.reason for p in priced)
    comparison = Comparison(table.name, "v100", "resnet50 latency", predicted_s, measured_s, labels, reasons)
    return [comparison, _slower(table, records, predicted_s), _knees(table, records, predicted_s, measured_s)]


def read_training(table: Table) -> list[Result]:
    """Training steps of ResNet-50 and AlexNet on one GPU with synthetic data."""
    table.require("device", "data", "gpus", "model", "batch_per_gpu", "images_per_s")
    results: list[Result] = []
    for device, name in _DEVICES.items():
        records = list(table.records(device=device, data="synthetic", gpus=1))
        if not records:
            continue
        target = load_target(name, stack="cudnn5")
        predicted_s = np.array([_training_s(_net(r), target, "float32") for r in records])
        measured_s = np.array([r["batch_per_gpu"] / r["images_per_s"] for r in records], np.float64)
        labels = tuple(f"{r['model']}, batch {r['batch_per_gpu']}" for r in records)
        reasons = tuple("forward and both gradients" for _ in records)
        results.append(Comparison(table.name, name, "training step", predicted_s, measured_s, labels, reasons))
    return results


def _fully_connected_s(record: _Record, target: Target) -> float:
    """Device seconds of one training step: three products a layer, the optimizer's passes, the executor's pace."""
    hidden = record["layers"] - 1
    sizes = [(record["input"], record["nodes"], 1), (record["nodes"], record["nodes"], hidden)]
    sizes.append((record["nodes"], record["output"], 1))
    depth, width, times = np.array(sizes, np.int64).T
    nests = Nests.gemm(record["global_batch"], width, depth)
    products_s = sum(kernels_of(nests, target, "float16", d).seconds for d in _DIRECTIONS) * times
    constants, memory = target.stack.constants, target.device_memory
    passes = record["params"] * constants["memory_bytes_per_parameter"] / (memory.bytes_per_s * memory.efficiency)
    dispatched_s = (record["layers"] + 1) * constants["layer_s"]
    return float(max(np.sum(products_s) + passes, dispatched_s))


def _resnet50(batch: int, precision: str, target: Target) -> Priced:
    model = model_of(zoo.resnet(depth=50, batch=batch, weights=False))
    if precision == "FP32":
        return network_s(model, target, "float32")
    return network_s(_with_casts(model), target, "float16")


def _with_casts(model: GraphModel) -> GraphModel:
    """Automatic mixed precision casts every weight of a matrix operator anew in each request."""
    weights = [operand for entry in model.works if entry.work.nest for operand in entry.work.reads if operand.constant]
    return replace(model, works=(*(_cast(weight) for weight in weights), *model.works))


def _cast(weight: Operand) -> NodeWork:
    key = f"{weight.name}.cast"
    work = Work("elementwise", lane_ops=weight.elements, reads=(weight,), writes=(replace(weight, name=key),))
    return NodeWork(gs.Node("Cast", outputs=[gs.Variable(key)]), key, (), "Cast", work)


def _slower(table: Table, records: Sequence[_Record], predicted_s: Floats) -> Tally:
    """At which small batches the model, too, has mixed precision slower than float32."""
    by = {(r["precision"], r["batch"]): s for r, s in zip(records, predicted_s, strict=True)}
    batches = sorted({b for p, b in by if p == "FP32" and b <= _SMALL_BATCHES and ("Mixed Precision", b) in by})
    wrong = [b for b in batches if by["Mixed Precision", b] <= by["FP32", b]]
    what = f"mixed precision slower than float32 up to batch {_SMALL_BATCHES}"
    misses = tuple(f"batch {b}" for b in wrong)
    return Tally(table.name, "v100", "resnet50", what, len(batches) - len(wrong), len(batches), misses)


def _knees(table: Table, records: Sequence[_Record], predicted_s: Floats, measured_s: Floats) -> Tally:
    """Whose knee the model puts within one doubling of the measured one."""
    misses, total = [], 0
    for precision in dict.fromkeys(r["precision"] for r in records):
        at = [i for i, r in enumerate(records) if r["precision"] == precision]
        batches = [records[i]["batch"] for i in at]
        modelled, measured = _knee(batches, predicted_s[at]), _knee(batches, measured_s[at])
        total += 1
        if not measured / 2 <= modelled <= measured * 2:
            misses.append(f"{precision}: knee at {modelled}, measured {measured}")
    return Tally(table.name, "v100", "resnet50", "knee within one doubling", total - len(misses), total, tuple(misses))


def _knee(batches: Sequence[int], seconds: Floats) -> float:
    """The smallest batch whose latency exceeds that of the smallest one by the factor; inf where none does."""
    pairs = sorted(zip(batches, seconds, strict=True))
    return next((float(b) for b, s in pairs if s > _KNEE * pairs[0][1]), float("inf"))


def _net(record: _Record) -> GraphModel:
    batch = record["batch_per_gpu"]
    resnet = record["model"] == "ResNet-50"
    return model_of(zoo.resnet(depth=50, batch=batch, weights=False) if resnet else alexnet(batch))


def _training_s(model: GraphModel, target: Target, dtype: str) -> float:
    """Seconds of one training step, kernel after kernel."""
    works = [entry.work for entry in model.works if entry.work.kind != "view"]
    nests = Nests.of([nest for work in works for nest in work.nests])
    products_s = sum(float(kernels_of(nests, target, dtype, d).seconds.sum()) for d in _DIRECTIONS)
    others = [work for work in works if not work.nests]
    moved = sum(o.elements for work in others for o in (*work.reads, *work.writes)) * 4.0 * _ELEMENTWISE_PASSES
    moved += sum(o.elements for work in works if work.nests for o in work.reads if o.constant) * float(_UPDATE_BYTES)
    memory = target.device_memory
    return products_s + moved / (memory.bytes_per_s * memory.efficiency) + 2 * len(others) * target.stack.launch_s


READERS: dict[str, Reader] = {
    "paradnn_v100_fc.json": read_fully_connected,
    "nv_dle_batch_sweep.json": read_resnet50,
    "tf_k80_p100_training.json": read_training,
}
