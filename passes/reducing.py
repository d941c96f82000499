"""A small part of a model that still has a property: a region that grows until it has it, then loses what it can."""

from collections.abc import Callable, Collection, Iterable

import onnx_graphsurgeon as gs

from roofwright.graph import RoofwrightError, bodies, extract, graphs_of, key

_MOST_TRIES = 64  # of leaving something out
Holds = Callable[[gs.Graph], bool]


def reduced(graph: gs.Graph, names: Collection[str], holds: Holds) -> gs.Graph | None:
    """A model of few nodes of `graph` for which `holds` is true.

    Args:
        graph: the whole model; it is not changed.
        names: keys of the nodes to begin with; one inside a body stands for the node that holds the body.
        holds: the property; a part that cannot be run does not have it.

    Returns:
        The smallest part found; None where not even the whole model has the property.
    """
    part = _grown(graph, _places(graph, names), holds)
    return None if part is None else extract(graph, _thinned(graph, part, holds))


def _has(graph: gs.Graph, places: Collection[int], holds: Holds) -> bool:
    try:
        return holds(extract(graph, places))
    except RoofwrightError:
        return False


def _places(graph: gs.Graph, names: Collection[str]) -> set[int]:
    """Places of the nodes with these keys; of all nodes where none has."""
    wanted = set(names)
    found = {at for at, node in enumerate(graph.nodes) if wanted & _keys(node)}
    return found or set(range(len(graph.nodes)))


def _keys(node: gs.Node) -> set[str]:
    inner = (held for body in bodies(node) for below in graphs_of(body) for held in below.nodes)
    return {key(node), *(key(held) for held in inner)}


def _grown(graph: gs.Graph, start: set[int], holds: Holds) -> set[int] | None:
    """The start, or it and what is within 1, 2, 4 ... edges, or all nodes."""
    near = _neighbours(graph)
    part, reach = set(start), 1
    while not _has(graph, part, holds):
        if len(part) == len(graph.nodes):
            return None
        before = len(part)
        for _ in range(reach):
            part |= {other for at in part for other in near[at]}
        reach *= 2
        if len(part) == before:
            part = set(range(len(graph.nodes)))
    return part


def _neighbours(graph: gs.Graph) -> list[set[int]]:
    place = {id(node): at for at, node in enumerate(graph.nodes)}
    near: list[set[int]] = [set() for _ in graph.nodes]
    for at, node in enumerate(graph.nodes):
        makers = (tensor.inputs[0] for tensor in node.inputs if tensor.inputs)
        for maker in {place[id(maker)] for maker in makers if id(maker) in place}:
            near[at].add(maker)
            near[maker].add(at)
    return near


def _thinned(graph: gs.Graph, part: Iterable[int], holds: Holds) -> list[int]:
    """Leave out halves, quarters ... single nodes as long as the property stays (delta debugging)."""
    kept, tries = sorted(part), 0
    step = max(1, len(kept) // 2)
    while tries < _MOST_TRIES and len(kept) > 1:
        before = len(kept)
        for at in reversed(range(0, len(kept), step)):
            rest = kept[:at] + kept[at + step :]
            if rest and tries < _MOST_TRIES:
                tries += 1
                kept = rest if _has(graph, rest, holds) else kept
        if step == 1 and len(kept) == before:
            break
        step = max(1, step // 2)
    return kept
