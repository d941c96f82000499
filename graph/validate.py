"""What a model proto must say of itself before it is looked into: versions, functions, data that fits its dims."""

from collections.abc import Iterable
from functools import cache

import onnx

from roofwright.graph.errors import InvalidModelError, ResourceLimitError, UnsafeModelError, printable
from roofwright.graph.external import Span, Store
from roofwright.graph.tensors import attribute_graphs, check_tensor, model_tensors

STANDARD = ("", "ai.onnx")
_MOST_INLINED_NODES = 10_000_000


def check_proto(model: onnx.ModelProto, store: Store | None) -> None:
    """Raise where the model is not one, is of an unknown version, or its tensors do not hold what they claim."""
    if not model.HasField("graph") or not (model.graph.node or model.graph.output or model.graph.input):
        raise InvalidModelError("not an ONNX model: it has no graph")
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        raise InvalidModelError(f"ir_version is {model.ir_version}, expected 1 to {onnx.IR_VERSION}")
    _check_opsets(model.opset_import, model.ir_version)
    _check_functions(model)
    spans: list[tuple[str, Span]] = []
    for tensor in model_tensors(model):
        span = check_tensor(tensor)
        if span is not None:
            spans.append((tensor.name, span))
    if spans and store is None:
        name = printable(spans[0][0])
        raise UnsafeModelError(f"tensor {name}: external data, but the model's folder is not known (read it by path)")
    if store is not None:
        store.check(spans)


@cache
def newest_opset(domain: str) -> int | None:
    """The newest version that the installed onnx knows of a domain; None for domains that it does not know."""
    name = "ai.onnx" if domain in STANDARD else domain
    return max((version for (known, version) in onnx.helper.OP_SET_ID_VERSION_MAP if known == name), default=None)


def _check_opsets(imports: Iterable[onnx.OperatorSetIdProto], ir_version: int) -> None:
    versions: dict[str, int] = {}
    for entry in imports:
        domain = "" if entry.domain in STANDARD else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise InvalidModelError(f"opset_import names domain {printable(domain)!r} twice")
        newest = newest_opset(domain)
        if entry.version < 1 or (newest is not None and entry.version > newest):
            shown = printable(domain) or "ai.onnx"
            raise InvalidModelError(
                f"opset {entry.version} of domain {shown} is unknown, expected 1 to {newest or 'n'}"
            )
    if not versions and ir_version >= 3:
        raise InvalidModelError("opset_import is empty, expected the version of each operator set")


Key = tuple[str, str, str]


def _calls(function: onnx.FunctionProto) -> list[Key]:
    """What a function calls, bodies included."""
    found, groups = [], [function.node]
    while groups:
        for node in groups.pop():
            found.append((node.domain, node.op_type, node.overload))
            groups += [graph.node for attribute in node.attribute for graph in attribute_graphs(attribute)]
    return found


def _check_functions(model: onnx.ModelProto) -> None:
    bodies: dict[Key, list[Key]] = {}
    for function in model.functions:
        name = (function.domain, function.name, function.overload)
        if name in bodies:
            raise InvalidModelError(f"function {printable(function.name)} is defined twice")
        _check_opsets(function.opset_import, model.ir_version)
        bodies[name] = _calls(function)
    _check_calls(bodies)


def _check_calls(bodies: dict[Key, list[Key]]) -> None:
    """No function calls itself, however indirectly, and inlining all of them stays bounded."""
    inlined: dict[Key, int] = {}
    for root in bodies:
        path, open_ = [root], set()
        while path:
            name = path[-1]
            waiting = [] if name in inlined else [c for c in bodies[name] if c in bodies and c not in inlined]
            if not waiting:
                inlined.setdefault(name, sum(inlined.get(call, 1) for call in bodies[name]))
                open_.discard(path.pop())
                continue
            open_.add(name)
            if any(call in open_ for call in waiting):
                raise InvalidModelError(f"function {printable(name[1])} calls itself")
            path.append(waiting[0])
            if inlined and max(inlined.values()) > _MOST_INLINED_NODES:
                break
        if inlined and max(inlined.values()) > _MOST_INLINED_NODES:
            raise ResourceLimitError(f"function {printable(root[1])} expands to more than {_MOST_INLINED_NODES} nodes")
