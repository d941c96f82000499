"""Control flow: which bodies of a node run, and how often. The walk over the bodies is in `graph_work`."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from roofwright.cost_model.ops.facts import Facts, Unmodelled

_ENDLESS = 1 << 31  # exporters write "no limit" as the largest integer


Aliases = tuple[tuple[gs.Tensor, gs.Tensor], ...]


@dataclass(frozen=True, slots=True)
class Body:
    """A graph that a control node runs `trips` times.

    `aliases` are pairs of (tensor, the one whose bytes it is): the node's outputs with what the body makes, the body's
    inputs with what the node is given.
    """

    graph: gs.Graph
    name: str
    trips: int
    aliases: Aliases = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates of a control node: exactly one of them counts, the costliest; `remark` says what was assumed."""

    bodies: tuple[Body, ...]
    remark: str


def _aliases(ask: Facts, body: gs.Graph, first_output: int, first_body_input: int, first_input: int) -> Aliases:
    """Outputs from `body.outputs[first_output:]`, `body.inputs[first_body_input:]` from the node's own inputs."""
    made = zip(ask.node.outputs, body.outputs[first_output:], strict=False)
    given = zip(body.inputs[first_body_input:], ask.node.inputs[first_input:], strict=False)
    return (*made, *given)


def branches(ask: Facts) -> Plan:
    """If: the branch that a constant condition picks, else the costlier one."""
    bodies = tuple(
        Body(graph, name, 1, _aliases(ask, graph, 0, 0, 1))
        for name in ("then_branch", "else_branch")
        if isinstance(graph := ask.attr(name), gs.Graph)
    )
    condition = ask.scalar(0)
    if condition is None:
        return Plan(bodies, "the costlier branch is counted")
    return Plan(bodies[:1] if condition else bodies[1:], "the condition is constant")


def loop(ask: Facts) -> Plan:
    """Loop: body x trip count, from a constant maximum or from the length of a scan output."""
    body = ask.attr("body")
    carried = len(body.inputs) - 2
    aliases = _aliases(ask, body, 1, 2, 2)
    limit = ask.scalar(0)
    if limit is not None and 0 <= limit < _ENDLESS:
        return Plan((Body(body, "body", int(limit), aliases),), f"{int(limit)} trips, the loop's own maximum")
    for place, tensor in enumerate(ask.node.outputs):
        info = ask.infos.get(tensor.name) if place >= carried else None
        if info is not None and info.shape and isinstance(info.shape[0], int):
            return Plan((Body(body, "body", info.shape[0], aliases),), f"{info.shape[0]} trips, from a scan output")
    raise Unmodelled("trip count unknown")


def scan(ask: Facts) -> Plan:
    """Scan: body x length of a scanned axis (opset 8 scans axis 1 of batched inputs and has one input more)."""
    body = ask.attr("body")
    scanned = int(ask.attr("num_scan_inputs"))
    first = len(ask.node.inputs) - scanned
    batched = len(ask.node.inputs) - len(body.inputs)  # 1 in opset 8: sequence_lens
    axis = (ask.attr("scan_input_axes") or [1 if batched else 0])[0]
    shape = ask.shape(first)
    trips = shape[axis] * (shape[0] if batched else 1)
    return Plan((Body(body, "body", trips, _aliases(ask, body, 0, 0, batched)),), f"{trips} trips")


def sequence_map(ask: Facts) -> Plan:
    """SequenceMap: body x number of elements, known where the sequence is constructed in the graph."""
    producers = ask.node.inputs[0].inputs
    if not producers or producers[0].op != "SequenceConstruct":
        raise Unmodelled("trip count unknown: the length of the sequence is not known")
    trips = len(producers[0].inputs)
    body = ask.attr("body")
    return Plan((Body(body, "body", trips, _aliases(ask, body, 0, 0, 0)),), f"{trips} trips")


CONTROL: dict[str, Callable[[Facts], Plan]] = {
    "If": branches,
    "Loop": loop,
    "Scan": scan,
    "SequenceMap": sequence_map,
}
