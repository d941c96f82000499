"""Bits of every element type that a graph can name."""

from roofwright.cost_model.work import Operand

ITEMSIZE_BITS = {
    "bool": 8,
    "int2": 2,
    "uint2": 2,
    "int4": 4,
    "uint4": 4,
    "int8": 8,
    "uint8": 8,
    "int16": 16,
    "uint16": 16,
    "int32": 32,
    "uint32": 32,
    "int64": 64,
    "uint64": 64,
    "float4e2m1": 4,
    "float8e4m3fn": 8,
    "float8e4m3fnuz": 8,
    "float8e5m2": 8,
    "float8e5m2fnuz": 8,
    "float8e8m0": 8,
    "float16": 16,
    "bfloat16": 16,
    "float32": 32,
    "float64": 64,
    "complex64": 64,
    "complex128": 128,
}


def itemsize_bits(dtype: str) -> int:
    """Bits of one stored element; types below a byte are packed.

    Raises:
        KeyError: the type has no fixed size (strings) or no such type exists.
    """
    return ITEMSIZE_BITS[dtype]


def operand_bytes(operand: Operand) -> int:
    """Bytes of the touched elements in the graph's own dtype, packed and rounded up to a whole byte."""
    return (operand.elements * ITEMSIZE_BITS[operand.dtype] + 7) // 8
