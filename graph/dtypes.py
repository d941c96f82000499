"""Element types: ONNX's numbers, numpy's dtypes and the names we print, each from the others."""

from functools import lru_cache
from typing import Any

import numpy as np
import onnx

_RENAMED = {"FLOAT": "float32", "DOUBLE": "float64"}
NAMES: dict[int, str] = {
    number: _RENAMED.get(name, name.lower()) for name, number in onnx.TensorProto.DataType.items() if number
}
_NUMBERS = {name: number for number, name in NAMES.items()}
_SHORT = {"float": "f", "bfloat": "bf", "uint": "u", "int": "i", "complex": "c"}
_PACKED_BITS = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2}  # others take whole bytes
# The field of TensorProto that holds a dtype's values where raw_data does not.
_FIELDS = {"float32": "float_data", "complex64": "float_data", "float64": "double_data", "complex128": "double_data"}
_FIELDS |= {"int64": "int64_data", "uint32": "uint64_data", "uint64": "uint64_data", "string": "string_data"}


@lru_cache(maxsize=64)
def numpy_dtype(number: int) -> np.dtype[Any]:
    """The numpy (or ml_dtypes) dtype of an ONNX element type."""
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))


@lru_cache(maxsize=128)
def _number_of(dtype: np.dtype[Any]) -> int:
    if dtype.kind in "OUS":
        return int(onnx.TensorProto.STRING)
    return next(number for number in NAMES if numpy_dtype(number) == dtype)


def onnx_dtype(dtype: Any) -> int:
    """The ONNX number of anything that graphsurgeon holds as a dtype (numpy's dtype, scalar type, ONNX number)."""
    return int(dtype) if isinstance(dtype, int) else _number_of(np.dtype(dtype))


def name_of(dtype: Any) -> str | None:
    """The name of a dtype ("float32", "bfloat16", "int4", "string"); None where it is not known."""
    if dtype is None:
        return None
    try:
        return NAMES.get(onnx_dtype(dtype))
    except (TypeError, StopIteration):
        return None


def dtype_name(tensor: Any) -> str | None:
    """The name of a graphsurgeon tensor's element type; None where it is not known."""
    return name_of(tensor.dtype)


def dtype_number(name: str) -> int:
    """The ONNX number of a dtype's name."""
    return _NUMBERS[name]


def short_name(name: str | None) -> str:
    """`float32` as `f32`, for text; `?` for unknown."""
    if name is None:
        return "?"
    stem = name.rstrip("0123456789")
    return _SHORT[stem] + name[len(stem) :] if stem in _SHORT and stem != name else name


def stored_bytes(number: int, elements: int) -> int:
    """Bytes of `elements` values as raw data (4- and 2-bit types are packed)."""
    name = NAMES[number]
    if name in _PACKED_BITS:
        return (elements * _PACKED_BITS[name] + 7) // 8
    return elements * numpy_dtype(number).itemsize


def is_packed(number: int) -> bool:
    """Whether several elements share a byte."""
    return NAMES[number] in _PACKED_BITS


def typed_field(number: int) -> tuple[str, int, int]:
    """Where TensorProto holds values that are not raw: field, entries per element, elements per entry."""
    name = NAMES[number]
    entries = 2 if name.startswith("complex") else 1
    per_entry = 8 // _PACKED_BITS[name] if name in _PACKED_BITS else 1
    return _FIELDS.get(name, "int32_data"), entries, per_entry
