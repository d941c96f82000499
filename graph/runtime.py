"""onnxruntime in one place: sessions on the CPU, quiet, with or without its own optimizations."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph.errors import RoofwrightError, UnsupportedError
from roofwright.graph.onnx_io import save, to_proto
from roofwright.graph.saving import wants_external
from roofwright.graph.skeleton import one_line

_FATAL = 4  # onnxruntime's log level that prints nothing of what we already report
Loadable = str | os.PathLike[str] | bytes | onnx.ModelProto | gs.Graph


def session(model: Loadable, *, optimized: bool = False, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU.

    Args:
        model: what to run; a graph with large or external weights goes through a temporary folder.
        optimized: let onnxruntime rewrite the graph itself; off, so that the graph is run as it is written.
        threads: for one operator; between operators always one. 0 lets onnxruntime choose.

    Raises:
        UnsupportedError: onnxruntime does not load the model.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    try:
        if isinstance(model, gs.Graph) and wants_external(model):
            return _through_folder(model, options)
        return ort.InferenceSession(_content(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no narrower base class
        if isinstance(error, RoofwrightError):
            raise
        raise UnsupportedError(f"onnxruntime does not load the model: {one_line(str(error))}") from None


def _content(model: Loadable) -> str | bytes:
    if isinstance(model, gs.Graph):
        model = to_proto(model, embed=True)
    if isinstance(model, onnx.ModelProto):
        return bytes(model.SerializeToString())
    return model if isinstance(model, bytes) else os.fspath(model)


def _through_folder(graph: gs.Graph, options: Any) -> Any:
    import onnxruntime as ort

    with tempfile.TemporaryDirectory(prefix="roofwright-") as folder:
        path = Path(folder) / "model.onnx"
        save(graph, path)
        return ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


def run(loaded: Any, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a session once.

    Args:
        loaded: from `session`, or anything that `session` takes.
        feeds: input name -> array.
        outputs: which outputs to compute; all where None.

    Returns:
        Output name -> array (or what onnxruntime gives for sequences and maps).
    """
    if isinstance(loaded, (str, os.PathLike, bytes, onnx.ModelProto, gs.Graph)):
        loaded = session(loaded)
    names = list(outputs) if outputs is not None else [output.name for output in loaded.get_outputs()]
    return dict(zip(names, loaded.run(names, dict(feeds)), strict=True))


def run_model(model: Loadable, feeds: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Load a model and run it once, as it is written: output name -> array."""
    return run(session(model), feeds)
