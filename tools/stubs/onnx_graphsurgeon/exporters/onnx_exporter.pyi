from typing import Any

import onnx
from onnx_graphsurgeon.ir.function import Function
from onnx_graphsurgeon.ir.graph import Graph

class OnnxExporter:
    @staticmethod
    def export_attributes(attrs: dict[str, Any]) -> list[onnx.AttributeProto]: ...
    @staticmethod
    def export_function(func: Function) -> onnx.FunctionProto: ...

def export_onnx(graph: Graph, do_type_check: bool = ..., **kwargs: Any) -> onnx.ModelProto: ...
