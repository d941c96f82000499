"""Weights as a line of text: type, digest and two statistics; short ones by value."""

from hashlib import sha256
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph.dtypes import dtype_name, short_name
from roofwright.graph.values import values_of

_LONGEST_PLAIN = 8


def constant_type(constant: gs.Constant) -> str:
    """E.g. `f32[64,3,7,7]`."""
    dims = ",".join(str(int(dim)) for dim in constant.shape)
    return f"{short_name(dtype_name(constant))}[{dims}]"


def plain(constant: gs.Constant) -> str | None:
    """The values themselves, for a handful of numbers; None for more than that."""
    if prod(constant.shape) > _LONGEST_PLAIN or dtype_name(constant) == "string":
        return None
    flat = values_of(constant).reshape(-1)
    shown = ",".join(_number(item) for item in flat)
    return f"{constant_type(constant)}({shown})"


def _number(item: Any) -> str:
    if isinstance(item, (bool, np.bool_)):
        return str(bool(item)).lower()
    if isinstance(item, np.integer):
        return str(int(item))
    if isinstance(item, np.complexfloating):
        return f"{complex(item):.9g}"
    return f"{float(item):.9g}"


def describe(constant: gs.Constant, weights: bool) -> str:
    """E.g. `f32[64,3,7,7] sha=ab12cd34 mean=0.00123 absmax=0.513`; only the type where `weights` is off."""
    if not weights:
        return constant_type(constant)
    array = values_of(constant)
    if array.dtype.kind in "OUS":
        content = b"\0".join(i if isinstance(i, bytes) else str(i).encode() for i in array.reshape(-1))
        return f"{constant_type(constant)} sha={sha256(content).hexdigest()[:8]}"
    digest = sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()[:8]
    return f"{constant_type(constant)} sha={digest}{_statistics(array)}"


def _statistics(array: NDArray[Any]) -> str:
    if not array.size or array.dtype.kind in "bc":
        return ""
    with np.errstate(all="ignore"):
        wide = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
        mean, largest = float(wide.mean(dtype=np.float64)), float(max(wide.max(), -wide.min()))
    return f" mean={mean:.3g} absmax={largest:.3g}"
