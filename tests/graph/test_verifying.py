from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import InvariantError, graphs_of, interface, read, verify
from tests.graph.models import branches, full


def _unsorted(graph: gs.Graph) -> None:
    graph.nodes.reverse()


def _removed(graph: gs.Graph) -> None:
    del graph.nodes[1]
    graph.outputs = graph.nodes[0].outputs


def _second_producer(graph: gs.Graph) -> None:
    graph.nodes.append(gs.Node("Relu", "again", {}, list(graph.nodes[0].inputs), list(graph.nodes[0].outputs)))


def _same_name(graph: gs.Graph) -> None:
    graphs_of(graph)[1].nodes[0].outputs[0].name = "s"


def _unknown(graph: gs.Graph) -> None:
    graph.nodes[0].inputs[0] = gs.Variable("ghost")


def _attribute(graph: gs.Graph) -> None:
    graph.nodes[0].attrs["bad"] = {"a": 1}


def _twice(graph: gs.Graph) -> None:
    graph.nodes.append(graph.nodes[0])


def _one_sided(graph: gs.Graph) -> None:
    list.clear(graph.nodes[0].outputs[0].outputs)


def _two_constants(graph: gs.Graph) -> None:
    graphs_of(graph)[1].nodes[0].inputs[1] = gs.Constant("x", np.zeros(3, np.float32))


BREAKS: list[Callable[[gs.Graph], None]] = [
    _unsorted,
    _removed,
    _second_producer,
    _same_name,
    _unknown,
    _attribute,
    _twice,
    _one_sided,
    _two_constants,
]


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda function: function.__name__.strip("_"))
def test_each_break_is_found(break_it: Callable[[gs.Graph], None]) -> None:
    graph = read(branches())
    verify(graph)
    break_it(graph)
    with pytest.raises(InvariantError):
        verify(graph)


def test_the_interface_is_part_of_the_invariant() -> None:
    graph = read(full())
    expected = interface(graph)
    verify(graph, expected)
    assert expected.defaults == {"default"}
    assert [str(port) for port in expected.inputs] == ["x: float32[N,3]", "unused: float32[2]"]
    graph.inputs[0].shape = [1, 3]
    with pytest.raises(InvariantError, match=r"inputs changed: x: float32\[1,3\], expected x: float32\[N,3\]"):
        verify(graph, expected)
    graph.outputs = []
    with pytest.raises(InvariantError):
        verify(graph, expected)


def test_sibling_bodies_may_share_names() -> None:
    graph = read(branches())
    for body in graphs_of(graph)[1:]:
        body.outputs[0].name = "same"
    verify(graph)
