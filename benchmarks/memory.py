"""What `--optimize-for memory` does to a process that runs a model on onnxruntime: peak memory, time, results.

    python benchmarks/memory.py [mobilenet] [unet] [--rounds 5] [--target host]

Every run is a fresh process that loads a model from a file with onnxruntime's defaults on one thread and runs it a few
times (from the second run on onnxruntime holds more than in the first). The peak is the kernel's `ru_maxrss`, rounds
are interleaved, times are medians of all runs but each process's first.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from roofwright import optimize
from roofwright.graph import read, to_proto

RUNS = 3
WORKER = """
import hashlib, json, resource, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(0)
feeds = {i.name: rng.standard_normal(i.shape, dtype=np.float32) for i in session.get_inputs()}
seconds = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    found = session.run(None, feeds)
    seconds.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
np.save(sys.argv[3], found[0])
print(json.dumps({"peak": peak, "seconds": seconds[1:]}))
"""


def mobilenet() -> onnx.ModelProto:
    """MobileNetV2 at 1088 x 1920."""
    model = to_proto(read("zoo:mobilenet_v2"), embed=True)
    del model.graph.value_info[:]
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[2].dim_value, dims[3].dim_value = 1, 1088, 1920
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def unet(size: int = 1024, widths: tuple[int, ...] = (64, 128, 256, 512, 1024)) -> onnx.ModelProto:
    """A U-Net with padded convolutions, so that its output has the size of its input."""
    rng, nodes, weights = np.random.default_rng(0), [], []

    def layer(op: str, x: str, name: str, shape: tuple[int, ...], **attrs: object) -> str:
        spread = np.sqrt(2 / np.prod(shape[1:]))
        weights.append(numpy_helper.from_array((rng.standard_normal(shape) * spread).astype(np.float32), f"{name}.w"))
        nodes.append(helper.make_node(op, [x, f"{name}.w"], [name], name, **attrs))
        return name

    def double(x: str, name: str, source: int, width: int) -> str:
        for part, channels in (("first", source), ("second", width)):
            x = layer("Conv", x, f"{name}.{part}", (width, channels, 3, 3), pads=[1, 1, 1, 1])
            nodes.append(helper.make_node("Relu", [x], [f"{x}.relu"], f"{x}.relu"))
            x = f"{x}.relu"
        return x

    x, source, skips = "x", 3, []
    for width in widths[:-1]:
        x, source = double(x, f"down{width}", source, width), width
        skips.append(x)
        nodes.append(helper.make_node("MaxPool", [x], [f"pool{width}"], kernel_shape=[2, 2], strides=[2, 2]))
        x = f"pool{width}"
    x = double(x, "bottom", source, widths[-1])
    for above, width, skip in zip(widths[:0:-1], widths[-2::-1], reversed(skips), strict=True):
        x = layer("ConvTranspose", x, f"up{width}", (above, width, 2, 2), strides=[2, 2])
        nodes.append(helper.make_node("Concat", [skip, x], [f"both{width}"], axis=1))
        x = double(f"both{width}", f"join{width}", 2 * width, width)
    out = layer("Conv", x, "out", (2, widths[0], 1, 1))
    ports = [helper.make_tensor_value_info(n, 1, [1, c, size, size]) for n, c in (("x", 3), (out, 2))]
    graph = helper.make_graph(nodes, "unet", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def measure(name: str, folder: Path, rounds: int, target: str) -> None:
    """Write both models, run them in turns, print."""
    files = {"as it was": folder / f"{name}.onnx", "in strips": folder / f"{name}.strips.onnx"}
    onnx.save({"mobilenet": mobilenet, "unet": unet}[name](), files["as it was"])
    report = optimize(files["as it was"], target, output=files["in strips"], optimize_for="memory", check=False).report
    found: dict[str, list[dict[str, object]]] = {kind: [] for kind in files}
    for _ in range(rounds):
        for kind, path in files.items():
            command = [sys.executable, "-c", WORKER, str(path), str(RUNS), str(path.with_suffix(".npy"))]
            run = subprocess.run(command, capture_output=True, check=True, text=True)
            found[kind].append(json.loads(run.stdout))
    peaks = {kind: statistics.median(float(str(run["peak"])) for run in runs) for kind, runs in found.items()}
    times = {kind: statistics.median(s for run in runs for s in list(run["seconds"])) for kind, runs in found.items()}  # type: ignore[call-overload]  # plain JSON
    one, other = (np.load(path.with_suffix(".npy")) for path in files.values())
    memory = report.memory
    if memory is not None:
        print(f"{name}: modelled {memory.before_bytes / 2**20:.0f} -> {memory.after_bytes / 2**20:.0f} MiB, ", end="")
        print(f"{memory.strips} strips in {memory.segments} runs of nodes")
    for kind in files:
        print(f"  {kind}: peak {peaks[kind]:.0f} MiB, {times[kind]:.3f} s")
    gain, slower = peaks["as it was"] / peaks["in strips"], times["in strips"] / times["as it was"]
    print(f"  {gain:.2f} times less memory, {slower:.2f} times the time", end=", ")
    print(f"largest difference {np.abs(one - other).max() / np.abs(one).max():.1e} of the largest result")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=["mobilenet", "unet"], default=["mobilenet", "unet"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target", default="host")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            measure(name, Path(folder), args.rounds, args.target)


if __name__ == "__main__":
    main()
