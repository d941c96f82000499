"""CPU-seconds of planning: kernels, tiles, placement, prefetch and blocks, per network and machine.

    python benchmarks/planning.py [NETWORK ...]

Prints, for every network and machine, the seconds of each scheduling pass, of the prices between them, and their sum,
beside the goal: 0.1 s for MobileNetV2 and ResNet-50, 0.3 s for BERT-base and a network of 300 layers, 2 s for 8,000
nodes. The least of several runs on one core.
"""

import sys
import time

import onnx_graphsurgeon as gs
from onnx import TensorProto, helper

from roofwright.cost_model import GraphModel, estimate
from roofwright.graph import clone, interface, read
from roofwright.passes.base import Context
from roofwright.passes.pipeline import PASSES, build
from roofwright.passes.runner import Runner
from roofwright.targets import load_target

GOALS = {"mobilenet_v2": 0.1, "resnet50": 0.1, "bert_base": 0.3, "layers_300": 0.3, "nodes_8000": 2.0}
TARGETS = ("tpuv1", "tpuv2", "kirin970")
REPEATS = 3


def chain(layers: int) -> gs.Graph:
    """Convolutions and activations by turns on a map of 14 x 14 positions."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, (64, 64, 3, 3), bytes(64 * 64 * 9 * 4), raw=True)
    nodes, last = [], "x"
    for at in range(layers):
        op, extra = ("Conv", ["w"]) if at % 2 == 0 else ("Relu", [])
        attributes = {"pads": [1, 1, 1, 1]} if op == "Conv" else {}
        nodes.append(helper.make_node(op, [last, *extra], [f"t{at}"], **attributes))
        last = f"t{at}"
    shape = (1, 64, 14, 14)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", last)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weight])
    return read(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))


def network(name: str) -> gs.Graph:
    """A network of the zoo, or a chain."""
    kind, _, size = name.partition("_")
    return chain(int(size)) if kind in ("layers", "nodes") else read(f"zoo:{name}")


def planned(graph: gs.Graph, target_name: str) -> dict[str, float]:
    """CPU-seconds per scheduling pass; "prices": everything else."""
    target = load_target(target_name)
    ctx = Context(target=target)
    runner = Runner(clone(graph), ctx, target, estimate(GraphModel.of(graph), target), interface(graph))
    runner.rewrite([PASSES[name]() for name in ("constants", "fuse-batch-norm", "dead-code") if name in PASSES])
    passes = [pass_ for pass_ in build(None) if pass_.schedules]
    start = time.process_time()
    runner.schedule(passes)
    total = time.process_time() - start
    found = {pass_.name: runner.seconds.get(pass_.name, 0.0) for pass_ in passes}
    return {**found, "prices": max(total - sum(found.values()), 0.0), "total": total}


def main() -> None:
    """Print the table."""
    for name in sys.argv[1:] or list(GOALS):
        graph = network(name)
        for target in TARGETS:
            best = min((planned(graph, target) for _ in range(REPEATS)), key=lambda found: found["total"])
            parts = "  ".join(f"{key} {seconds:.3f}" for key, seconds in best.items())
            print(f"{name:14s} {target:9s} {parts}  (goal {GOALS.get(name, 0):.1f})", flush=True)


if __name__ == "__main__":
    main()
