from typing import Any

from onnx_graphsurgeon.ir.function import Function
from onnx_graphsurgeon.ir.node import Node
from onnx_graphsurgeon.ir.tensor import Tensor

class Graph:
    DEFAULT_OPSET: int
    nodes: list[Node]
    inputs: list[Any]
    outputs: list[Any]
    name: str
    doc_string: str
    opset: int
    producer_name: str
    producer_version: str
    import_domains: Any
    ir_version: int | None
    functions: list[Function]
    def __init__(
        self,
        nodes: list[Node] | None = ...,
        inputs: Any = ...,
        outputs: Any = ...,
        name: str | None = ...,
        doc_string: str | None = ...,
        opset: int | None = ...,
        import_domains: Any = ...,
        producer_name: str | None = ...,
        producer_version: str | None = ...,
        functions: list[Function] | None = ...,
        ir_version: int | None = ...,
    ) -> None: ...
    def copy(self, tensor_map: dict[str, Tensor] | None = ...) -> Graph: ...
    def tensors(self, check_duplicates: bool = ...) -> dict[str, Tensor]: ...
