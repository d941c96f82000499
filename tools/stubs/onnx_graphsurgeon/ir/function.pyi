from typing import Any

from onnx_graphsurgeon.ir.graph import Graph
from onnx_graphsurgeon.ir.node import Node

class Function(Graph):
    domain: str
    attrs: dict[str, Any]
    def __init__(
        self,
        name: str,
        domain: str | None = ...,
        nodes: list[Node] | None = ...,
        inputs: Any = ...,
        outputs: Any = ...,
        doc_string: str | None = ...,
        opset: int | None = ...,
        import_domains: Any = ...,
        functions: list[Function] | None = ...,
        attrs: dict[str, Any] | None = ...,
        ir_version: int | None = ...,
    ) -> None: ...
