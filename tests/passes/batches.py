"""One model widened, and compared with single requests of the original."""

from collections.abc import Mapping

import numpy as np
import onnx

from roofwright.graph import clone, read, to_proto
from roofwright.passes.base import Context, PassResult
from roofwright.passes.batching import WidenBatch, batch_axes
from tests.builders import Array, feeds, run


def widen(proto: onnx.ModelProto, batch: int, **dims: int) -> tuple[onnx.ModelProto, PassResult]:
    graph = read(proto)
    result = WidenBatch(batch=batch).run(graph, Context(dims=dims))
    wide = to_proto(graph)
    onnx.checker.check_model(wide, full_check=True)
    return wide, result


def assert_widens(
    proto: onnx.ModelProto, batch: int, *, top: int | Mapping[str, int] = 2, rtol: float = 1e-5, **dims: int
) -> onnx.ModelProto:
    """Widen, run, and compare with one request per sample; with a larger batch baked in, sample 0 of each request."""
    axes = batch_axes(clone(read(proto)), dims)
    wide, result = widen(proto, batch, **dims)
    assert result.changed
    size = axes.size or 1
    requests = [feeds(proto, seed, dims={**dims, "batch": 1}, top=top) for seed in range(batch)]
    for request in requests:
        request.update({name: value for name, value in requests[0].items() if name not in axes.inputs})
    alone = [run(proto, request) for request in requests]
    joined = {name: _joined([r[name] for r in requests], axes.inputs.get(name), size) for name in requests[0]}
    for name, got in run(wide, joined).items():
        want = _joined([outputs[name] for outputs in alone], axes.outputs.get(name), size)
        assert (got.dtype, got.shape) == (want.dtype, want.shape), name
        scale = np.abs(want).max(initial=0.0)
        assert np.abs(got.astype(np.float64) - want).max(initial=0.0) <= rtol * scale, name
    return wide


def _joined(parts: list[Array], axis: int | None, size: int) -> Array:
    if axis is None:
        return parts[0]
    return np.concatenate([np.take(part, range(part.shape[axis] // size), axis) for part in parts], axis)
