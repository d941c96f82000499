from typing import Any

from onnx_graphsurgeon.ir.node import Node

class Tensor:
    name: str
    inputs: list[Node]
    outputs: list[Node]
    dtype: Any
    shape: Any
    def is_empty(self) -> bool: ...
    def copy(self) -> Any: ...

class Variable(Tensor):
    type: str
    def __init__(self, name: str, dtype: Any = ..., shape: Any = ..., type: str = ...) -> None: ...
    @staticmethod
    def empty() -> Variable: ...
    def to_constant(self, values: Any, export_dtype: Any = ...) -> Constant: ...

class Constant(Tensor):
    _values: Any
    _export_dtype: Any
    values: Any
    data_location: int | None
    export_dtype: Any
    def __init__(self, name: str, values: Any, data_location: int | None = ..., export_dtype: Any = ...) -> None: ...

class LazyValues:
    tensor: Any
    shape: Any
    dtype: Any
    nbytes: int
    def __init__(self, tensor: Any) -> None: ...
    def load(self) -> Any: ...

class SparseValues(LazyValues): ...
