"""What a model says that graphsurgeon has no place for, kept beside its objects.

Every graph read by us carries a `Sidecar`, every node that came from a file its `NodeProto`. The exporter takes from
the graphsurgeon objects what they hold and the rest from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from roofwright.graph.external import Store

Shape = tuple[int | str | None, ...] | None


@dataclass(slots=True)
class ModelSidecar:
    """The part of a sidecar that only the main graph has.

    Attributes:
        proto: the model as it was read; never written to.
        store: where external data lies; None where there is none.
        path: the file that it was read from.
        functions: the model-local functions, verbatim; a pass may add to the list.
        metadata: the model's metadata_props once somebody asked for them.
        notes: what the user should hear about the reading (e.g. "nodes were not sorted").
    """

    proto: onnx.ModelProto
    store: Store | None = None
    path: Path | None = None
    functions: list[onnx.FunctionProto] = field(default_factory=list)
    metadata: dict[str, str] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Sidecar:
    """What graphsurgeon does not hold of one graph or body.

    Attributes:
        proto: the graph as it was read; never written to.
        constants: its initializers by name, in their order, used or not.
        overridable: initializers that are listed as inputs too and so are only defaults (IR 4 and later).
        names: every tensor name of the graph as it was read.
        recorded: dtype and shape of each tensor after reading, to see later which ones a pass changed.
        unused: initializers that nothing used when the graph was read; they stay until somebody clears this.
        metadata: the graph's metadata_props once somebody asked for them.
        model: what only the main graph has; None in a body.
    """

    proto: onnx.GraphProto
    constants: dict[str, gs.Constant] = field(default_factory=dict)
    overridable: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    recorded: dict[str, tuple[Any, Shape]] = field(default_factory=dict)
    unused: set[str] = field(default_factory=set)
    metadata: dict[str, str] | None = None
    model: ModelSidecar | None = None


def sidecar(graph: gs.Graph) -> Sidecar:
    """The sidecar of a graph; an empty one is attached to a graph that has none."""
    held: Sidecar | None = graph.__dict__.get("sidecar")
    if held is None:
        held = graph.__dict__["sidecar"] = Sidecar(onnx.GraphProto(name=graph.name, doc_string=graph.doc_string))
    return held


def model_sidecar(graph: gs.Graph) -> ModelSidecar:
    """The model's part of a main graph's sidecar; an empty one is attached where there is none."""
    held = sidecar(graph)
    if held.model is None:
        held.model = ModelSidecar(onnx.ModelProto())
    return held.model


def node_proto(node: gs.Node) -> onnx.NodeProto | None:
    """The node as it was read; None for one that a pass made."""
    proto: onnx.NodeProto | None = node.__dict__.get("proto")
    return proto


def _props(entries: Iterable[onnx.StringStringEntryProto]) -> dict[str, str]:
    return {entry.key: entry.value for entry in entries}


def node_metadata(node: gs.Node) -> dict[str, str]:
    """The node's metadata_props as a dictionary; what is written into it is exported."""
    held: dict[str, str] | None = node.__dict__.get("metadata")
    if held is None:
        proto = node_proto(node)
        held = node.__dict__["metadata"] = _props(proto.metadata_props if proto is not None else ())
    return held


def graph_metadata(graph: gs.Graph) -> dict[str, str]:
    """The graph's (not the model's) metadata_props as a dictionary; what is written into it is exported."""
    held = sidecar(graph)
    if held.metadata is None:
        held.metadata = _props(held.proto.metadata_props)
    return held.metadata


def model_metadata(graph: gs.Graph) -> dict[str, str]:
    """The model's metadata_props as a dictionary; what is written into it is exported."""
    held = model_sidecar(graph)
    if held.metadata is None:
        held.metadata = _props(held.proto.metadata_props)
    return held.metadata


def functions(graph: gs.Graph) -> list[onnx.FunctionProto]:
    """The model-local functions; a pass may append to the list (and must not write into the protos)."""
    return model_sidecar(graph).functions


def notes(graph: gs.Graph) -> list[str]:
    """What was noticed while the model was read."""
    return model_sidecar(graph).notes


def drop_unused_initializers(graph: gs.Graph) -> list[str]:
    """Let go of initializers that nothing uses; quantization annotations keep theirs.

    Returns:
        The names that will not be exported any more.
    """
    held = sidecar(graph)
    kept = {entry.value for note in held.proto.quantization_annotation for entry in note.quant_parameter_tensor_names}
    dropped = [name for name in held.constants if name in held.unused and name not in kept]
    held.unused.difference_update(dropped)
    return dropped
